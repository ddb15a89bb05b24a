"""A fabric in bad weather, a judge of every change, and what may happen to a cluster meanwhile.

All in simulated time, from one random source. What is judged are the rows as they are; what the
service may know about nodes is what it planned from last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from ipam.prefix import Prefix
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.port import (
    Fabric,
    FabricUnavailableError,
    Observation,
    RetryLaterError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.fabric.simulated import NoFaults, SimulatedFabric
from vpcrouter.fabric.simulated_vpc import SimulatedVpc
from vpcrouter.model import Entry, Plan, Snapshot, Step
from vpcrouter.reachability import violations

OLDEST_SECONDS = 60.0
"""How old a whole read may be, on top of what the simulated tables lag behind."""


@dataclass
class Weather:
    """Faults at so many calls; ``injected`` counts those that a change met."""

    random: Random
    rate: float
    injected: int = 0

    def strikes(self) -> bool:
        return self.random.random() < self.rate

    def before(self, place: str) -> None:
        """A change may not arrive."""
        if not self.strikes():
            return
        self.injected += 1
        raise self.random.choice(
            [
                ThrottledError("RequestLimitExceeded", f"{place}: slow down", 1.0),
                FabricUnavailableError("Unavailable", f"{place}: not now"),
                UnknownOutcomeError("InternalError", f"{place}: timed out before the effect"),
                RetryLaterError("IncorrectState", f"{place}: being attached", 5.0),
            ]
        )

    def after(self, place: str) -> None:
        """The answer to a change may be lost."""
        if self.strikes():
            self.injected += 1
            raise UnknownOutcomeError("", f"{place}: timed out after the effect")


class StormyFabric:
    """The port over a simulated VPC, with weather in between, and a judge who sees all."""

    def __init__(
        self, vpc: SimulatedVpc, weather: Weather, judge: Judge, clock: SimulatedClock
    ) -> None:
        self._fabric: Fabric = SimulatedFabric(vpc, NoFaults())
        self._weather = weather
        self._judge = judge
        self._clock = clock
        self._reads: list[tuple[float, Observation]] = []

    def read(self) -> Observation:
        """What is there, or was; sometimes without some interfaces and instances."""
        now = self._clock.now()
        self._reads = [(at, seen) for at, seen in self._reads if now - at <= OLDEST_SECONDS]
        self._reads.append((now, self._fabric.read()))
        if self._weather.strikes():
            raise FabricUnavailableError("Unavailable", "DescribeRouteTables: not now")
        seen = self._reads[-1][1]
        if self._weather.strikes():
            seen = self._weather.random.choice(self._reads)[1]
        return self._partial(seen) if self._weather.strikes() else seen

    def _partial(self, seen: Observation) -> Observation:
        random = self._weather.random
        interfaces = tuple(i for i in seen.interfaces if random.random() < 0.8)
        names = {i.instance for i in interfaces}
        instances = {name: state for name, state in seen.instances.items() if name in names}
        return replace(seen, interfaces=interfaces, instances=instances)

    def apply(self, table: str, step: Step) -> None:
        place = f"{table} {step.destination}"
        self._judge.asked(table, step)
        self._weather.before(place)
        before = self._judge.rows()
        self._fabric.apply(table, step)
        self._judge.done(table, step, before)
        self._weather.after(place)

    def set_source_dest_check(self, interface: str, *, on: bool) -> None:
        self._weather.before(interface)
        self._fabric.set_source_dest_check(interface, on=on)
        self._judge.switched(interface, on=on)
        self._weather.after(interface)


Rows = Mapping[str, Mapping[Prefix, str]]


@dataclass
class Judge:
    """Holds every change against the promises."""

    rows: Callable[[], Rows]
    now: Callable[[], float]
    checked: Callable[[str], bool]
    doubt_seconds: float
    snapshot: Snapshot | None = None
    theirs: set[tuple[str, Prefix]] = field(default_factory=set)
    meddled: dict[tuple[str, Prefix], float] = field(default_factory=dict)
    calls: Counter[tuple[str, Prefix, str, str | None]] = field(default_factory=Counter)
    effects: int = 0
    allowed: int = 0
    retries: int = 0

    def planned(self, snapshot: Snapshot, plan: Plan) -> None:
        """A plan was made: its calls are counted against what differs."""
        self.close()
        self.snapshot = snapshot
        rows = self.rows()
        for table, wanted in zip(snapshot.route_tables, plan.tables, strict=True):
            target = {entry.destination: entry.interface for entry in wanted.entries}
            known = {entry.destination: entry.interface for entry in table.entries}
            there = {d: i for d, i in rows[table.id].items() if (table.id, d) not in self.theirs}
            self.allowed += max(len(target.items() ^ held.items()) for held in (known, there))
            # A replaced next hop is one difference and not two.
            self.allowed -= min(
                sum(held.get(d, i) != i for d, i in target.items()) for held in (known, there)
            )

    def followed(self, snapshot: Snapshot, made: Plan, full: Plan) -> None:
        """A plan was made from what has happened alone: it is as good as one made in full."""
        for table, mine, best in zip(snapshot.route_tables, made.tables, full.tables, strict=True):
            entries = [Entry(each.destination, each.interface) for each in mine.entries]
            broken = violations(snapshot, table, entries, ())
            assert not broken, f"followed: {broken[0]}"
            assert not best.unserved
            for family, proof in best.proof.items():
                least = proof.least_load + 1e-9
                assert mine.max_load <= 1.05 * least, f"followed: {mine.max_load}, not {least}"
                assert mine.proof[family].lower_bound <= least, "followed: no bound"

    def close(self) -> None:
        """The pass of the last plan is over."""
        assert self.effects <= 1.1 * self.allowed + 1, f"{self.effects} for {self.allowed}"
        self.retries += sum(count - 1 for count in self.calls.values())
        self.calls.clear()
        self.effects = self.allowed = 0

    def meddle(self, table: str, destination: Prefix) -> None:
        """Somebody else changes this entry: for a while the service may not know."""
        self.meddled[table, destination] = self.now()

    def asked(self, table: str, step: Step) -> None:
        self.calls[table, step.destination, step.action, step.interface] += 1

    def switched(self, interface: str, *, on: bool) -> None:
        if on:
            assert self.snapshot is not None
            owners = {
                self.snapshot.nodes[i].interface
                for columns in self.snapshot.blocks.values()
                for i in columns.node
            }
            assert interface not in owners, f"the check of {interface} is needed off"

    def done(self, table: str, step: Step, before: Rows) -> None:
        after = self.rows()
        if before == after:
            return
        self.effects += 1
        assert (table, step.destination) not in self.theirs, f"R10: {step} is not ours to change"
        changed = {
            (name, d)
            for name in after
            for d in before[name].keys() | after[name].keys()
            if before[name].get(d) != after[name].get(d)
        }
        assert changed == {(table, step.destination)}
        doubtful = [
            destination
            for (name, destination), at in self.meddled.items()
            if name == table and self.now() - at <= self.doubt_seconds
        ]
        fallen = self._fallen(before[table], after[table], doubtful)
        assert fallen is None, f"R7: {step} lowers {fallen} in {table}"

    def _fallen(
        self,
        before: Mapping[Prefix, str],
        after: Mapping[Prefix, str],
        doubtful: Sequence[Prefix],
    ) -> str | None:
        """The first address that is worse off, of those that nothing tells apart one each.

        What entries catch of which the service may not know is not judged.
        """
        assert self.snapshot is not None
        nodes = {node.interface: node for node in self.snapshot.nodes}
        owners = [
            (columns.prefix(row), self.snapshot.nodes[columns.node[row]].name)
            for columns in self.snapshot.blocks.values()
            for row in range(len(columns))
        ]
        marks = [*before, *after, *(prefix for prefix, _ in owners), *doubtful]
        for subnet in self.snapshot.subnets:
            for tree in subnet.prefixes:
                if not any(tree.contains(prefix) for prefix, _ in owners):
                    continue
                edges = {tree.value} | {m.value for m in marks} | {m.last + 1 for m in marks}
                for address in edges:
                    if not tree.holds(address) or any(p.holds(address) for p in doubtful):
                        continue
                    owner = next((name for p, name in owners if p.holds(address)), None)
                    levels = []
                    for rows in (before, after):
                        longest = max(
                            (p for p in rows if p.holds(address)),
                            key=lambda p: p.length,
                            default=None,
                        )
                        node = None if longest is None else nodes.get(rows[longest])
                        alive = node is not None and node.healthy and node.subnet == subnet.id
                        stranded = (
                            alive
                            and node is not None
                            and not node.forwards
                            and owner not in (None, node.name)
                        )
                        levels.append(alive + (alive and not stranded))
                    if levels[1] < levels[0]:
                        return f"{address:#x} of {subnet.id}"
        return None
