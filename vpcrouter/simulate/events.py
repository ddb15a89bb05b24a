"""What may happen to a simulated cluster, as values; ``events_file`` reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Join:
    """A node joins a subnet."""

    subnet: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A node goes for good."""


@dataclass(frozen=True, slots=True)
class Fail:
    """A node is not healthy from now on."""


@dataclass(frozen=True, slots=True)
class Recover:
    """A node is healthy from now on."""


@dataclass(frozen=True, slots=True)
class Grow:
    """A node gets further blocks."""

    blocks: int


@dataclass(frozen=True, slots=True)
class Load:
    """A node's blocks weigh this much together."""

    weight: float


Change = Join | Leave | Fail | Recover | Grow | Load


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to one node at a time; ``line`` is where the file says so."""

    seconds: float
    node: str
    change: Change
    line: int
