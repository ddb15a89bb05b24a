"""The events file of a simulation: CSV with the header `seconds,event,node,value`, in time order.

| event | value | meaning |
| --- | --- | --- |
| join | a subnet's id | a node that is not there joins this subnet |
| leave | empty | a node goes for good; its blocks are freed |
| fail, recover | empty | a node stops or starts to be healthy (again: no change) |
| grow | a count | a node gets that many further blocks |
| load | a weight | what the node's blocks weigh together from now on |
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ipam.errors import BadInputError
from vpcrouter.simulate.events import (
    Change,
    Event,
    Fail,
    Grow,
    Join,
    Leave,
    Load,
    Recover,
)
from vpcrouter.textfile import read_text

HEADER = ("seconds", "event", "node", "value")

MAX_BYTES = 64 << 20
MAX_NAME = 253
MAX_BLOCKS = 1_000_000
MAX_WEIGHT = 1e15
MAX_SECONDS = 1e12
_SHOWN = 60


def read_events(path: Path, nodes: Iterable[str], subnets: Collection[str]) -> tuple[Event, ...]:
    """The events of a file, for a cluster that starts with these nodes.

    Raises BadInputError, naming file and line, for whatever is malformed, out of order, or cannot
    happen: so nothing is simulated of a file with a mistake in its last line.
    """
    events = _parse(path, read_text(path, MAX_BYTES, "split it"))
    _check_order(path, events)
    _check_names(path, events, set(nodes), subnets)
    return events


def _parse(path: Path, text: str) -> tuple[Event, ...]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None or tuple(header) != HEADER:
            raise BadInputError(f"{path}:1: write the header {','.join(HEADER)}")
        events = [
            _event(f"{path}:{reader.line_num}", reader.line_num, row) for row in reader if row
        ]
    except csv.Error as error:
        raise BadInputError(f"{path}:{max(1, reader.line_num)}: is not CSV: {error}") from error
    return tuple(events)


def _event(where: str, line: int, row: Sequence[str]) -> Event:
    if len(row) == len(HEADER) - 1:
        row = [*row, ""]  # the value is left out
    if len(row) != len(HEADER):
        raise BadInputError(f"{where}: has {len(row)} fields: write {','.join(HEADER)}")
    seconds, name, node, value = row
    if not node or len(node) > MAX_NAME or node != node.strip() or not node.isprintable():
        raise BadInputError(f"{where}: node: {_shown(node)} is no node's name")
    at = _number(where, "seconds", seconds, MAX_SECONDS)
    return Event(at, node, _change(where, name, value), line)


def _change(where: str, name: str, value: str) -> Change:
    if name == "join":
        if not value:
            raise BadInputError(f"{where}: value: name the subnet that the node joins")
        return Join(value)
    if name == "grow":
        return Grow(_count(where, value))
    if name == "load":
        return Load(_number(where, "value", value, MAX_WEIGHT))
    plain: dict[str, Change] = {"leave": Leave(), "fail": Fail(), "recover": Recover()}
    if name not in plain:
        known = ", ".join(("join", *plain, "grow", "load"))
        raise BadInputError(f"{where}: event: {_shown(name)} is unknown: use one of {known}")
    if value:
        raise BadInputError(f"{where}: value: {name} takes none: leave it empty")
    return plain[name]


def _number(where: str, field: str, text: str, most: float) -> float:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise BadInputError(f"{where}: {field}: {_shown(text)} is no number from 0 to {most:g}")
    return number


def _count(where: str, text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= count <= MAX_BLOCKS:
        raise BadInputError(
            f"{where}: value: {_shown(text)} is no number of further blocks from 1 to {MAX_BLOCKS}"
        )
    return count


def _shown(text: str) -> str:
    """Text from the file as an error message may repeat it."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _check_order(path: Path, events: Sequence[Event]) -> None:
    latest = 0.0
    for event in events:
        if event.seconds < latest:
            raise BadInputError(
                f"{path}:{event.line}: seconds: {event.seconds:g} comes after {latest:g}: "
                "sort the events by time"
            )
        latest = event.seconds


def _check_names(
    path: Path, events: Sequence[Event], present: set[str], subnets: Collection[str]
) -> None:
    """Follow who is there."""
    for event in events:
        where = f"{path}:{event.line}"
        if isinstance(event.change, Join):
            if event.node in present:
                raise BadInputError(f"{where}: node: {event.node} joins, but is there already")
            if event.change.subnet not in subnets:
                raise BadInputError(f"{where}: value: unknown subnet {_shown(event.change.subnet)}")
            present.add(event.node)
        elif event.node not in present:
            raise BadInputError(f"{where}: node: unknown node {_shown(event.node)}")
        elif isinstance(event.change, Leave):
            present.remove(event.node)
