"""What was observed, who belongs and who owns what -> the snapshot to plan from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from ipam.model import Node as Owner
from ipam.model import State
from ipam.prefix import Family, Prefix
from vpcrouter.fabric.port import NetworkInterface, Observation, PrefixList, Row, Table
from vpcrouter.membership import Member
from vpcrouter.model import BlockColumns, Entry, Node, RouteTable, Snapshot, Subnet
from vpcrouter.own_weight import OwnWeight, with_own_weights
from vpcrouter.ownership import RouteRecord
from vpcrouter.problems import Problem

SUBNET_GONE = "is not in the VPC any more: its nodes keep their addresses and get no entries"

Records = Mapping[tuple[str, Prefix], RouteRecord]


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What the cluster file says about every table: entries left free, and own blocks' weight.

    ``families`` are those of the networks: in others a table takes nothing from us.
    """

    families: tuple[Family, ...]
    reserve: int
    own_subnet_weight: OwnWeight


@dataclass(frozen=True, slots=True)
class Measures:
    """What blocks weigh and what nodes, by name, can carry; 1 where nothing is said."""

    weights: Mapping[Prefix, float]
    capacities: Mapping[str, float]


ALIKE = Measures({}, {})


def assemble(
    observation: Observation,
    members: Mapping[str, Member],
    state: State,
    records: Records,
    settings: TableSettings,
    measures: Measures,
) -> Snapshot:
    """The snapshot. Every table that a subnet of the VPC uses is in it, whoever lives there."""
    known = {subnet.id for subnet in observation.subnets}
    owners = [owner for owner in state.owners() if owner.subnet in known]
    nodes, owned = _nodes(observation, members, owners, measures)
    tables = route_tables(observation, records, settings)
    own_weight = settings.own_subnet_weight
    subnets = (
        Subnet(subnet.id, subnet.zone, subnet.table, state.prefixes(subnet.id))
        for subnet in observation.subnets
    )
    tables = with_own_weights(tables, own_weight, observation, members.values(), owners)
    ordered = tuple(sorted(nodes.values(), key=attrgetter("name")))
    return Snapshot(
        subnets=tuple(sorted(subnets, key=attrgetter("id"))),
        nodes=ordered,
        blocks=_blocks([node.name for node in ordered], owned, measures.weights),
        route_tables=tuple(sorted(tables, key=attrgetter("id"))),
    )


def lost_subnets(observation: Observation, state: State) -> tuple[Problem, ...]:
    """Subnets with addresses that the VPC does not have."""
    known = {subnet.id for subnet in observation.subnets}
    lost = {owner.subnet for owner in state.owners()} - known
    return tuple(Problem(SUBNET_GONE, f"subnet {name}") for name in sorted(lost))


def route_tables(
    observation: Observation, records: Records, settings: TableSettings
) -> tuple[RouteTable, ...]:
    """Every table that a subnet uses: what is ours, what is not, and how many entries it takes.

    Blocks have their full weight in all of them.
    """
    used = {subnet.table for subnet in observation.subnets}
    return tuple(
        _route_table(table, observation.quota, records, settings)
        for table in observation.tables
        if table.id in used
    )


def _route_table(
    table: Table, quota: Mapping[Family, int], records: Records, settings: TableSettings
) -> RouteTable:
    ours = {row.destination: row for row in table.rows if _is_ours(table.id, row, records)}
    foreign = [row for row in table.rows if row.destination not in ours]
    taken = {
        family: sum(row.weight for row in foreign if row.family is family) for family in Family
    }
    limit = {
        family: max(0, quota[family] - taken[family]) if family in settings.families else 0
        for family in Family
    }
    return RouteTable(
        id=table.id,
        limit=limit,
        budget={family: max(0, limit[family] - settings.reserve) for family in Family},
        entries=tuple(sorted(Entry(d, r.target) for d, r in ours.items() if isinstance(d, Prefix))),
        foreign=tuple(sorted({p for row in foreign for p in _destinations(row)} - ours.keys())),
    )


def _is_ours(table: str, row: Row, records: Records) -> bool:
    if isinstance(row.destination, PrefixList):
        return False
    record = records.get((table, row.destination))
    return record is not None and record.owns(row)


def _destinations(row: Row) -> tuple[Prefix, ...]:
    """What a row catches, as far as it is known."""
    if isinstance(row.destination, PrefixList):
        return row.destination.prefixes
    return (row.destination,)


def _nodes(
    observation: Observation,
    members: Mapping[str, Member],
    owners: Iterable[Owner],
    measures: Measures,
) -> tuple[dict[str, Node], list[tuple[str, Owner]]]:
    """All nodes that could forward or own blocks, by name, and what owner each of them is.

    An owner that is no member any more, or not where it was, is a node of its own that is not
    healthy: its blocks stay where they are, and nothing is sent to it.
    """
    capacity = measures.capacities.get
    nodes = {name: _member_node(member, capacity(name, 1.0)) for name, member in members.items()}
    owned: list[tuple[str, Owner]] = []
    absent: list[Owner] = []
    for owner in owners:
        member = members.get(owner.name)
        if member is not None and member.owns(owner):
            owned.append((owner.name, owner))
        else:
            absent.append(owner)
    spare = _spare_interfaces(observation, members) if absent else {}
    for owner in sorted(absent, key=lambda o: (o.name, o.identity)):
        name = _free_name(owner, nodes)
        nodes[name] = _absent_node(name, owner, spare.pop(owner.identity, None))
        owned.append((name, owner))
    return nodes, owned


def _blocks(
    names: Sequence[str],
    owned: Iterable[tuple[str, Owner]],
    weights: Mapping[Prefix, float],
) -> dict[Family, BlockColumns]:
    """The blocks of all owners; a hundred thousand of them are never objects of their own."""
    index = {name: position for position, name in enumerate(names)}
    rows: dict[Family, list[tuple[int, int, int, float]]] = {family: [] for family in Family}
    for name, owner in owned:
        node = index[name]
        for prefix in owner.owned:
            weight = weights.get(prefix, 1.0) if weights else 1.0
            rows[prefix.family].append((prefix.value, prefix.length, node, weight))
    return {family: BlockColumns.build(family, rows[family]) for family in Family}


def _member_node(member: Member, capacity: float) -> Node:
    node, interface = member.node, member.interface
    return Node(
        name=node.name,
        subnet=interface.subnet,
        interface=interface.id,
        addresses=node.primary_addresses,
        capacity=capacity,
        healthy=member.healthy,
        avoid=node.avoid,
    )


def _absent_node(name: str, owner: Owner, interface: NetworkInterface | None) -> Node:
    here = interface is not None and interface.subnet == owner.subnet
    return Node(
        name=name,
        subnet=owner.subnet,
        # Every node of a snapshot has an interface of its own; this one is in no table.
        interface=interface.id if interface is not None and here else f"none of {name}",
        addresses={},
        healthy=False,
    )


def _spare_interfaces(
    observation: Observation, members: Mapping[str, Member]
) -> dict[str, NetworkInterface]:
    """The primary interfaces, by instance, that no member has."""
    taken = {member.interface.id for member in members.values()}
    spare: dict[str, NetworkInterface] = {}
    for interface in sorted(observation.interfaces, key=lambda i: (i.device_index, i.id)):
        if interface.instance is not None and interface.id not in taken:
            spare.setdefault(interface.instance, interface)
    return spare


def _free_name(owner: Owner, taken: Mapping[str, Node]) -> str:
    """The owner's name, or one that says which of several of that name it is."""
    name = owner.name
    if name in taken:
        name = f"{owner.name} ({owner.identity})"
    while name in taken:
        name += " (former)"
    return name
