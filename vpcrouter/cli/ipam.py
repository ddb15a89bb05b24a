"""``vpcrouter ipam``: what concerns addresses over time."""

from __future__ import annotations

from vpcrouter.cli.lazy import LazyGroup

command = LazyGroup(
    {
        "forecast": ("ipam_forecast", "Say which network, place or subnet runs out when."),
    },
    "ipam",
    "Look ahead: when addresses run out.",
    "\b\nExamples:\n"
    "  vpcrouter ipam forecast -f cluster.yaml\n"
    "  vpcrouter ipam forecast --rate 20\n",
)
