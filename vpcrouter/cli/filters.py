"""Which rows a listing shows: filters by name, and when rows are summarised instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import click

from ipam.errors import BadInputError
from vpcrouter.cli.output import few
from vpcrouter.model import Snapshot

F = TypeVar("F", bound=Callable[..., object])

LISTED = 60
"""Up to so many rows are listed; more are summarised unless they were asked for."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show; None shows everything of that kind."""

    table: str | None = None
    subnet: str | None = None
    node: str | None = None
    family: str | None = None
    kind: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything is filtered at all."""
        return self != Filter()

    def check(self, snapshot: Snapshot) -> None:
        """Raises BadInputError where a filter names what is not there."""
        known("table", self.table, (table.id for table in snapshot.route_tables))
        known("subnet", self.subnet, (subnet.id for subnet in snapshot.subnets))
        known("node", self.node, (node.name for node in snapshot.nodes))

    def takes(self, **values: str | None) -> bool:
        """Whether an object with these values passes."""
        return all(
            getattr(self, key) is None or getattr(self, key) == value
            for key, value in values.items()
        )


def known(what: str, name: str | None, names: Iterable[str]) -> None:
    """Raises BadInputError, with what comes close, where there is nothing of that name."""
    if name is None:
        return
    there = list(names)
    if name not in there:
        close = difflib.get_close_matches(name, there, n=5) or sorted(there)
        hint = f"there is {few(close)}" if close else f"there is no {what} at all"
        raise BadInputError(f"there is no {what} {name!r}: {hint}")
