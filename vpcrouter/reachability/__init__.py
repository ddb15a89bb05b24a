"""Does a table keep R1, R2 and R6, and would a step break R7? Pure; used wherever tables change."""

from vpcrouter.reachability.ground import Ground
from vpcrouter.reachability.levels import (
    Fall,
    Level,
    Match,
    Reach,
    check_step,
    contradiction,
    levels,
    lookup,
    lowered,
)
from vpcrouter.reachability.matching import TableState
from vpcrouter.reachability.violations import Violation, over_budget, violations

__all__ = [
    "Fall",
    "Ground",
    "Level",
    "Match",
    "Reach",
    "TableState",
    "Violation",
    "check_step",
    "contradiction",
    "levels",
    "lookup",
    "lowered",
    "over_budget",
    "violations",
]
