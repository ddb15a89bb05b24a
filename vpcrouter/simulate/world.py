"""A simulated cluster at one moment, and what an event makes of it: pure values, no cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from msgspec import structs

from ipam.model import Claim, State
from ipam.model import Node as Owner
from ipam.placement import Refusal, grow, join, leave, next_blocks
from ipam.prefix import Family, Prefix, format_address
from ipam.room import ANY_ROOM, Room
from ipam.topology import Labels
from vpcrouter.capacity import median
from vpcrouter.model import Block, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.problems import Problem
from vpcrouter.simulate.events import Event, Fail, Grow, Join, Leave, Load, Recover

NOT_JOINED = "gets no addresses and stays out"
NOT_GROWN = "gets no further blocks"

# Addresses of nodes that join: from the ranges for benchmarks (RFC 2544) and documentation
# (RFC 3849), so that nobody takes them for real ones.
_MADE_UP = {Family.IPV4: 0xC6120000, Family.IPV6: 0x20010DB8 << 96}


@dataclass(frozen=True, slots=True)
class World:
    """Who is there, with which addresses, weights and route entries.

    ``state`` says who owns which blocks, ``nodes`` what routing knows about each node. A node in
    ``weights`` divides that weight among its blocks; every block of another weighs
    ``usual_weight``, and nodes that join can carry ``usual_capacity``: the medians at the start.
    ``budget`` is the smallest of all tables, which placement needs to know. ``standing`` are blocks
    of nodes that were replaced by others of the same name: nothing happens to them. ``joins``
    counts, by name, the nodes that were made up, ``refused`` lists what could get no addresses.
    ``room`` is what the tables' entries can take of new nodes.
    """

    state: State
    subnets: tuple[Subnet, ...]
    nodes: Mapping[str, Node]
    tables: tuple[RouteTable, ...]
    budget: Mapping[Family, int]
    standing: tuple[Block, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    joins: Mapping[str, int] = field(default_factory=dict)
    refused: tuple[Problem, ...] = ()
    usual_weight: float = 1.0
    usual_capacity: float = 1.0
    room: Room = ANY_ROOM

    @classmethod
    def starting(cls, state: State, cluster: Snapshot) -> World:
        """The cluster of a snapshot, whose blocks were given out as the state says."""
        return cls(
            state=state,
            subnets=cluster.subnets,
            nodes={node.name: node for node in cluster.nodes},
            tables=cluster.route_tables,
            budget=smallest_budget(cluster.route_tables),
            standing=tuple(_not_owned_by_name(state, cluster)),
            weights=_uneven(state, cluster),
            usual_weight=_usual(cluster),
            usual_capacity=median([node.capacity for node in cluster.nodes] or [1.0]),
        )

    def snapshot(self) -> Snapshot:
        """What a plan is made from."""
        subnets = (replace(s, prefixes=self.state.prefixes(s.id)) for s in self.subnets)
        return snapshot(subnets, self.nodes.values(), self._blocks(), self.tables)

    def coming(self) -> tuple[Prefix, ...]:
        """The blocks that the next nodes of each subnet would get."""
        homes = sorted({node.subnet for node in self.nodes.values()})
        labels = {home: _labels(self.state, home) for home in homes}
        return next_blocks(self.state, labels, self.budget)

    def _blocks(self) -> list[Block]:
        found = list(self.standing)
        for name in self.nodes:
            prefixes = self.state.blocks(name)
            weight = (
                self.weights[name] / len(prefixes)
                if name in self.weights and prefixes
                else self.usual_weight
            )
            found += [Block(prefix, name, weight) for prefix in prefixes]
        return found


def _not_owned_by_name(state: State, cluster: Snapshot) -> Iterator[Block]:
    for columns in cluster.blocks.values():
        for prefix, node, weight in zip(
            columns.prefixes(), columns.node, columns.weight, strict=True
        ):
            name = cluster.nodes[node].name
            if prefix not in state.blocks(name):
                yield Block(prefix, name, weight)


def _usual(cluster: Snapshot) -> float:
    """What a block weighs in the middle of all."""
    return median([w for columns in cluster.blocks.values() for w in columns.weight] or [1.0])


def _uneven(state: State, cluster: Snapshot) -> dict[str, float]:
    """What nodes weigh of whose blocks not every one weighs as much as is usual."""
    found: dict[str, float] = {}
    uneven: set[str] = set()
    usual = _usual(cluster)
    for columns in cluster.blocks.values():
        for prefix, node, weight in zip(
            columns.prefixes(), columns.node, columns.weight, strict=True
        ):
            name = cluster.nodes[node].name
            if prefix in state.blocks(name):
                found[name] = found.get(name, 0.0) + weight
                if weight != usual:
                    uneven.add(name)
    return {name: found[name] for name in sorted(uneven)}


def smallest_budget(tables: Sequence[RouteTable]) -> dict[Family, int]:
    """What every table can take, by family."""
    return {f: min((table.budget.get(f, 0) for table in tables), default=0) for f in Family}


def happen(world: World, event: Event) -> World:
    """The world after an event, before anybody has planned for it.

    The event can happen: see ``read_events``. A node that was refused addresses is not there; what
    happens to it changes nothing.
    """
    if isinstance(event.change, Join):
        return _joined(world, event, event.change.subnet)
    if event.node not in world.nodes:
        return world
    if isinstance(event.change, Leave):
        return _left(world, event.node)
    if isinstance(event.change, Grow):
        return _grown(world, event, event.change.blocks)
    if isinstance(event.change, Load):
        return replace(world, weights={**world.weights, event.node: event.change.weight})
    return _with_health(world, event.node, event.change)


def _joined(world: World, event: Event, subnet: str) -> World:
    count = world.joins.get(event.node, 0) + 1
    identity = f"{event.node} {count}"
    claim = Claim(event.node, subnet, identity, _labels(world.state, subnet))
    outcome = join(world.state, [claim], world.budget, world.room)
    node = Node(
        name=event.node,
        subnet=subnet,
        interface=f"eni-{sha256(identity.encode()).hexdigest()[:17]}",
        addresses=_addresses(world.state.families, sum(world.joins.values())),
        capacity=world.usual_capacity,
    )
    there = {} if outcome.refused else {node.name: node}
    return replace(
        world,
        state=outcome.state,
        nodes={**world.nodes, **there},
        joins={**world.joins, event.node: count},
        room=world.room.without(outcome.state.blocks(event.node)),
        refused=(*world.refused, *(_refusal(event, NOT_JOINED, r) for r in outcome.refused)),
    )


def _labels(state: State, subnet: str) -> Labels:
    """Those of the first node of the subnet by name: a node that is made up is like that one."""
    if all(network.topology.is_plain for network in state.networks):
        return ()
    like = min((n for n in state.nodes.values() if n.subnet == subnet), key=_name, default=None)
    return like.labels if like is not None else ()


def _name(node: Owner) -> str:
    return node.name


def _left(world: World, name: str) -> World:
    return replace(
        world,
        state=leave(world.state, [name]),
        nodes={other: node for other, node in world.nodes.items() if other != name},
        weights={other: weight for other, weight in world.weights.items() if other != name},
    )


def _grown(world: World, event: Event, blocks: int) -> World:
    outcome = grow(world.state, event.node, blocks, world.budget)
    refused = tuple(_refusal(event, NOT_GROWN, r) for r in outcome.refused)
    return replace(world, state=outcome.state, refused=(*world.refused, *refused))


def _with_health(world: World, name: str, change: Fail | Recover) -> World:
    node = structs.replace(world.nodes[name], healthy=isinstance(change, Recover))
    return replace(world, nodes={**world.nodes, name: node})


def _addresses(families: Sequence[Family], number: int) -> dict[Family, str]:
    return {family: format_address(family, _MADE_UP[family] + 1 + number) for family in families}


def _refusal(event: Event, what: str, refusal: Refusal) -> Problem:
    reason = refusal.reason.removeprefix(f"node {refusal.node}: ")
    return Problem(f"{what}: {reason}", f"{event.node} (line {event.line})")
