"""``vpcrouter aws``: what concerns AWS alone."""

from __future__ import annotations

from vpcrouter.cli.lazy import LazyGroup

command = LazyGroup(
    {
        "discover": ("aws_discover", "Show what is in a VPC, and write a first cluster file."),
        "quota": ("aws_quota", "Show how many entries each route table takes, and who has them."),
        "adopt": ("aws_adopt", "Take over entries of a former controller."),
        "release": ("aws_release", "Let go of entries, for another controller to take them over."),
        "withdraw": ("aws_withdraw", "Delete every entry of the cluster, and put checks back."),
        "permissions": (
            "aws_permissions",
            "Ask AWS whether every change would be allowed, without making one.",
        ),
        "iam-policy": ("aws_iam_policy", "Print the IAM policy that vpcrouter needs."),
    },
    "aws",
    "Look at a VPC of AWS: quotas, permissions, what is there.",
    "\b\nExamples:\n"
    "  vpcrouter aws discover --region eu-central-1 --vpc vpc-0123456789abcdef0\n"
    "  vpcrouter aws quota -f cluster.yaml\n"
    "  vpcrouter aws iam-policy -f cluster.yaml\n",
)
