"""Which rows a listing shows: filters by name, and when rows are summarised instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from ipam.errors import BadInputError
from vpcrouter.cli.output import NAMED, few
from vpcrouter.model import Snapshot

LISTED = 60
"""Up to so many rows are listed; more are summarised unless they were asked for."""


def wants(chosen: str | None, value: str | None) -> bool:
    """Whether something with this value passes a filter; None lets everything pass."""
    return chosen is None or chosen == value


def is_listed(everything: bool, filters: Sequence[str | None], count: int) -> bool:
    """Whether rows are listed one by one, and not summarised."""
    return everything or count <= LISTED or any(one is not None for one in filters)


def check_table(snapshot: Snapshot, name: str | None) -> None:
    """Raises BadInputError where there is no such route table."""
    check_known("route table", name, (table.id for table in snapshot.route_tables))


def check_subnet(snapshot: Snapshot, name: str | None) -> None:
    """Raises BadInputError where there is no such subnet."""
    check_known("subnet", name, (subnet.id for subnet in snapshot.subnets))


def check_node(snapshot: Snapshot, name: str | None) -> None:
    """Raises BadInputError where there is no such node."""
    check_known("node", name, (node.name for node in snapshot.nodes))


def close_to(name: str, names: Iterable[str]) -> str:
    """Names that come close to one that is not there, as advice."""
    there = list(names)
    close = difflib.get_close_matches(name, there, n=NAMED)
    if close:
        return f"did you mean {few(close)}?"
    return f"there is {few(sorted(there))}" if there else "there is none at all"


def check_known(what: str, name: str | None, names: Iterable[str]) -> None:
    """Raises BadInputError where a thing that was named is not there."""
    there = list(names)
    if name is not None and name not in there:
        raise BadInputError(f"there is no {what} {name!r}: {close_to(name, there)}")
