"""Who is there, following events: the nodes of a snapshot, and what has changed since.

Nodes keep their index for as long as a roster lives, those that join get the next ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from msgspec import structs

from vpcrouter.model import Node, Role, Snapshot
from vpcrouter.planner.problem import NodeView

_SPARE = 3  # idle forwarders kept in mind for each entry of the largest table


@dataclass(frozen=True, slots=True)
class Able:
    """The nodes that have ever been healthy: those of the view, and others since."""

    view: NodeView
    others: frozenset[int]

    def __contains__(self, index: int) -> bool:
        there = index < len(self.view.role) and self.view.role[index] != Role.NOTHING
        return bool(there) or index in self.others

    def with_node(self, index: int) -> Able:
        """One more."""
        return replace(self, others=self.others | {index})


@dataclass(frozen=True, slots=True)
class Roster:
    """``changed`` overlays the snapshot's nodes, ``gone`` are those that have left.

    ``spares`` are, per subnet, forwarders of the snapshot, the largest capacities first: more than
    all tables can ever use, of those that were there. ``most`` and ``least`` are the extremes of
    the forwarders' capacities per subnet, of all that have ever been there. ``keepers`` are the
    subnets with nodes, ever, that may be next hop of what they own and of nothing else.
    """

    view: NodeView
    snapshot: Snapshot
    changed: Mapping[int, Node]
    gone: frozenset[int]
    names: Mapping[str, int]
    size: int
    able: Able
    spares: tuple[tuple[int, ...], ...]
    most: tuple[float, ...]
    least: tuple[float, ...]
    keepers: frozenset[int]
    subnets: Mapping[str, int]

    @classmethod
    def of(cls, view: NodeView, snapshot: Snapshot) -> Roster:
        """The nodes of a snapshot."""
        entries = max((sum(t.budget.values()) for t in snapshot.route_tables), default=0)
        number = _SPARE * entries + 64
        spares = []
        for subnet in range(len(snapshot.subnets)):
            crew = view.crew.of_subnet(subnet)
            order = np.argsort(-view.capacity[crew], kind="stable")[:number]
            spares.append(tuple(crew[order].tolist()))
        return cls(
            view,
            snapshot,
            {},
            frozenset(),
            {},
            len(snapshot.nodes),
            Able(view, frozenset()),
            tuple(spares),
            tuple(view.crew.most.tolist()),
            tuple(view.crew.least.tolist()),
            frozenset(np.unique(view.home[view.role == Role.OWN]).tolist()),
            {subnet.id: index for index, subnet in enumerate(snapshot.subnets)},
        )

    def index(self, name: str) -> int:
        """The index of a node; raises KeyError if there is none of this name."""
        names = self.snapshot.node_columns.name
        index = self.names.get(name, -1)
        if index < 0:
            index = bisect_left(names, name)
            if index == len(names) or names[index] != name:
                raise KeyError(name)
        if index in self.gone:
            raise KeyError(name)
        return index

    def node(self, index: int) -> Node:
        """A node that is or was there."""
        return self.changed[index] if index in self.changed else self.snapshot.nodes[index]

    def interface(self, index: int) -> str:
        """The interface of a node that is or was there."""
        return self.node(index).interface

    def role(self, index: int) -> Role:
        """What a node may be the next hop of."""
        if index in self.gone:
            return Role.NOTHING
        if index not in self.changed:
            return Role(int(self.view.role[index]))
        node = self.changed[index]
        if not node.healthy:
            return Role.NOTHING
        return Role.FORWARD if node.forwards and not node.avoid else Role.OWN

    def capacity(self, index: int) -> float:
        """The capacity of a node."""
        if index in self.changed:
            return self.node(index).capacity
        return float(self.view.capacity[index])

    def home(self, index: int) -> int:
        """The subnet of a node, as its position in the snapshot."""
        if index in self.changed:
            return self.subnets[self.node(index).subnet]
        return int(self.view.home[index])

    def forwarders(self, subnet: int) -> Iterator[int]:
        """Forwarders of a subnet, those of the largest capacity first among the first ones."""
        for index in self.spares[subnet]:
            if self.role(index) is Role.FORWARD:
                yield index
        for index in self.changed:
            if self.home(index) == subnet and self.role(index) is Role.FORWARD:
                yield index

    def joined(self, node: Node) -> tuple[Roster, int]:
        """One more node, and its index; raises ValueError if its name is taken."""
        try:
            self.index(node.name)
        except KeyError:
            pass
        else:
            raise ValueError(f"node {node.name} is there already: it cannot join again")
        index = self.size
        roster = replace(
            self,
            changed={**self.changed, index: node},
            names={**self.names, node.name: index},
            size=index + 1,
            able=self.able.with_node(index) if node.healthy else self.able,
        )
        return roster.with_role_of(index), index

    def left(self, index: int) -> Roster:
        """One node less."""
        return replace(self, gone=self.gone | {index})

    def failed(self, index: int) -> Roster:
        """A node that is not healthy."""
        node = structs.replace(self.node(index), healthy=False)
        return replace(self, changed={**self.changed, index: node})

    def recovered(self, index: int) -> Roster:
        """A node that is healthy."""
        node = structs.replace(self.node(index), healthy=True)
        able = self.able.with_node(index)
        roster = replace(self, changed={**self.changed, index: node}, able=able)
        return roster.with_role_of(index)

    def with_role_of(self, index: int) -> Roster:
        """The same, its extremes of capacities and its keepers including this node's."""
        home, capacity = self.home(index), self.capacity(index)
        if self.role(index) is Role.OWN:
            return replace(self, keepers=self.keepers | {home})
        if self.role(index) is not Role.FORWARD:
            return self
        most, least = list(self.most), list(self.least)
        most[home], least[home] = max(most[home], capacity), min(least[home], capacity)
        return replace(self, most=tuple(most), least=tuple(least))
