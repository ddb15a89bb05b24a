"""Changing route tables: what a plan asks for, step by step, safe against crashes and doubt."""

from vpcrouter.service.checks import Checks, NotSwitched, Switch, switched_off, wanted
from vpcrouter.service.guard import removals
from vpcrouter.service.pace import LocalPace, Pace, SharedPace, Unpaced
from vpcrouter.service.progress import Failed, Finished, Made, Planned, Progress, Removal
from vpcrouter.service.router import SECONDS_BETWEEN, Means, Passed, Router, alone
from vpcrouter.service.workers import InlineWorkers, ThreadWorkers, Workers

__all__ = [
    "SECONDS_BETWEEN",
    "Checks",
    "Failed",
    "Finished",
    "InlineWorkers",
    "LocalPace",
    "Made",
    "Means",
    "NotSwitched",
    "Pace",
    "Passed",
    "Planned",
    "Progress",
    "Removal",
    "Router",
    "SharedPace",
    "Switch",
    "ThreadWorkers",
    "Unpaced",
    "Workers",
    "alone",
    "removals",
    "switched_off",
    "wanted",
]
