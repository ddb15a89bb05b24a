"""The promises R1 to R7 as assertions on the strict model, for plans of whole snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

from ipam.prefix import Family, Prefix
from tests.strict_model import (
    Vpc,
    fewest_direct_entries,
    joined,
    strays,
    unserved_addresses,
)
from vpcrouter.model import Entry, Plan, PlannedEntry, ProofStatus, Snapshot, Step, TablePlan
from vpcrouter.transition import transition

ROUNDING = 1e-9


def apply(cluster: Snapshot, plan: Plan) -> Vpc:
    """Make all steps of a plan on the strict model; no step may break R2, R3, R6 or R7."""
    vpc = Vpc(cluster)
    for table in plan.tables:
        apply_steps(vpc, table.id, table.steps)
    return vpc


def apply_steps(vpc: Vpc, table: str, steps: Sequence[Step]) -> None:
    """Make steps on one table; raises RefusedError where the cloud would refuse one."""
    watched = vpc.watched(*(step.destination for step in steps))
    levels = vpc.levels(table, watched)
    stray = _stray_destinations(vpc, table)
    for number, step in enumerate(steps):
        count = vpc.count(table, step.destination.family)
        vpc.do(table, step)
        after = vpc.levels(table, watched)
        worse = zip(watched, levels, after, strict=True)
        fallen = [(str(f), hex(address)) for (f, address), old, new in worse if new < old]
        assert not fallen, f"R7 at step {number}: {step} lowers {fallen}"
        strays_now = _stray_destinations(vpc, table)
        assert strays_now <= stray, f"R2 at step {number}: {step}"
        now = vpc.count(table, step.destination.family)
        within = now <= vpc.limit(table, step.destination.family)
        assert within or now <= count, f"R6 at step {number}: {step}"
        levels, stray = after, strays_now


def _stray_destinations(vpc: Vpc, table: str) -> set[str]:
    return {text.split()[0] for text in strays(vpc, table)}


def settled(cluster: Snapshot, vpc: Vpc) -> Snapshot:
    """The snapshot with what the tables hold now."""
    return replace(
        cluster,
        route_tables=tuple(
            replace(
                table, entries=tuple(Entry(d, i) for d, i in sorted(vpc.ours(table.id).items()))
            )
            for table in cluster.route_tables
        ),
    )


def check_settled(cluster: Snapshot, vpc: Vpc, plan: Plan, slack: float) -> None:
    """R1, R2, R4, R5 and R6 of tables that were settled with this plan.

    Where there are no nodes, nothing is planned: all stays as it is.
    """
    if not cluster.nodes:
        assert not any(table.steps for table in plan.tables)
        return
    for table, mine in zip(cluster.route_tables, plan.tables, strict=True):
        unserved = {(each.subnet, each.family) for each in mine.unserved}
        planned = {entry.destination: entry.interface for entry in mine.entries}
        if vpc.ours(table.id) != planned:
            wanted = [Entry(entry.destination, entry.interface) for entry in mine.entries]
            now = next(t for t in settled(cluster, vpc).route_tables if t.id == table.id)
            assert transition(cluster, now, wanted).blocked, "the steps lead elsewhere"
            continue  # no hitless way there: said by `transition`, tested there
        for family in Family:
            _check_who_is_unserved(vpc, mine, family)
        for subnet in cluster.subnets:
            for family in Family:
                if (subnet.id, family) not in unserved:
                    assert not unserved_addresses(vpc, table.id, subnet.id, family), "R1"
        kept = {e.destination for e in mine.entries if _is_kept(vpc, e, unserved)}
        assert _stray_destinations(vpc, table.id) <= {str(each) for each in kept}, "R2"
        for family in Family:
            count = sum(destination.family is family for destination in planned)
            new = any(d.family is family and d not in kept for d in planned)
            assert count <= table.budget.get(family, 0) or not new, "R6"
            _check_loads(cluster, vpc, mine, family, slack)


def _check_who_is_unserved(vpc: Vpc, mine: TablePlan, family: Family) -> None:
    """R1: as few blocks as possible go without, by trying every choice of subnets."""
    before = Vpc(vpc.snapshot)
    table = next(t for t in vpc.snapshot.route_tables if t.id == mine.id)
    needs, keeps, sizes = {}, {}, {}
    for subnet in vpc.snapshot.subnets:
        trees = [tree for tree in vpc.trees[subnet.id] if tree.family is family]
        if trees:
            needs[subnet.id] = _entries_needed(before, mine.id, subnet.id, trees)
            keeps[subnet.id] = sum(
                _stays_for(before, destination, interface, subnet.id)
                for destination, interface in before.ours(mine.id).items()
                if destination.family is family
            )
            sizes[subnet.id] = sum(any(t.contains(b.prefix) for t in trees) for b in vpc.blocks)
    best = -1
    for choice in product([False, True], repeat=len(needs)):
        served = {subnet for subnet, chosen in zip(needs, choice, strict=True) if chosen}
        wanted = [needs[subnet] for subnet in served]
        count = sum(keeps[subnet] for subnet in needs if subnet not in served)
        count += sum(need for need in wanted if need is not None)
        if None not in wanted and (not served or count <= table.budget.get(family, 0)):
            best = max(best, sum(sizes[subnet] for subnet in served))
    without = {each.subnet for each in mine.unserved if each.family is family}
    assert without <= needs.keys(), "unserved, but nothing is there"
    assert sum(sizes[s] for s in needs if s not in without) == best, "more could be served"


def _entries_needed(vpc: Vpc, table: str, subnet: str, trees: Sequence[Prefix]) -> int | None:
    """With how few entries a table can serve a subnet; None: it cannot."""
    foreign = next(t for t in vpc.snapshot.route_tables if t.id == table).foreign
    nodes = [node for node in vpc.snapshot.nodes if node.subnet == subnet and node.healthy]
    if any(tree.contains(prefix) for tree in trees for prefix in foreign) or not nodes:
        return None
    if any(node.forwards for node in nodes):
        return len(trees)
    return fewest_direct_entries(vpc, table, subnet, trees[0].family)


def _stays_for(vpc: Vpc, destination: Prefix, interface: str, subnet: str) -> bool:
    """Whether an entry stays, whatever it is, while a table cannot serve this subnet."""
    prefixes = next(s.prefixes for s in vpc.snapshot.subnets if s.id == subnet)
    if any(prefix.contains(destination) for prefix in joined(prefixes)):
        return True
    healthy = {n.interface for n in vpc.snapshot.nodes if n.subnet == subnet and n.healthy}
    over = any(tree.overlaps(destination) for tree in vpc.trees[subnet])
    return over and interface in healthy


def _is_kept(vpc: Vpc, entry: PlannedEntry, unserved: set[tuple[str, Family]]) -> bool:
    """Whether an entry stays, whatever it is, for a subnet that the table cannot serve."""
    destination = entry.destination
    return any(
        family is destination.family and _stays_for(vpc, destination, entry.interface, subnet)
        for subnet, family in unserved
    )


def _check_loads(
    cluster: Snapshot, vpc: Vpc, mine: TablePlan, family: Family, slack: float
) -> None:
    """R4 and R5, where every subnet is served; and that the plan's loads are those of packets."""
    if any(each.family is family for each in mine.unserved) or family not in mine.proof:
        return
    loads = {name: load for (f, name), load in vpc.loads(mine.id).items() if f is family}
    largest = max(loads.values(), default=Fraction(0))
    proof = mine.proof[family]
    assert proof.lower_bound <= proof.least_load * (1 + ROUNDING)
    if proof.status is ProofStatus.OPTIMAL:
        assert abs(proof.lower_bound - proof.least_load) <= ROUNDING * (1 + proof.least_load)
    assert float(largest) <= proof.least_load * (1 + slack) * (1 + ROUNDING) + 1e-12, "R5"
    claimed: dict[str, float] = {}
    for entry in mine.entries:
        if entry.destination.family is family and entry.node is not None:
            claimed[entry.node] = claimed.get(entry.node, 0.0) + entry.load
    for name in claimed | loads:
        said, is_ = claimed.get(name, 0.0), float(loads.get(name, Fraction(0)))
        assert abs(said - is_) <= ROUNDING * (1 + is_), f"the load of {name}: {said}, but {is_}"
    direct = [fewest_direct_entries(vpc, mine.id, subnet.id, family) for subnet in cluster.subnets]
    budget = next(t for t in cluster.route_tables if t.id == mine.id).budget.get(family, 0)
    known = [count for count in direct if count is not None]
    if len(known) == len(direct) and sum(known) <= budget:
        assert largest == 0, "R4"
