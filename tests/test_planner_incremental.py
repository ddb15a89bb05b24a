"""A plan that follows events is as good as one made afresh, and keeps what was promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.optimum.clusters import Make, clusters
from tests.strict_model import Vpc, blocks_of, strays, unserved_addresses
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.planner import plan
from vpcrouter.planner.incremental import (
    Changed,
    Event,
    Failed,
    Joined,
    Left,
    Planned,
    Recovered,
    Weighed,
)

ROUNDING = 1 + Fraction(1, 10**8)
EVENTS = 8

ORDERLY = Make(subnets=(1, 3), homes=(2, 8), deep=(1, 3), present=(False,))
ANY = Make(
    subnets=(1, 3),
    homes=(1, 6),
    idle=(0, 2),
    owners=("alone", "scattered"),
    crew=False,
    deep=(1, 3),
    capacity=("equal", "by subnet", "mixed"),
    peculiar=(0.0, 0.3),
)


@dataclass(frozen=True, slots=True)
class World:
    """What is there, told by the events and nothing else."""

    subnets: tuple[Subnet, ...]
    nodes: Mapping[str, Node]
    blocks: Mapping[Prefix, Block]
    tables: tuple[RouteTable, ...]

    @classmethod
    def of(cls, cluster: Snapshot) -> World:
        return cls(
            cluster.subnets,
            {node.name: node for node in cluster.nodes},
            {block.prefix: block for block in blocks_of(cluster)},
            cluster.route_tables,
        )

    def after(self, event: Event) -> World:
        match event:
            case Joined(node, blocks):
                more = {block.prefix: block for block in blocks}
                nodes = {**self.nodes, node.name: node}
                return replace(self, nodes=nodes, blocks={**self.blocks, **more})
            case Left(name):
                kept = {p: block for p, block in self.blocks.items() if block.node != name}
                nodes = {n: node for n, node in self.nodes.items() if n != name}
                return replace(self, nodes=nodes, blocks=kept)
            case Failed(name) | Recovered(name):
                node = structs.replace(self.nodes[name], healthy=isinstance(event, Recovered))
                return replace(self, nodes={**self.nodes, name: node})
            case Weighed(prefix, weight):
                block = structs.replace(self.blocks[prefix], weight=weight)
                return replace(self, blocks={**self.blocks, prefix: block})

    def holding(self, planned: Planned) -> Snapshot:
        """The snapshot, the tables holding what is planned."""
        tables = [replace(t, entries=planned.entries[t.id]) for t in self.tables]
        return snapshot(self.subnets, self.nodes.values(), self.blocks.values(), tables)


def any_event(world: World, random: Random, number: int) -> Event | None:
    """Something that may happen."""
    name = random.choice(sorted(world.nodes)) if world.nodes else ""
    match random.choice(["join", "join", "leave", "leave", "fail", "recover", "weigh"]):
        case "join":
            return _join(world, random, number)
        case "leave" if len(world.nodes) > 1:
            return Left(name)
        case "fail" if name:
            return Failed(name)
        case "recover" if name:
            return Recovered(name)
        case "weigh" if world.blocks:
            return Weighed(random.choice(sorted(world.blocks)), float(random.randint(0, 12)))
    return None


def _join(world: World, random: Random, number: int) -> Joined | None:
    subnet = random.choice(world.subnets)
    node = Node(f"new{number}", subnet.id, f"eni-new{number}", {}, random.choice([0.5, 1.0, 2.0]))
    found: list[Block] = []
    for _ in range(random.randint(1, 2)):
        around = random.choice(subnet.prefixes)
        length = min(around.family.width, around.length + random.randint(0, 5))
        shift = around.family.width - length
        value = around.value + (random.getrandbits(length - around.length) << shift)
        prefix = Prefix(around.family, value, length)
        taken = [*world.blocks, *(block.prefix for block in found)]
        if not any(prefix.overlaps(other) for other in taken):
            found.append(Block(prefix, node.name, float(random.randint(0, 9))))
    return Joined(node, tuple(found)) if found else None


def check(world: World, planned: Planned, slack: float) -> None:
    """The same, within the slack, as planning afresh."""
    cluster = world.holding(planned)
    empty = [replace(table, entries=()) for table in world.tables]
    fresh = plan(snapshot(cluster.subnets, cluster.nodes, blocks_of(cluster), empty))
    vpc = Vpc(cluster)
    for part in planned.parts:
        mine = next(table for table in fresh.tables if table.id == part.table.id)
        if any(each.family is part.family for each in mine.unserved):
            assert planned.stale or not part.pieces
            continue
        proof = mine.proof.get(part.family)
        if proof is not None:
            assert part.carried.bound <= proof.least_load * ROUNDING, "the bound is too high"
        if planned.stale:
            continue
        for subnet in cluster.subnets:
            assert not unserved_addresses(vpc, part.table.id, subnet.id, part.family), "R1"
        assert not strays(vpc, part.table.id), "R2"
        assert len(part.pieces) <= part.budget, "R6"
        loads = [each for (f, _), each in vpc.loads(part.table.id).items() if f is part.family]
        largest = max(loads, default=Fraction(0))
        assert abs(float(largest) - part.max_load) <= 1e-8 * (1 + part.max_load)
        assert largest <= Fraction(part.carried.least) * Fraction(1 + slack) * ROUNDING
        at_bound = part.carried.least <= part.carried.bound * float(ROUNDING)
        if at_bound and proof is not None:
            least = Fraction(proof.least_load)
            assert largest <= least * Fraction(1 + slack) * ROUNDING**2, "above the slack"


@pytest.mark.parametrize("make", [ORDERLY, ANY], ids=["orderly", "any"])
@settings(max_examples=examples(test=20, prove=500))
@given(data=st.data(), slack=st.sampled_from([0.0, 0.05, 0.5]), seed=st.integers(0, 2**32))
def test_whatever_happens_it_is_as_good_as_planned_afresh(
    data: st.DataObject, slack: float, seed: int, make: Make
) -> None:
    random = Random(seed)
    cluster = data.draw(clusters(make))
    world, planned = World.of(cluster), Planned.of(cluster, slack)
    for number in range(EVENTS):
        event = any_event(world, random, number)
        if event is None:
            continue
        before = planned.entries
        world, (planned, changed) = world.after(event), planned.after(event)
        told = changed_by(before, changed)
        assert told == {table: set(entries) for table, entries in planned.entries.items()}
        check(world, planned, slack)
        if planned.stale:
            planned = Planned.of(world.holding(planned), slack)


def changed_by(
    entries: Mapping[str, tuple[Entry, ...]], changed: Sequence[Changed]
) -> dict[str, set[Entry]]:
    """The entries of each table once these changes are made."""
    found = {table: {e.destination: e.interface for e in held} for table, held in entries.items()}
    for change in changed:
        held = found[change.table]
        assert held.get(change.destination) == change.before
        if change.interface is None:
            del held[change.destination]
        else:
            held[change.destination] = change.interface
    return {table: {Entry(d, i) for d, i in held.items()} for table, held in found.items()}


def _one_subnet(budget: int, *weights: float) -> Snapshot:
    """A subnet whose nodes own a block each, with these weights."""
    limits = {Family.IPV4: budget}
    numbers = range(len(weights))
    return snapshot(
        [Subnet("s", "a", "t", (Prefix.parse("10.0.0.0/24"),))],
        [Node(f"n{i}", "s", f"eni-{i}", {}) for i in numbers],
        [Block(Prefix.parse(f"10.0.0.{8 * i}/29"), f"n{i}", weights[i]) for i in numbers],
        [RouteTable("t", limits, limits)],
    )


def test_a_forwarder_that_leaves_changes_only_its_own_entries() -> None:
    planned = Planned.of(_one_subnet(4, *range(1, 17)), 0.05)
    for entry in planned.entries["t"]:
        _, changed = planned.after(Left(f"n{entry.interface.removeprefix('eni-')}"))
        assert {change.before for change in changed} == {entry.interface}


def test_while_entries_are_left_a_node_gets_one_of_its_own() -> None:
    planned = Planned.of(_one_subnet(8, 1, 1, 1), 0.05)
    block = Block(Prefix.parse("10.0.0.24/29"), "late", 5.0)
    planned, changed = planned.after(Joined(Node("late", "s", "eni-late", {}), (block,)))
    assert [change.interface for change in changed] == ["eni-late"]
    assert planned.parts[0].max_load == 0
    assert not planned.stale


@pytest.mark.parametrize("event", [Failed, Left])
def test_nothing_is_known_once_only_those_to_avoid_are_left(
    event: Callable[[str], Event],
) -> None:
    limits = {Family.IPV4: 1}
    nodes = [
        Node("better", "s", "eni-better", {}),
        Node("avoided", "s", "eni-avoided", {}, capacity=8.0, avoid=True),
        Node("owner", "s", "eni-owner", {}, forwards=False),
    ]
    blocks = [
        Block(Prefix.parse("10.0.0.0/28"), "avoided", 1.0),
        Block(Prefix.parse("10.0.0.64/28"), "owner", 1.0),
    ]
    subnet = Subnet("s", "a", "t", (Prefix.parse("10.0.0.0/24"),))
    cluster = snapshot([subnet], nodes, blocks, [RouteTable("t", limits, limits)])
    world, planned = World.of(cluster), Planned.of(cluster, 0.0)
    assert planned.parts[0].carried.bound > 1.9
    planned, _ = planned.after(event("better"))
    check(world.after(event("better")), planned, 0.0)
    assert planned.stale


def test_who_is_not_there_is_named() -> None:
    planned = Planned.of(_one_subnet(4, 1, 1, 1), 0.05)
    with pytest.raises(KeyError, match="nobody"):
        planned.after(Failed("nobody"))
    with pytest.raises(KeyError, match=r"10\.0\.9\.0/24"):
        planned.after(Weighed(Prefix.parse("10.0.9.0/24"), 1.0))
    with pytest.raises(ValueError, match="n1 is there already"):
        planned.after(Joined(Node("n1", "s", "eni-9", {}), ()))
    far = Block(Prefix.parse("10.9.0.0/29"), "far", 1.0)
    with pytest.raises(ValueError, match=r"10\.9\.0\.0/29 is outside"):
        planned.after(Joined(Node("far", "s", "eni-far", {}), (far,)))
