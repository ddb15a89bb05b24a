"""Other ways to fill route tables, to compare with: static groups, a route per node, merging.

Each is given what suits it: nothing is ever short of addresses, a route per node is one entry
however many blocks the node owns, and groups that have to fit the budget are shared out with a
knowledge of the nodes that the cluster starts with. All keep what they hold while it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import netaddr

from ipam.groups import least_cap, wanted
from ipam.prefix import Family, Prefix
from vpcrouter.model import RouteTable, Snapshot, Subnet
from vpcrouter.simulate.standing import Standing, Tally

PER_ZONE = (4, 8)
"""How many static groups a zone has; besides, as many as fit the budget."""


@dataclass(frozen=True, slots=True)
class Route:
    """An entry that a scheme wants: its name, its next hop, the weight it catches by owner.

    Nodes are indices of the snapshot's.
    """

    name: str
    hop: int
    catches: Mapping[int, float]


class Scheme(Protocol):
    """A way to fill tables. It may remember what came before."""

    name: str

    def settle(self, cluster: Snapshot) -> None:
        """Take note of who is there now; called once for each settled moment."""
        ...

    def routes(self, cluster: Snapshot, family: Family) -> Sequence[Route]:
        """What every table should hold; the first ones go in where not all fit the budget."""
        ...


class Rival:
    """A scheme together with what its tables hold, through one history."""

    def __init__(self, scheme: Scheme) -> None:
        self.name = scheme.name
        self._scheme = scheme
        self._held: dict[tuple[str, Family], dict[str, str]] = {}

    def settle(self, cluster: Snapshot) -> Standing:
        """Bring all tables to what the scheme wants of this cluster, and say how it stands."""
        self._scheme.settle(cluster)
        tally = Tally(cluster)
        changes = 0
        for family in Family:
            routes = self._scheme.routes(cluster, family)
            for table in cluster.route_tables:
                changes += self._fill(cluster, table, family, routes, tally)
        return tally.standing(changes)

    def _fill(
        self,
        cluster: Snapshot,
        table: RouteTable,
        family: Family,
        routes: Sequence[Route],
        tally: Tally,
    ) -> int:
        """Fill one table and count its changes: what it holds already goes first."""
        before = self._held.get((table.id, family), {})
        budget = table.budget.get(family, 0)
        urgent = sorted(routes, key=lambda route: route.name not in before)
        held = {r.name: cluster.nodes[r.hop].interface for r in urgent[:budget]}
        for route in routes:
            hop = route.hop if route.name in held else None
            for owner, weight in route.catches.items():
                tally.send(table.id, family, hop, owner, weight)
        tally.hold(len(held))
        self._held[table.id, family] = held
        return sum(before.get(n) != hop for n, hop in held.items()) + len(before.keys() - held)


class PerNode:
    """One entry for each node, the nodes that are there longest first."""

    name = "per-node"

    def __init__(self) -> None:
        self._order = _Arrivals()

    def settle(self, cluster: Snapshot) -> None:
        """Take note of who is there now."""
        self._order.settle(cluster)

    def routes(self, cluster: Snapshot, family: Family) -> list[Route]:
        """An entry for each node with blocks."""
        weights = _weights(cluster, family)
        return [
            Route(cluster.nodes[node].interface, node, {node: weights[node]})
            for node in self._order.nodes(cluster)
            if node in weights
        ]


class MergeOnly:
    """Each node's blocks, merged where that changes nothing: adjacent ones with one next hop."""

    name = "merge-only"

    def __init__(self) -> None:
        self._order = _Arrivals()
        self._merged: dict[tuple[Prefix, ...], tuple[Prefix, ...]] = {}

    def settle(self, cluster: Snapshot) -> None:
        """Take note of who is there now."""
        self._order.settle(cluster)

    def routes(self, cluster: Snapshot, family: Family) -> list[Route]:
        """An entry for each merged prefix of each node."""
        columns = cluster.blocks[family]
        rows: dict[int, list[int]] = {}
        for row, node in enumerate(columns.node):
            rows.setdefault(node, []).append(row)
        found = []
        for node in self._order.nodes(cluster):
            prefixes = [(columns.prefix(row), columns.weight[row]) for row in rows.get(node, ())]
            for whole in self._merge(tuple(prefix for prefix, _ in prefixes)):
                weight = sum(w for prefix, w in prefixes if whole.contains(prefix))
                found.append(Route(str(whole), node, {node: weight}))
        return found

    def _merge(self, blocks: tuple[Prefix, ...]) -> tuple[Prefix, ...]:
        if blocks not in self._merged:
            merged = netaddr.cidr_merge([str(block) for block in blocks])
            self._merged[blocks] = tuple(Prefix.parse(str(cidr)) for cidr in merged)
        return self._merged[blocks]


class StaticGroups:
    """Prefix groups that are set once: nodes join the groups of their subnet in turn.

    A group has one forwarder, the same in all tables: the healthy node that is in it longest, and
    then the next. ``count`` says how many groups each subnet gets, once, at the start.
    """

    def __init__(self, name: str, count: Callable[[Snapshot], Mapping[str, int]]) -> None:
        self.name = name
        self._count = count
        self._groups: Mapping[str, int] = {}
        self._joined: dict[str, int] = {}
        self._member: dict[str, int] = {}
        self._forwarder: dict[tuple[str, int], str] = {}
        self._order = _Arrivals()

    def settle(self, cluster: Snapshot) -> None:
        """Put new nodes into groups, and choose anew where a forwarder is gone or unhealthy."""
        if not self._groups:
            self._groups = self._count(cluster)
        self._order.settle(cluster)
        healthy: dict[tuple[str, int], dict[str, None]] = {}
        member: dict[str, int] = {}
        for index in self._order.nodes(cluster):
            node = cluster.nodes[index]
            if node.interface in self._member:
                member[node.interface] = self._member[node.interface]
            else:
                number = self._joined.get(node.subnet, 0)
                self._joined[node.subnet] = number + 1
                member[node.interface] = number % self._groups[node.subnet]
            group = node.subnet, member[node.interface]
            if node.healthy:
                healthy.setdefault(group, {})[node.interface] = None
        self._member = member
        for group, able in healthy.items():
            if self._forwarder.get(group) not in able:
                self._forwarder[group] = next(iter(able))

    def routes(self, cluster: Snapshot, family: Family) -> list[Route]:
        """An entry for each group that holds a node with blocks and has had a forwarder."""
        index = {node.interface: position for position, node in enumerate(cluster.nodes)}
        catches: dict[tuple[str, int], dict[int, float]] = {}
        for node, weight in _weights(cluster, family).items():
            group = cluster.nodes[node].subnet, self._member[cluster.nodes[node].interface]
            catches.setdefault(group, {})[node] = weight
        return [
            Route(f"{group[0]} {group[1]}", self._hop(index, group, owners), owners)
            for group, owners in sorted(catches.items())
        ]

    def _hop(self, index: Mapping[str, int], group: tuple[str, int], owners: Iterable[int]) -> int:
        """The group's forwarder; where none is left, somebody unhealthy, who reaches nobody."""
        return index.get(self._forwarder.get(group, ""), min(owners))


def per_zone(number: int) -> StaticGroups:
    """So many groups in each zone: a zone's subnets share them, each with one at least."""

    def count(cluster: Snapshot) -> dict[str, int]:
        found: dict[str, int] = {}
        for _, subnets in groupby(sorted(cluster.subnets, key=_by_zone), key=lambda s: s.zone):
            together = list(subnets)
            share, rest = divmod(number, len(together))
            for position, subnet in enumerate(together):
                found[subnet.id] = max(1, share + (position < rest))
        return found

    return StaticGroups(f"static-groups-{number}", count)


def fitting() -> StaticGroups:
    """As many groups as the smallest table takes, shared out by the nodes at the start."""

    def count(cluster: Snapshot) -> dict[str, int]:
        families = [family for family in Family if len(cluster.blocks[family])]
        budget = min(
            (t.budget.get(family, 0) for t in cluster.route_tables for family in families),
            default=0,
        )
        loads = {subnet.id: 0 for subnet in cluster.subnets}
        for node in cluster.nodes:
            loads[node.subnet] += 1
        least = dict.fromkeys(loads, 1)
        groups = wanted(loads, least, least_cap(loads, least, max(budget, len(loads))))
        while loads and sum(groups.values()) < budget:  # what is left goes to the fullest
            groups[max(loads, key=lambda s: (loads[s] / groups[s], s))] += 1
        return groups

    return StaticGroups("static-groups-fit", count)


SCHEMES: Mapping[str, Callable[[], tuple[Scheme, ...]]] = {
    "static-groups": lambda: (*(per_zone(number) for number in PER_ZONE), fitting()),
    "per-node": lambda: (PerNode(),),
    "merge-only": lambda: (MergeOnly(),),
}
"""The schemes by the name that asks for them."""


class _Arrivals:
    """Nodes in the order in which they were first seen, those of one moment by name."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def settle(self, cluster: Snapshot) -> None:
        present = dict.fromkeys(node.interface for node in cluster.nodes)
        kept = dict.fromkeys(name for name in self._seen if name in present)
        self._seen = {**kept, **present}

    def nodes(self, cluster: Snapshot) -> list[int]:
        index = {node.interface: position for position, node in enumerate(cluster.nodes)}
        return [index[name] for name in self._seen]


def _weights(cluster: Snapshot, family: Family) -> dict[int, float]:
    """What the blocks of each node that has some weigh together."""
    columns = cluster.blocks[family]
    found: dict[int, float] = {}
    for node, weight in zip(columns.node, columns.weight, strict=True):
        found[node] = found.get(node, 0.0) + weight
    return found


def _by_zone(subnet: Subnet) -> tuple[str, str]:
    return subnet.zone, subnet.id
