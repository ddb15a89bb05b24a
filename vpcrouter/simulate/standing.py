"""How a cluster stands with what its tables hold: entries, loads, detours, what is not reached.

The same figures for our entries and for those of other ways to fill a table, counted alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ipam.prefix import Family
from vpcrouter.model import Snapshot
from vpcrouter.reachability import Ground, TableState


@dataclass(frozen=True, slots=True)
class Standing:
    """One settled moment in the figures by which ways to fill tables are compared.

    ``entries`` is what the fullest table holds in one family, ``max_load`` the largest load of a
    node in one table and family, ``combined_load`` the largest sum of a node's loads over tables
    and families. ``detour_share`` is the weight that reaches another node than its owner,
    ``unreachable_share`` the weight of healthy nodes' blocks that no healthy node gets from a
    table, each over the weight in all tables. ``changes`` is what it took to get here.
    """

    entries: int
    max_load: float
    combined_load: float
    detour_share: float
    unreachable_share: float
    changes: int


class Tally:
    """Adds up what the tables of one snapshot carry; whoever fills them says what goes where."""

    def __init__(self, cluster: Snapshot) -> None:
        self._nodes = cluster.nodes
        tables_of = {subnet.id: subnet.route_table for subnet in cluster.subnets}
        self._home = [tables_of[node.subnet] for node in cluster.nodes]
        self._own_weight = {table.id: table.own_subnet_weight for table in cluster.route_tables}
        self._carried: dict[tuple[str, Family, int], float] = {}
        self._entries = 0
        self._weight = self._detoured = self._missed = 0.0

    def hold(self, entries: int) -> None:
        """Count a table that holds so many entries in one family."""
        self._entries = max(self._entries, entries)

    def send(self, table: str, family: Family, hop: int | None, owner: int, weight: float) -> None:
        """Count that a table sends blocks of this weight to a node, or (None) nowhere."""
        if self._home[owner] == table:
            weight *= self._own_weight[table]
        self._weight += weight
        if hop is not None and hop != owner:
            self._detoured += weight
            key = table, family, hop
            self._carried[key] = self._carried.get(key, 0.0) + weight
        reached = hop is not None and self._nodes[hop].healthy
        if self._nodes[owner].healthy and not reached:
            self._missed += weight

    def standing(self, changes: int) -> Standing:
        """The figures."""
        loads = {key: w / self._nodes[key[2]].capacity for key, w in self._carried.items()}
        combined: dict[int, float] = {}
        for (_, _, node), load in loads.items():
            combined[node] = combined.get(node, 0.0) + load
        return Standing(
            entries=self._entries,
            max_load=max(loads.values(), default=0.0),
            combined_load=max(combined.values(), default=0.0),
            detour_share=self._detoured / self._weight if self._weight else 0.0,
            unreachable_share=self._missed / self._weight if self._weight else 0.0,
            changes=changes,
        )


def standing(cluster: Snapshot, ground: Ground, changes: int) -> Standing:
    """How a cluster stands with our entries, as packets meet them."""
    tally = Tally(cluster)
    for table in cluster.route_tables:
        state = TableState(table.entries, table.foreign)
        for family in Family:
            tally.hold(state.count(family))
            for hop, row, share in _caught(ground, state, family):
                columns = cluster.blocks[family]
                weight = columns.weight[row] * share
                tally.send(table.id, family, hop, columns.node[row], weight)
    return tally.standing(changes)


def _caught(
    ground: Ground, state: TableState, family: Family
) -> Iterator[tuple[int | None, int, float]]:
    """Every block with the node that gets it, by parts (1.0: the whole) where several do.

    A node of another subnet gets nothing: it would have to send it back to the router.
    """
    owners, destinations = ground.owners[family], state.destinations[family]
    for tree in ground.trees[family]:
        for span in destinations.spans(tree.prefix):
            hop = ground.node(destinations.hop(span))
            if hop is not None and ground.nodes[hop].subnet != tree.subnet:
                hop = None
            for row in owners.rows(span.first, span.last):
                first, last = owners.first(row), owners.last(row)
                part = min(span.last, last) - max(span.first, first) + 1
                yield hop, row, part / (last - first + 1)
