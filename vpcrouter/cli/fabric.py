"""``vpcrouter fabric``: the simulated VPC for itself."""

from __future__ import annotations

from vpcrouter.cli.lazy import LazyGroup

command = LazyGroup(
    {"serve": ("fabric_serve", "Answer on the loopback as EC2 and Service Quotas do.")},
    "fabric",
    "Serve a simulated VPC as EC2, to try things on.",
    "\b\nExamples:\n  vpcrouter fabric serve aws.json",
)
