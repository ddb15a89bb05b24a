"""Changing route tables: what a plan asks for, step by step, safe against crashes and doubt."""

from vpcrouter.service.checks import Checks, NotSwitched, Switch, switched_off, wanted
from vpcrouter.service.guard import removals
from vpcrouter.service.progress import Failed, Finished, Made, Planned, Progress, Removal
from vpcrouter.service.router import Router

__all__ = [
    "Checks",
    "Failed",
    "Finished",
    "Made",
    "NotSwitched",
    "Planned",
    "Progress",
    "Removal",
    "Router",
    "Switch",
    "removals",
    "switched_off",
    "wanted",
]
