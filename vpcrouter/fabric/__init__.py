"""The VPC as the router sees and changes it: the port, and what is behind it."""
