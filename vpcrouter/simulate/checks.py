"""Does a simulated cluster keep its promises: after every step, and once it has settled?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import isclose

from ipam.prefix import Family, Prefix, merge
from vpcrouter.model import Action, Plan, ProofStatus, RouteTable, Snapshot, Step, Subnet, TablePlan
from vpcrouter.reachability import (
    Ground,
    TableState,
    Violation,
    check_step,
    contradiction,
    violations,
)

_ROUNDING = 1e-9  # relative: sums of weights are not exact


class StepChecks:
    """Makes the steps of one table, as strictly as the cloud, and says what each one breaks."""

    def __init__(self, ground: Ground, claims: Claims, table: RouteTable) -> None:
        self._ground = ground
        self._claims = claims
        self._table = table
        self._state = TableState(table.entries, table.foreign)

    def make(self, step: Step) -> Iterator[Violation]:
        """Make a step and name what it breaks of R2, R3, R6 and R7.

        A step that cannot be made is left out and named: the next plan would need it again.
        """
        family = step.destination.family
        full = self._state.count(family) >= self._table.limit.get(family, 0)
        problem = contradiction(self._state, self._table.limit, step)
        if problem is not None:
            rule = "R6" if step.action is Action.CREATE and full else "R7"
            yield self._broken(rule, step, f"{step.action} cannot be made: {problem}")
            return
        fall = check_step(self._ground, self._state, step)
        if fall is not None:
            yield self._broken("R7", step, str(fall))
        self._state.apply(step)
        if step.interface is not None:
            yield from self._confined(step, step.interface)

    def table(self) -> RouteTable:
        """The table as it is now."""
        return replace(self._table, entries=self._state.entries())

    def _confined(self, step: Step, interface: str) -> Iterator[Violation]:
        """R2: inside one subnet, by a next hop there. R3: nothing that is to go back to the router.

        A node refuses what is neither its own nor its subnet's, by split horizon; R3 is broken
        here by an entry that would make a loop if it did not. An entry that was found where no
        subnet confines it may change its next hop on its way out.
        """
        destination = step.destination
        node = self._ground.node(interface)
        home = None if node is None else self._ground.nodes[node].subnet
        claims = self._claims.over(destination)
        around = {subnet for prefix, subnet in claims if prefix.contains(destination)}
        if step.action is Action.REPLACE and not around:
            return
        if home not in around:
            where = "no subnet" if home is None else f"subnet {home}"
            text = f"{interface} is in {where}, whose prefixes do not contain the destination"
            yield self._broken("R2", step, text)
        for _, subnet in claims:
            if home not in (None, subnet):
                text = f"{interface} in subnet {home} gets what is subnet {subnet}'s"
                yield self._broken("R3", step, text)

    def _broken(self, rule: str, step: Step, text: str) -> Violation:
        return Violation(rule, self._table.id, step.destination, text)


class Claims:
    """Which addresses are whose: the merged prefixes of all subnets."""

    def __init__(self, subnets: Sequence[Subnet]) -> None:
        claims = [(prefix, s.id) for s in subnets for prefix in merge(s.prefixes)]
        self._claims = sorted(claims)
        self._prefixes = [prefix for prefix, _ in self._claims]

    def over(self, prefix: Prefix) -> list[tuple[Prefix, str]]:
        """The prefixes that share addresses with this one, and whose they are."""
        first = bisect_left(self._prefixes, prefix)
        last = bisect_right(self._prefixes, Prefix(prefix.family, prefix.last, prefix.family.width))
        return [
            claim for claim in self._claims[max(0, first - 1) : last] if claim[0].overlaps(prefix)
        ]


def settled_violations(
    snapshot: Snapshot, plan: Plan, least: Plan, slack: float
) -> tuple[Violation, ...]:
    """What the tables of a settled snapshot break: R1, R4 and R5 (R2 and R6 as they stand).

    ``plan`` is the one that they were settled with, ``least`` one from nothing with slack 0.
    Without any node nothing is planned, and what there is stays: an empty input removes nothing.
    """
    if not snapshot.nodes:
        return ()
    ground = Ground.physical(snapshot)
    found: list[Violation] = []
    for table, settled, fresh in zip(snapshot.route_tables, plan.tables, least.tables, strict=True):
        found += violations(snapshot, table, table.entries, settled.unserved)
        for family in Family:
            unserved = {each.subnet for each in settled.unserved if each.family is family}
            load = _largest_load(ground, table, family, unserved)
            found += _too_much(family, load, settled, fresh, slack)
    return tuple(found)


def _largest_load(
    ground: Ground, table: RouteTable, family: Family, unserved: Collection[str]
) -> float:
    """The largest load that a table causes, but for subnets that it cannot serve."""
    own = {s.id for s in ground.snapshot.subnets if s.route_table == table.id}
    destinations = TableState(table.entries, table.foreign).destinations[family]
    columns = ground.snapshot.blocks[family]
    weights: dict[int, float] = {}
    for tree in ground.trees[family]:
        if tree.subnet in unserved:
            continue
        factor = table.own_subnet_weight if tree.subnet in own else 1.0
        for span in destinations.spans(tree.prefix):
            node = ground.node(destinations.hop(span))
            if node is not None:
                rows = ground.owners[family].rows(span.first, span.last)
                others = sum(columns.weight[row] for row in rows if columns.node[row] != node)
                weights[node] = weights.get(node, 0.0) + others * factor
    nodes = ground.nodes
    return max((weight / nodes[node].capacity for node, weight in weights.items()), default=0.0)


def _too_much(
    family: Family, load: float, settled: TablePlan, fresh: TablePlan, slack: float
) -> Iterator[Violation]:
    """R4 and R5 of one table and family that carries this largest load."""
    proof, anew = settled.proof.get(family), fresh.proof.get(family)
    if proof is None or anew is None:
        return
    if load > proof.least_load * (1 + slack) * (1 + _ROUNDING):
        rule = "R4" if proof.least_load == 0 else "R5"
        text = f"its largest {family} load is {load:g}, the least possible is {proof.least_load:g}"
        yield Violation(rule, settled.id, None, text)
    all_served = not any(u.family is family for u in (*settled.unserved, *fresh.unserved))
    proven = proof.status is anew.status is ProofStatus.OPTIMAL
    least = anew.least_load
    if all_served and proven and not isclose(proof.least_load, least, rel_tol=_ROUNDING):
        text = f"its least {family} load is said to be {proof.least_load:g}, from nothing {least:g}"
        yield Violation("R5", settled.id, None, text)
