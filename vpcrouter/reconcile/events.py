"""What the loop reports, beside the progress of its passes."""

from __future__ import annotations

from dataclasses import dataclass

from vpcrouter.cluster import View
from vpcrouter.model import Plan
from vpcrouter.service import NotSwitched, Passed, Progress, Removal, Switch


@dataclass(frozen=True, slots=True)
class Lost:
    """A look or a pass was not possible: nothing more is changed for so many ``seconds``."""

    problem: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing is changed on purpose, since somebody should look at it first."""

    problem: str
    removals: tuple[Removal, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A pass has ended. ``plan`` is what was wanted, ``view`` what it was made from.

    ``halted``: it was left early, since something has happened meanwhile or it was asked to stop.
    """

    view: View
    plan: Plan
    passed: Passed
    not_switched: tuple[NotSwitched, ...]
    halted: bool

    @property
    def is_settled(self) -> bool:
        """Whether all is as planned."""
        return not (self.halted or self.passed.left or self.passed.failed or self.not_switched)


Event = Progress | Switch | NotSwitched | Lost | Held | Ended
