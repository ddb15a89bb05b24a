"""What a run of the service reports, as it happens."""

from __future__ import annotations

from dataclasses import dataclass

from ipam.prefix import Prefix
from vpcrouter.model import Step


@dataclass(frozen=True, slots=True)
class Planned:
    """A pass begins: so many steps are planned for all tables."""

    number: int
    steps: int


@dataclass(frozen=True, slots=True)
class Made:
    """A step has been made; it was the ``number``-th of this pass."""

    table: str
    step: Step
    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A step was not made (``destination`` is None: no step of the table can be).

    ``code`` is the cloud's name for the reason, or empty where it was not asked; ``remedy`` says
    what to do. Neither repeats where it is.
    """

    table: str
    destination: Prefix | None
    code: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        code = f" ({self.code})" if self.code and self.code not in self.problem else ""
        return f"{self.problem}{code}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Removal:
    """How much of a table a pass would remove: so many of the entries that are ours in it."""

    table: str
    removed: int
    present: int

    def __str__(self) -> str:
        return f"{self.table}: {self.removed} of {self.present} entries would be deleted"


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a run: what was made in all, and what is open as of the last pass.

    ``left`` counts steps that were planned and not made, ``failed`` are the last pass's failures;
    ``refused`` removals that nobody confirmed: then the last pass was not made.
    """

    made: int
    left: int
    failed: tuple[Failed, ...]
    refused: tuple[Removal, ...]

    @property
    def is_settled(self) -> bool:
        """Whether every table is as planned."""
        return not (self.left or self.failed or self.refused)


Progress = Planned | Made | Failed | Finished
