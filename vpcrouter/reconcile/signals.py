"""Where it is heard that something has happened. What it was is looked up afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ipam.errors import BadInputError
from vpcrouter.fabric.port import Events, Listening
from vpcrouter.inventory import read_nodes
from vpcrouter.reconcile.alarm import Urgency


class Signals(Protocol):
    """Asked often; answers at once."""

    def poll(self) -> Urgency:
        """The most urgent of what has happened since this was asked last."""
        ...


class Together:
    """Several of them."""

    def __init__(self, signals: Sequence[Signals]) -> None:
        self._signals = signals

    def poll(self) -> Urgency:
        """The most urgent of all."""
        return max((each.poll() for each in self._signals), default=Urgency.NOTHING)


class CloudEvents:
    """What the cloud says about instances, before it is read; ``fabric`` learns of it."""

    def __init__(self, events: Events, fabric: Listening) -> None:
        self._events = events
        self._fabric = fabric

    def poll(self) -> Urgency:
        """Whether instances came or went."""
        worst = Urgency.NOTHING
        for heard in self._events.take():
            self._fabric.hear(heard)
            worst = max(worst, Urgency.FAILURE if heard.is_failure else Urgency.CHANGE)
        return worst


class NodeListChanges:
    """Changes of a node list: that a node can no longer be used is urgent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature = self._sign()
        self._usable = self._read()

    def poll(self) -> Urgency:
        """Whether the file is another one, and what that means."""
        signature = self._sign()
        if signature == self._signature:
            return Urgency.NOTHING
        self._signature = signature
        before, self._usable = self._usable, self._read()
        if before is None or self._usable is None:
            return Urgency.CHANGE
        worse = any(usable and not self._usable.get(name) for name, usable in before.items())
        return Urgency.FAILURE if worse else Urgency.CHANGE

    def _sign(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> Mapping[str, bool] | None:
        """Which nodes can be used; None where the file cannot be: the next look says why."""
        try:
            return {n.name: n.ready and not n.leaving for n in read_nodes(self._path).nodes}
        except BadInputError:
            return None
