"""Whose names were touched on the way from one state to another, without looking at all. Pure.

It is a part of the state that it describes, made with it and never changed: nothing to keep up to
date. Where two states have too little in common it says nothing, and all names must be compared.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

_STEPS = 64
_NAMES = 4_096  # touched in one step: from here on comparing all is no more work


@dataclass(frozen=True, slots=True, eq=False)
class Lineage:
    """From which states one was made.

    ``mark`` stands for the state itself. ``steps`` are the marks of the latest ones before it, in
    order, each with the names that were touched to make the next of it.
    """

    mark: object = field(default_factory=object)
    steps: tuple[tuple[object, frozenset[str]], ...] = ()

    def followed(self, names: Set[str]) -> Lineage:
        """The lineage of a state that is made from this one by touching these names."""
        if len(names) > _NAMES:
            return Lineage()
        return Lineage(object(), (*self.steps, (self.mark, frozenset(names)))[-_STEPS:])

    def names_since(self, earlier: Lineage) -> set[str] | None:
        """The names touched since an earlier state; None if this one is not known to come of it."""
        names: set[str] = set()
        if self.mark is earlier.mark:
            return names
        for mark, touched in reversed(self.steps):
            names |= touched
            if mark is earlier.mark:
                return names
        return None
