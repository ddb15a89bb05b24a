"""A simulated VPC under a generated snapshot, with a store, in which services run and crash.

Every call that has an effect is judged at once, on the rows as they are (not as a read shows
them), by the slow model of ``tests.tables``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ipam.prefix import Family, Prefix
from ipam.store.memory import MemoryStore
from ipam.store.port import Compare, Operation, Put, RangeResult, TxnResult
from tests.tables import held, world_of
from vpcrouter.assemble import TableSettings, route_tables
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.port import (
    InstanceState,
    NetworkInterface,
    Observation,
    Row,
    Table,
    VpcSubnet,
)
from vpcrouter.fabric.simulated import SimulatedFabric
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import MemoryStorage
from vpcrouter.model import (
    Entry,
    Kind,
    Plan,
    PlannedEntry,
    RouteTable,
    Snapshot,
    Step,
    TablePlan,
)
from vpcrouter.ownership import ROUTES, RouteRecord, Stage, decode_routes, encode_route, route_key
from vpcrouter.service import Finished, Progress, Router, alone
from vpcrouter.service.router import Confirm
from vpcrouter.transition import transition

GATEWAY = "igw-1"
PROMPT = Behaviour(bucket=1_000_000)

SETTINGS = TableSettings(tuple(Family), reserve=0, own_subnet_weight=1.0)

Targets = Mapping[str, Sequence[Entry]]


def nothing(table: str, step: Step) -> None:
    """Let a call pass."""


class CrashError(BaseException):
    """The process ends here: nothing catches it, nothing is cleaned up."""


class Incident:
    """What happens at one of the moments that a run passes: by default nothing ever."""

    def __init__(self, at: int | None = None, error: Callable[[], BaseException] = CrashError):
        self._at = at
        self._error = error
        self.passed = 0

    def pass_by(self) -> None:
        """A moment passes."""
        self.passed += 1
        if self.passed - 1 == self._at:
            raise self._error()


class FlakyStore:
    """A store of which any transaction may be the last thing, before or after its effect."""

    def __init__(self, store: MemoryStore, incident: Incident) -> None:
        self._store = store
        self._incident = incident
        self.location = store.location
        self.max_operations = store.max_operations
        self.get = store.get
        self.watch = store.watch
        self.compact = store.compact
        self.grant = store.grant
        self.keep_alive = store.keep_alive
        self.revoke = store.revoke
        self.close = store.close

    def range(self, prefix: str) -> RangeResult:
        self._incident.pass_by()
        return self._store.range(prefix)

    def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        self._incident.pass_by()
        result = self._store.txn(compares, operations)
        self._incident.pass_by()
        return result


@dataclass
class Arena:
    """One VPC with its store, and what its tables are to hold in the end.

    ``sent`` are the steps that arrived, in order.
    """

    snapshot: Snapshot
    targets: Targets
    behaviour: Behaviour = PROMPT
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    crash: Incident = field(default_factory=Incident)
    refuse: Callable[[str, Step], None] = nothing
    lose: Callable[[str, Step], None] = nothing
    sent: list[tuple[str, Step]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self.snapshot
        start = observation(self.snapshot)
        self.vpc = SimulatedVpc(start, MemoryStorage(), self.clock, self.behaviour)
        self.quota = start.quota
        self.foreign = {t.id: _foreign(t.rows) for t in start.tables}
        for table in self.snapshot.route_tables:
            for entry in table.entries:
                self.own(table.id, entry)
        self.snapshot = replace(self.snapshot, route_tables=self.observe())
        self._worlds = {
            t.id: world_of(self.snapshot, t, self.targets[t.id]) for t in self.snapshot.route_tables
        }
        self._levels = {t: world.levels(self.rows(t)) for t, world in self._worlds.items()}

    def own(self, table: str, entry: Entry) -> None:
        """Record an entry as ours."""
        self.put(RouteRecord(table, entry.destination, entry.interface, None, Stage.DONE))

    def put(self, record: RouteRecord) -> None:
        """Write a record, as a service would."""
        key = route_key(record.table, record.destination)
        self.store.txn([], [Put(key, encode_route(record))])

    # What a service is given.

    def router(self) -> Router:
        """A service as it starts anew."""
        store = FlakyStore(self.store, self.crash)
        return Router(SimulatedFabric(self.vpc, self), store, alone(self.clock))

    def observe(self) -> tuple[RouteTable, ...]:
        """The tables as a read shows them, with what the store says is ours."""
        found = route_tables(self.vpc.describe(), self.records(), SETTINGS)
        by_id = {table.id: table for table in found}
        return tuple(by_id[table.id] for table in self.snapshot.route_tables)

    def run(self, router: Router | None = None, confirm: Confirm = lambda _: True) -> Finished:
        """One run of a service (a new one), from a fresh look on; how it ended."""
        last = self.reports(router or self.router(), confirm)[-1]
        assert isinstance(last, Finished)
        return last

    def reports(self, router: Router, confirm: Confirm = lambda _: True) -> list[Progress]:
        """What a run reports."""
        snapshot = replace(self.snapshot, route_tables=self.observe())
        return list(router.run(snapshot, self.plan, self.observe, confirm))

    def plan(self, snapshot: Snapshot) -> Plan:
        """A plan for the targets, whatever there is."""
        return Plan(
            tuple(
                TablePlan(
                    id=table.id,
                    entries=tuple(map(_planned, self.targets[table.id])),
                    steps=transition(snapshot, table, self.targets[table.id]).steps,
                    max_load=0.0,
                    detour_weight=0.0,
                    weight=0.0,
                    proof={},
                    unserved=(),
                )
                for table in snapshot.route_tables
            )
        )

    # What is the case.

    def records(self) -> Mapping[tuple[str, Prefix], RouteRecord]:
        return decode_routes((item.key, item.value) for item in self.store.range(ROUTES).items)

    def rows(self, table: str) -> dict[Prefix, str]:
        """All rows to interfaces, whoever made them, as they are."""
        rows = self.vpc._rows(table, self.vpc._storage.load()).values()
        return {
            row.destination: row.target
            for row in rows
            if row.to_interface and isinstance(row.destination, Prefix)
        }

    def check_settled(self) -> None:
        """The tables hold the targets, the store says so, and nothing else has changed."""
        for table in self.snapshot.route_tables:
            assert self.rows(table.id) == held(self.targets[table.id])
            rows = self.vpc._rows(table.id, self.vpc._storage.load()).values()
            assert _foreign(rows) == self.foreign[table.id]
        done = {
            (table, entry.destination): RouteRecord(
                table, entry.destination, entry.interface, None, Stage.DONE
            )
            for table, entries in self.targets.items()
            for entry in entries
        }
        assert self.records() == done

    # The faults between service and VPC.

    def before_read(self) -> None:
        """Reads never fail here."""

    def before(self, table: str, step: Step) -> None:
        self.crash.pass_by()
        self.refuse(table, step)

    def after(self, table: str, step: Step) -> None:
        self.sent.append((table, step))
        before, now = self._levels[table], self._worlds[table].levels(self.rows(table))
        worse = [address for address, level in now.items() if level < before[address]]
        assert not worse, f"{step} lowers {worse[0]}"
        self._levels[table] = now
        self.crash.pass_by()
        self.lose(table, step)


def observation(snapshot: Snapshot) -> Observation:
    """A VPC that holds what the tables of a snapshot hold, with room for their limits.

    The quota is one for all tables: it fits the table with the largest limit.
    """
    quota = {
        family: max(
            table.limit.get(family, 0) + sum(p.family is family for p in table.foreign)
            for table in snapshot.route_tables
        )
        for family in Family
    }
    return Observation(
        vpc="vpc-1",
        local=(),
        subnets=tuple(VpcSubnet(s.id, s.zone, (), s.route_table) for s in snapshot.subnets),
        tables=tuple(Table(t.id, _rows(t)) for t in snapshot.route_tables),
        interfaces=tuple(
            NetworkInterface(n.interface, n.subnet, {}, f"i-{n.name}", 0, source_dest_check=False)
            for n in snapshot.nodes
        ),
        instances={f"i-{node.name}": InstanceState.RUNNING for node in snapshot.nodes},
        quota=quota,
    )


def _rows(table: RouteTable) -> tuple[Row, ...]:
    ours = [Row(e.destination, e.interface, to_interface=True) for e in table.entries]
    return (*ours, *(Row(prefix, GATEWAY, to_interface=False) for prefix in table.foreign))


def _foreign(rows: object) -> list[Row]:
    assert hasattr(rows, "__iter__")
    return sorted((row for row in rows if not row.to_interface), key=str)


def _planned(entry: Entry) -> PlannedEntry:
    return PlannedEntry(entry.destination, entry.interface, None, Kind.DIRECT, 0, 0.0, 0.0)
