"""Source/destination checks: off on the interfaces of nodes with blocks, before their first pod.

With the check on, AWS drops whatever a pod sends or gets. It is switched on again where the node
has no blocks any more, but only where it was switched off here: that is recorded in the store
before the call, one key for each interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipam.store.port import Delete, Operation, Put, Store
from vpcrouter.fabric.port import (
    Clock,
    Fabric,
    FabricError,
    FabricUnavailableError,
    NetworkInterface,
)
from vpcrouter.model import Snapshot
from vpcrouter.ownership import CHECKS
from vpcrouter.service.calls import Caller

_BATCH = 100
_SWITCHED_OFF = b'{"version":1}'
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


class Checks:
    """Switches checks. ``clock`` is the time on which to wait for the fabric."""

    def __init__(self, fabric: Fabric, store: Store, clock: Clock) -> None:
        self._fabric = fabric
        self._store = store
        self._caller = Caller(fabric, clock)

    def run(self, switches: Sequence[Switch]) -> Iterator[Switch | NotSwitched]:
        """Switch one after another; each is reported, also where it was refused.

        Raises UnavailableError where neither fabric nor store can be reached.
        """
        for start in range(0, len(switches), _BATCH):
            batch = switches[start : start + _BATCH]
            self._write([Put(CHECKS + s.interface, _SWITCHED_OFF) for s in batch if not s.on])
            done: list[Switch] = []
            refused: list[Switch] = []
            for switch in batch:
                try:
                    self._make(switch)
                except FabricUnavailableError:
                    raise
                except FabricError as error:
                    refused.append(switch)
                    remedy = _REMEDIES.get(error.code, "run apply again")
                    yield NotSwitched(switch, error.code, str(error), remedy)
                else:
                    done.append(switch)
                    yield switch
            forgotten = [s for s in done if s.on] + [s for s in refused if not s.on]
            self._write([Delete(CHECKS + s.interface) for s in forgotten])

    def _make(self, switch: Switch) -> None:
        self._caller.repeat(
            lambda: self._fabric.set_source_dest_check(switch.interface, on=switch.on)
        )

    def _write(self, operations: Sequence[Operation]) -> None:
        if operations:
            self._store.txn([], operations)
