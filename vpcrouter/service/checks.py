"""Source/destination checks: off on the interfaces of nodes with blocks, before their first pod.

With the check on, AWS drops whatever a pod sends or gets. It is switched on again where the node
has no blocks any more, but only where it was switched off here: that is recorded in the store
before the call, one key for each interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from ipam.store.port import Delete, Put, Store
from vpcrouter.fabric.codes import Call
from vpcrouter.fabric.port import (
    Clock,
    Fabric,
    FabricUnavailableError,
    NetworkInterface,
    UnknownOutcomeError,
)
from vpcrouter.model import Snapshot
from vpcrouter.ownership import CHECKS
from vpcrouter.service.pace import Pace
from vpcrouter.service.requests import Lane, Outcome
from vpcrouter.service.sending import Calling, repeated
from vpcrouter.service.turns import Turns
from vpcrouter.service.workers import Workers

_SWITCHED_OFF = b'{"version":1}'
_LANE = "checks"
_REMEDIES = {
    "UnauthorizedOperation": "allow ec2:ModifyNetworkInterfaceAttribute on it",
    "InvalidNetworkInterfaceID.NotFound": "the node is going: run apply again once it is gone",
}


@dataclass(frozen=True, slots=True)
class Switch:
    """The check of an interface is to be, or has been, switched on or off."""

    interface: str
    on: bool


@dataclass(frozen=True, slots=True)
class NotSwitched:
    """A check could not be switched: why, and what to do about it."""

    switch: Switch
    code: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        code = f" ({self.code})" if self.code and self.code not in self.problem else ""
        return f"{self.problem}{code}: {self.remedy}"


def switched_off(store: Store) -> frozenset[str]:
    """The interfaces whose check was switched off here."""
    return frozenset(item.key.removeprefix(CHECKS) for item in store.range(CHECKS).items)


def wanted(
    snapshot: Snapshot, interfaces: Sequence[NetworkInterface], ours: frozenset[str]
) -> tuple[Switch, ...]:
    """What is to be switched; ``ours`` are the interfaces whose check was switched off here."""
    with_blocks = {
        snapshot.nodes[index].interface
        for columns in snapshot.blocks.values()
        for index in set(columns.node)
    }
    off = [i.id for i in interfaces if i.source_dest_check and i.id in with_blocks]
    on = [
        i.id
        for i in interfaces
        if not i.source_dest_check and i.id in ours and i.id not in with_blocks
    ]
    return (*(Switch(name, on=False) for name in off), *(Switch(name, on=True) for name in on))


def hops_first(switches: Iterable[Switch], hops: Iterable[str]) -> tuple[Switch, ...]:
    """The same with those first that are about to be next hops: entries wait for them."""
    first = set(hops)
    return tuple(sorted(switches, key=lambda switch: switch.interface not in first))


class Checks:
    """Switches checks, a call at a time, beside whatever else goes on.

    ``pending`` are the interfaces whose check is still to be switched off: nothing is sent to them
    until it is, or cannot be. ``done`` is what has come of it so far.
    """

    def __init__(self, fabric: Fabric, store: Store, pace: Pace) -> None:
        self._fabric = fabric
        self._store = store
        self._pace = pace
        self.pending: set[str] = set()
        self.done: list[Switch | NotSwitched] = []

    def lane(self, switches: Sequence[Switch]) -> Lane:
        """Switch one after another; raises UnavailableError where fabric or store are gone."""
        self.pending.clear()
        self.pending.update(switch.interface for switch in switches if not switch.on)
        return self._switch_all(switches)

    def run(self, switches: Sequence[Switch], workers: Workers, clock: Clock) -> None:
        """Do this, and nothing beside it."""
        turns = Turns(workers, self._pace, clock)
        for _ in turns.run({_LANE: self.lane(switches)}, lambda: False):
            pass

    def _switch_all(self, switches: Sequence[Switch]) -> Lane:
        for switch in switches:
            error = yield from repeated(self._pace, self._calling(switch))
            if isinstance(error, FabricUnavailableError):
                raise error
            unknown = isinstance(error, UnknownOutcomeError)
            if (error is None) == switch.on and not unknown:
                self._store.txn([], [Delete(CHECKS + switch.interface)])
            self._note(switch, error)

    def _calling(self, switch: Switch) -> Calling:
        make = partial(self._fabric.set_source_dest_check, switch.interface, on=switch.on)
        begin = partial(self._begin, switch)
        return Calling(Call.MODIFY_INTERFACE, make, begin, urgent=False, defers=False)

    def _begin(self, switch: Switch) -> None:
        if not switch.on:
            self._store.txn([], [Put(CHECKS + switch.interface, _SWITCHED_OFF)])

    def _note(self, switch: Switch, error: Outcome) -> None:
        self.pending.discard(switch.interface)
        if error is None:
            self.done.append(switch)
            return
        remedy = _REMEDIES.get(error.code, "run apply again")
        self.done.append(NotSwitched(switch, error.code, str(error), remedy))
