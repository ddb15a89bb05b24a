"""The loads of nodes while a table changes, and an order of replaces that keeps them low."""

from __future__ import annotations

from collections import defaultdict
from heapq import heapify, heappop, heappush

from ipam.prefix import Prefix
from vpcrouter.transition.change import Change


class Loads:
    """The load of each node in one table and family, as its entries are now.

    ``peak`` is the largest that any node has had so far.
    """

    def __init__(self, change: Change) -> None:
        self._change = change
        self._ground = change.ground
        self._loads: dict[int, float] = {}
        self._factors = {
            subnet.id: change.table.own_subnet_weight
            for subnet in change.ground.snapshot.subnets
            if subnet.route_table == change.table.id
        }
        self.peak = 0.0
        for destination in change.destinations:
            node = self._ground.node(change.hop(destination))
            self.add(node, self.of_piece(destination, node))

    def of(self, node: int | None) -> float:
        """The load of a node; 0 for none."""
        return 0.0 if node is None else self._loads.get(node, 0.0)

    def add(self, node: int | None, load: float) -> None:
        """A node gets (or with less than 0, loses) a load."""
        if node is not None:
            self._loads[node] = self._loads.get(node, 0.0) + load
            self.peak = max(self.peak, self._loads[node])

    def of_piece(self, destination: Prefix, node: int | None) -> float:
        """What the piece of this destination puts on a node, or would."""
        if node is None:
            return 0.0
        family, owners = self._change.family, self._ground.owners[self._change.family]
        weight = 0.0
        for piece in self._change.destinations.piece(destination):
            for tree, first, last in self._ground.trees_over(family, *piece):
                rows = owners.rows(first, last)
                others = owners.weight(rows) - owners.weight_owned(rows, node)
                weight += others * self._factors.get(tree.subnet, 1.0)
        return weight / self._ground.nodes[node].capacity


def replaces_in_order(change: Change) -> list[Prefix]:
    """All replaces, each time the one after which its new node has the least load.

    A node that both gives and takes so gives first, where there is a choice.
    """
    loads, ground = Loads(change), change.ground
    moves: dict[Prefix, tuple[int | None, float, int | None, float]] = {}
    by_taker: defaultdict[int | None, list[Prefix]] = defaultdict(list)
    for destination in change.replaces:
        giver = ground.node(change.hop(destination))
        taker = ground.node(change.target[destination])
        relief, burden = (loads.of_piece(destination, node) for node in (giver, taker))
        moves[destination] = giver, relief, taker, burden
        by_taker[taker].append(destination)

    def after(destination: Prefix) -> tuple[float, Prefix]:
        _, _, taker, burden = moves[destination]
        return loads.of(taker) + burden, destination

    queue = [after(destination) for destination in moves]
    heapify(queue)
    order: list[Prefix] = []
    while queue:
        load, destination = heappop(queue)
        if destination not in moves:
            continue
        if after(destination)[0] > load:
            heappush(queue, after(destination))
            continue
        giver, relief, taker, burden = moves.pop(destination)
        loads.add(giver, -relief)
        loads.add(taker, burden)
        order.append(destination)
        for lighter in by_taker[giver]:
            if lighter in moves:
                heappush(queue, after(lighter))
    return order
