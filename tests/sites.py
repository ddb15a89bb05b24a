"""A cluster on files with a simulated VPC behind it, in which a loop runs in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipam.prefix import Prefix
from ipam.store.memory import MemoryStore
from tests.test_cluster import CLUSTER, kubernetes, write
from tests.vpcs import Document, vpc_document, write_document
from vpcrouter.cluster import Cluster
from vpcrouter.config import CEILING, Ceiling, load_cluster
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import Fabric
from vpcrouter.fabric.simulated import Faults, NoFaults, SimulatedFabric
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import MemoryStorage
from vpcrouter.model import Plan, Snapshot
from vpcrouter.planner import plan
from vpcrouter.reconcile import Event, Loop, NodeListChanges, Signals, Timing, Together, Urgency
from vpcrouter.service import alone


@dataclass
class Site:
    """Files, a store and a VPC; ``at`` are things that happen, by their second."""

    folder: Path
    names: Sequence[str]
    document: Document = field(default_factory=vpc_document)
    text: str = CLUSTER
    faults: Faults = field(default_factory=NoFaults)
    behaviour: Behaviour = field(default_factory=Behaviour)
    timing: Timing = field(default_factory=Timing)
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    further: Sequence[Signals] = ()

    def __post_init__(self) -> None:
        self.path = write(self.folder, list(self.names), self.text, self.document)
        described = read_describe(self.folder / "aws.json", None)
        self.vpc = SimulatedVpc(described, MemoryStorage(), self.clock, self.behaviour)
        self.at: dict[float, Callable[[], object]] = {}
        self.log: list[tuple[float, Event]] = []

    @property
    def fabric(self) -> Fabric:
        return SimulatedFabric(self.vpc, self.faults)

    def cluster(self) -> Cluster:
        return Cluster(load_cluster(self.path), self.store, self.fabric, self.clock)

    def loop(
        self,
        planner: Callable[[Snapshot], Plan] = lambda s: plan(s, 0.0),
        ceiling: Ceiling = CEILING,
    ) -> Loop:
        cluster = self.cluster()
        signals = Together([_Happening(self), NodeListChanges(cluster.file.nodes), *self.further])
        return Loop(cluster, alone(self.clock), planner, signals, self.timing, ceiling)

    def run(self, loop: Loop, seconds: float) -> list[Event]:
        """Let the loop run for so long; what it reports."""
        end = self.clock.now() + seconds
        found: list[Event] = []
        for event in loop.run(lambda: self.clock.now() >= end):
            self.log.append((self.clock.now(), event))
            found.append(event)
        return found

    def happen(self) -> None:
        """Whatever is due happens."""
        for second in sorted(self.at):
            if second <= self.clock.now():
                self.at.pop(second)()

    # What can happen.

    def nodes(self, names: Sequence[str], *broken: str) -> None:
        """The node list is another one; ``broken`` nodes are not ready."""
        items = [kubernetes(name) for name in names]
        for item in items:
            if item["metadata"]["name"] in broken:
                item["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
        write_document(self.folder, {"kind": "List", "items": items}, "nodes.json")

    def rows(self, table: str) -> dict[str, str]:
        """The rows to interfaces within the pods' network, whoever made them."""
        pods = Prefix.parse("100.64.0.0/16")
        found = self.vpc._rows(table, self.vpc._storage.load()).values()
        return {
            str(row.destination): row.target
            for row in found
            if isinstance(row.destination, Prefix) and pods.contains(row.destination)
        }

    def tables(self) -> dict[str, dict[str, str]]:
        return {name: self.rows(name) for name in ("rtb-a", "rtb-b")}


class _Happening:
    """Lets things happen as time passes, and says nothing about them."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def poll(self) -> Urgency:
        self._site.happen()
        return Urgency.NOTHING


def events_of(log: Sequence[tuple[float, Event]], kind: type[Event]) -> Iterator[tuple[float, Any]]:
    """When events of a kind were reported."""
    return ((second, event) for second, event in log if isinstance(event, kind))
