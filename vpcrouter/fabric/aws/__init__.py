"""AWS behind the fabric's port; the only place that knows boto3, and slow to import."""
