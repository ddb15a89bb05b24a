"""Which promises a table breaks as it stands: reachable (R1), confined (R2), within its limit (R6).

What may forward is judged as a plan must see it; a node to avoid that forwards although its subnet
has somebody better breaks no promise of reachability and is named under its own rule.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix, format_address, merge
from vpcrouter.model import Entry, Role, RouteTable, Snapshot, Unserved
from vpcrouter.reachability.ground import Ground, Tree, physical_roles
from vpcrouter.reachability.matching import Span, TableState

AVOID = "avoid"


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that a table breaks; ``destination`` is what it is about, where there is one."""

    rule: str
    table: str
    destination: Prefix | None
    text: str

    def __str__(self) -> str:
        about = "" if self.destination is None else f" {self.destination}"
        return f"{self.rule} {self.table}{about}: {self.text}"


def violations(
    snapshot: Snapshot,
    table: RouteTable,
    entries: Sequence[Entry],
    unserved: Sequence[Unserved],
) -> tuple[Violation, ...]:
    """What is wrong if the table holds these entries; exact, and empty if every promise holds.

    Subnets that the table cannot serve in a family owe nothing there, nor do the entries that are
    kept for them. The count is compared with the table's limit (see ``over_budget`` for plans).
    """
    check = _Check(snapshot, table, entries, unserved)
    found = [
        *overlapping_subnets(snapshot, table.id),
        *check.confined(),
        *check.reached(),
        *_beyond(table, entries, table.limit, "limit"),
    ]
    return tuple({(v.rule, v.destination): v for v in reversed(found)}.values())[::-1]


def over_budget(table: RouteTable, entries: Sequence[Entry]) -> tuple[Violation, ...]:
    """Where a plan with these entries takes more of the table than it may (R6)."""
    return tuple(_beyond(table, entries, table.budget, "budget"))


def overlapping_subnets(snapshot: Snapshot, table: str) -> Iterator[Violation]:
    """Prefixes that two subnets claim, which confines nothing (R2)."""
    claims = _claims(snapshot)
    for family in Family:
        for (left, one), (right, other) in zip(claims[family], claims[family][1:], strict=False):
            if left.overlaps(right):
                yield Violation("R2", table, right, f"it is claimed by subnets {one} and {other}")


class _Check:
    """One table with one set of entries, looked at from every side."""

    def __init__(
        self,
        snapshot: Snapshot,
        table: RouteTable,
        entries: Sequence[Entry],
        unserved: Sequence[Unserved],
    ) -> None:
        self._table = table
        self._entries = entries
        self._ground = Ground.planned(snapshot)
        self._physical = physical_roles(snapshot.nodes)
        self._unserved = {(each.subnet, each.family) for each in unserved}
        self._claims = _claims(snapshot)
        self._claim_starts = {f: [p.value for p, _ in self._claims[f]] for f in Family}

    def confined(self) -> Iterator[Violation]:
        """Entries that no subnet confines, or whose next hop is no node that could be one."""
        for entry in self._entries:
            subnet = self._subnet_around(entry.destination)
            if (subnet, entry.destination.family) in self._unserved or self._is_kept(entry):
                continue
            node = self._ground.node(entry.interface)
            if node is None:
                yield self._broken("R2", entry.destination, f"{entry.interface} is no node's")
            elif subnet is None:
                yield self._broken("R2", entry.destination, "it lies inside no subnet's prefixes")
            elif self._ground.nodes[node].subnet != subnet:
                name = self._ground.nodes[node].name
                text = f"it lies in subnet {subnet}, its next hop {name} does not"
                yield self._broken("R2", entry.destination, text)
            elif not self._ground.nodes[node].healthy:
                yield self._broken("R1", entry.destination, self._unhealthy(node))

    def reached(self) -> Iterator[Violation]:
        """Addresses of trees that nothing serves; one of each kind for each entry."""
        state = TableState(self._entries, self._table.foreign)
        for family in Family:
            for tree in self._ground.trees[family]:
                if (tree.subnet, family) in self._unserved:
                    continue
                for span in state.destinations[family].spans(tree.prefix):
                    yield from self._span(tree, span, state.destinations[family].hop(span))

    def _span(self, tree: Tree, span: Span, interface: str | None) -> Iterator[Violation]:
        family = tree.prefix.family
        if interface is None:
            where = f"from {format_address(family, span.first)} on, in subnet {tree.subnet}"
            if span.destination is None:
                yield self._broken("R1", tree.prefix, f"no entry catches addresses {where}")
            else:
                yield self._broken("R1", span.destination, f"a foreign entry is in the way {where}")
            return
        node = self._ground.node(interface)
        role = self._ground.role(node, tree.subnet)
        if node is None:
            yield self._broken("R1", span.destination, f"{interface} is no node's")
        elif self._ground.nodes[node].subnet != tree.subnet:
            name = self._ground.nodes[node].name
            text = f"it catches addresses of subnet {tree.subnet}, where {name} is not"
            yield self._broken("R1", span.destination, text)
        elif role is Role.NOTHING:
            yield self._broken("R1", span.destination, self._unhealthy(node))
        elif role is Role.OWN:
            yield from self._not_its_own(span, family, node)

    def _not_its_own(self, span: Span, family: Family, node: int) -> Iterator[Violation]:
        owners = self._ground.owners[family]
        rows = owners.rows(span.first, span.last)
        row = owners.first_foreign(rows, node)
        if row is None:
            return
        owner, name = self._ground.nodes[owners.owner(row)].name, self._ground.nodes[node].name
        first = format_address(family, owners.first(row))
        if self._physical[node] is Role.FORWARD:
            text = f"{name} is to be avoided and gets the block of {owner} at {first}"
            yield self._broken(AVOID, span.destination, text)
        else:
            text = f"{name} does not forward and gets the block of {owner} at {first}"
            yield self._broken("R1", span.destination, text)

    def _is_kept(self, entry: Entry) -> bool:
        """Whether it overlaps a tree of an unserved subnet and leads to a healthy node there."""
        family = entry.destination.family
        node = self._ground.node(entry.interface)
        over = self._ground.trees_over(family, entry.destination.value, entry.destination.last)
        return any(
            (tree.subnet, family) in self._unserved
            and self._ground.role(node, tree.subnet) is not Role.NOTHING
            for tree, _, _ in over
        )

    def _subnet_around(self, prefix: Prefix) -> str | None:
        claims = self._claims[prefix.family]
        index = bisect_right(self._claim_starts[prefix.family], prefix.value) - 1
        inside = index >= 0 and claims[index][0].contains(prefix)
        return claims[index][1] if inside else None

    def _unhealthy(self, node: int) -> str:
        return f"its next hop {self._ground.nodes[node].name} is not healthy"

    def _broken(self, rule: str, destination: Prefix | None, text: str) -> Violation:
        return Violation(rule, self._table.id, destination, text)


def _beyond(
    table: RouteTable, entries: Sequence[Entry], most: Mapping[Family, int], name: str
) -> Iterator[Violation]:
    for family in Family:
        count = sum(entry.destination.family is family for entry in entries)
        if count > most.get(family, 0):
            text = f"{count} {family} entries are more than its {name} of {most.get(family, 0)}"
            yield Violation("R6", table.id, None, text)


def _claims(snapshot: Snapshot) -> dict[Family, list[tuple[Prefix, str]]]:
    """The merged prefixes of all subnets with whose they are, in order."""
    found: dict[Family, list[tuple[Prefix, str]]] = {family: [] for family in Family}
    for subnet in snapshot.subnets:
        for prefix in merge(subnet.prefixes):
            found[prefix.family].append((prefix, subnet.id))
    return {family: sorted(claims) for family, claims in found.items()}
