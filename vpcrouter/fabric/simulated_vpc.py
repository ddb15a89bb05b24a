"""A VPC in memory that answers as EC2 does, and is strict where EC2 is.

It starts from what a real VPC was described as. Calls take and refuse what EC2's calls of these
names do, by EC2's codes; reads may lag; a blackhole shows late; too many calls are throttled.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from operator import attrgetter

from msgspec import structs

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from vpcrouter.fabric.bucket import TokenBucket
from vpcrouter.fabric.codes import Call, Code, Ec2Error
from vpcrouter.fabric.port import (
    Clock,
    InstanceState,
    NetworkInterface,
    Observation,
    Origin,
    Row,
    RowState,
    Table,
)
from vpcrouter.fabric.tables_file import Changes, TableStorage


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the simulated cloud keeps its callers waiting; all in seconds but ``bucket``.

    A read shows the tables as they were ``lag`` ago. A row shows as a blackhole ``blackhole_after``
    its next hop went away. Each kind of call may be sent ``bucket`` times at once, and
    ``refill`` times a second in the long run.
    """

    lag: float = 0.0
    blackhole_after: float = 60.0
    bucket: int = 50
    refill: float = 5.0


@dataclass(frozen=True, slots=True)
class _Undo:
    """What was at a destination before a change, for reads that lag behind it."""

    at: float
    table: str
    destination: Prefix
    row: Row | None


class SimulatedVpc:
    """The cloud's side. Not for several threads; several processes may share one storage."""

    def __init__(
        self, start: Observation, storage: TableStorage, clock: Clock, behaviour: Behaviour
    ) -> None:
        self._start = start
        self._storage = storage
        self._clock = clock
        self._behaviour = behaviour
        self._described = {table.id: table.rows for table in start.tables}
        self._interfaces = {interface.id: interface for interface in start.interfaces}
        self._ordered: tuple[NetworkInterface, ...] | None = None  # unless something has changed
        self._instances = dict(start.instances)
        self._quota = dict(start.quota)
        self._subnet_cidrs = {cidr for subnet in start.subnets for cidr in subnet.cidrs}
        self._buckets = {
            call: TokenBucket(behaviour.bucket, behaviour.refill, clock.now()) for call in Call
        }
        self._undo: deque[_Undo] = deque()
        self._gone_since: dict[str, float] = {}
        self._note_targets(-math.inf)

    # What the cloud is asked.

    def describe(self) -> Observation:
        """Everything, the tables as they were some time ago."""
        changes = self._storage.load()
        tables = {name: self._rows(name, changes) for name in self._described}
        visible = self._clock.now() - self._behaviour.lag
        for undo in reversed(self._undo):
            if undo.at > visible:
                _put(tables[undo.table], undo.destination, undo.row)
        return replace(
            self._start,
            tables=tuple(
                Table(
                    name, tuple(self._with_state(row) for row in sorted(rows.values(), key=_place))
                )
                for name, rows in tables.items()
            ),
            interfaces=self._in_order(),
            instances=dict(self._instances),
            quota=dict(self._quota),
        )

    def _in_order(self) -> tuple[NetworkInterface, ...]:
        """The interfaces by their ids."""
        if self._ordered is None:
            self._ordered = tuple(sorted(self._interfaces.values(), key=attrgetter("id")))
        return self._ordered

    def row(self, table: str, destination: Prefix) -> Row | None:
        """The row that was made for a destination, as it is now; None where there is none."""
        if table not in self._described:
            return None
        return self._rows(table, self._storage.load()).get((destination, False))

    def create_route(self, table: str, cidr: str, interface: str) -> None:
        """EC2's CreateRoute; raises Ec2Error."""
        self._throttle(Call.CREATE)
        destination = _canonical(cidr)
        with self._storage.exclusive():
            changes = self._storage.load()
            rows = self._existing_table(table, changes)
            self._check_interface(interface)
            self._check_destination(destination)
            if (destination, False) in rows:
                raise Ec2Error(
                    Code.ROUTE_EXISTS, f"The route identified by {destination} already exists."
                )
            self._check_quota(table, rows, destination.family)
            self._commit(changes, table, destination, interface)

    def replace_route(self, table: str, cidr: str, interface: str) -> None:
        """EC2's ReplaceRoute; raises Ec2Error."""
        self._throttle(Call.REPLACE)
        destination = _canonical(cidr)
        with self._storage.exclusive():
            changes = self._storage.load()
            row = self._existing_table(table, changes).get((destination, False))
            self._check_interface(interface)
            if row is None:
                raise Ec2Error(
                    Code.INVALID_PARAMETER,
                    f"There is no route defined for '{destination}' in the route table. "
                    "Use CreateRoute instead.",
                )
            if row.origin is Origin.LOCAL:
                raise Ec2Error(Code.INVALID_PARAMETER, f"cannot replace local route {destination}")
            self._commit(changes, table, destination, interface)

    def delete_route(self, table: str, cidr: str) -> None:
        """EC2's DeleteRoute; raises Ec2Error."""
        self._throttle(Call.DELETE)
        destination = _canonical(cidr)
        with self._storage.exclusive():
            changes = self._storage.load()
            rows = self._existing_table(table, changes)
            row = rows.get((destination, False))
            if row is None and (destination, True) in rows:
                raise Ec2Error(
                    Code.INVALID_PARAMETER, f"cannot remove propagated route {destination}"
                )
            if row is None:
                raise Ec2Error(
                    Code.ROUTE_NOT_FOUND,
                    f"no route with destination-cidr-block {destination} in route table {table}",
                )
            if row.origin is Origin.LOCAL:
                raise Ec2Error(Code.INVALID_PARAMETER, f"cannot remove local route {destination}")
            self._commit(changes, table, destination, None)

    def modify_source_dest_check(self, interface: str, *, on: bool) -> None:
        """EC2's ModifyNetworkInterfaceAttribute, of this one attribute; raises Ec2Error."""
        self._throttle(Call.MODIFY_INTERFACE)
        self._ordered = None
        self._interfaces[interface] = structs.replace(
            self._existing_interface(interface), source_dest_check=on
        )

    # What happens to the cloud by itself, or by others.

    def put_interface(self, interface: NetworkInterface) -> None:
        """An interface appears or changes."""
        self._ordered = None
        self._interfaces[interface.id] = interface
        self._note_targets(self._clock.now())

    def remove_interface(self, name: str) -> None:
        """An interface is deleted; rows to it become blackholes, late."""
        self._ordered = None
        del self._interfaces[name]
        self._gone_since.setdefault(name, self._clock.now())

    def put_instance(self, name: str, state: InstanceState) -> None:
        """An instance appears or changes its state; its interfaces stay as they are."""
        self._instances[name] = state
        self._note_targets(self._clock.now())

    def set_quota(self, family: Family, entries: int) -> None:
        """The account gets another quota; tables that are over it stay as they are."""
        self._quota[family] = entries

    # The tables.

    def _rows(self, table: str, changes: Changes) -> _Rows:
        """The rows of a table by destination and whether they are propagated.

        A described row wins against a change where it leads to no interface: then somebody else
        put it there after we changed the table.
        """
        rows: _Rows = {
            (row.destination, row.origin is Origin.PROPAGATED): row
            for row in self._described[table]
        }
        for destination, interface in changes.get(table, {}).items():
            described = rows.get((destination, False))
            if described is not None and not described.to_interface:
                continue
            row = None if interface is None else Row(destination, interface, to_interface=True)
            _put(rows, destination, row)
        return rows

    def _commit(
        self, changes: Changes, table: str, destination: Prefix, interface: str | None
    ) -> None:
        before = self._rows(table, changes).get((destination, False))
        of_table = dict(changes.get(table, {}))
        of_table[destination] = interface
        described = {row.destination for row in self._described[table] if row.to_interface}
        if interface is None and destination not in described:
            del of_table[destination]
        known = {name: rows for name, rows in changes.items() if name in self._described}
        self._storage.save({**known, table: of_table})
        now = self._clock.now()
        self._undo.append(_Undo(now, table, destination, before))
        while self._undo[0].at <= now - self._behaviour.lag:
            self._undo.popleft()
            if not self._undo:
                break

    def _with_state(self, row: Row) -> Row:
        if not row.to_interface:
            return row
        gone = self._gone_since.get(row.target)
        if gone is None and row.target not in self._interfaces:
            gone = -math.inf
        late = gone is not None and self._clock.now() - gone >= self._behaviour.blackhole_after
        return replace(row, state=RowState.BLACKHOLE) if late else row

    def _note_targets(self, now: float) -> None:
        """Note since when interfaces cannot take packets, and forget those that can again."""
        before = self._gone_since
        stopped = {name for name, s in self._instances.items() if s not in _TAKING_PACKETS}
        gone = [
            interface.id
            for interface in self._interfaces.values()
            if interface.instance is None or interface.instance in stopped
        ]
        gone += (before.keys() | self._row_targets()) - self._interfaces.keys()
        self._gone_since = {name: before.get(name, now) for name in gone}

    def _row_targets(self) -> set[str]:
        return {row.target for rows in self._described.values() for row in rows if row.to_interface}

    # The checks.

    def _throttle(self, call: Call) -> None:
        wait = self._buckets[call].take(self._clock.now())
        if wait > 0:
            raise Ec2Error(Code.REQUEST_LIMIT, "Request limit exceeded.", wait)

    def _existing_table(self, table: str, changes: Changes) -> _Rows:
        if table not in self._described:
            raise Ec2Error(Code.TABLE_NOT_FOUND, f"The routeTable ID '{table}' does not exist")
        return self._rows(table, changes)

    def _existing_interface(self, name: str) -> NetworkInterface:
        interface = self._interfaces.get(name)
        if interface is None:
            raise Ec2Error(
                Code.INTERFACE_NOT_FOUND, f"The networkInterface ID '{name}' does not exist"
            )
        return interface

    def _check_interface(self, name: str) -> None:
        if not self._existing_interface(name).settled:
            raise Ec2Error(Code.INCORRECT_STATE, f"{name} is being attached or detached")

    def _check_destination(self, destination: Prefix) -> None:
        """More specific than the VPC's own CIDRs only where it is exactly a subnet's."""
        for local in self._start.local:
            inside = local.contains(destination) and local != destination
            if inside and destination not in self._subnet_cidrs:
                raise Ec2Error(
                    Code.INVALID_PARAMETER,
                    f"{destination} is more specific than {local}, the VPC's own, and no "
                    "subnet's CIDR",
                )

    def _check_quota(self, table: str, rows: _Rows, family: Family) -> None:
        taken = sum(row.weight for row in rows.values() if row.family is family)
        if taken + 1 > self._quota.get(family, 0):
            raise Ec2Error(
                Code.ROUTE_LIMIT,
                f"The maximum number of routes in {table} has been reached: {taken} of "
                f"{self._quota.get(family, 0)} for {family}",
            )


_Rows = dict[tuple[object, bool], Row]

# An instance that is not described runs.
_TAKING_PACKETS = (InstanceState.RUNNING, InstanceState.PENDING)


def _put(rows: _Rows, destination: Prefix, row: Row | None) -> None:
    if row is None:
        rows.pop((destination, False), None)
    else:
        rows[destination, False] = row


def _place(row: Row) -> tuple[bool, tuple[str, int, int], str]:
    """Where a row stands in its table: CIDRs in order, then prefix lists."""
    destination = row.destination
    if isinstance(destination, Prefix):
        numbers = (destination.family.value, destination.value, destination.length)
        return False, numbers, row.origin.value
    return True, (destination.id, 0, 0), row.origin.value


def _canonical(cidr: str) -> Prefix:
    try:
        return Prefix.parse(cidr)
    except BadInputError as error:
        raise Ec2Error(Code.INVALID_PARAMETER, str(error)) from error
