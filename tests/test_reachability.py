"""Reachability agrees, for every address, with a model that tries them one by one."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.prefix import Family, Prefix, parse_address
from tests.counts import examples
from tests.snapshots import ANY, snapshots
from tests.tables import held, random_target, tiny, world_of
from vpcrouter.model import (
    Action,
    Block,
    Entry,
    Node,
    Role,
    RouteTable,
    Snapshot,
    Step,
    Subnet,
    Unserved,
    roles,
    snapshot,
)
from vpcrouter.reachability import (
    Ground,
    Level,
    TableState,
    check_step,
    contradiction,
    levels,
    lookup,
    lowered,
    over_budget,
    violations,
)

COUNT = settings(max_examples=examples(test=150, prove=10_000))


def table_of(snap: Snapshot, seed: int) -> tuple[RouteTable, list[Entry], Random]:
    """A table of the snapshot with a target for it, and the randomness that chose them."""
    random = Random(seed)
    table = random.choice(snap.route_tables)
    return table, random_target(random, snap, table), random


@COUNT
@given(snapshots(ANY), st.integers(0, 2**32))
def test_levels_are_those_of_every_single_address(snap: Snapshot, seed: int) -> None:
    snap = tiny(snap)
    table, target, random = table_of(snap, seed)
    for entries in (table.entries, target):
        world = world_of(snap, table, target)
        found = list(levels(snap, table, entries))
        for family, value in random.sample(sorted(world.addresses), min(40, len(world.addresses))):
            level = world.level(held(entries), (family, value))
            reach = [r for r in found if r.family is family and r.first <= value <= r.last]
            assert [r.level for r in reach] == [level]
            assert reach[0].subnet == world.addresses[family, value][0]
        sizes = sum(tree.size for tree, _ in world.trees)
        assert sum(reach.last - reach.first + 1 for reach in found) == sizes


@COUNT
@given(snapshots(ANY), st.integers(0, 2**32))
def test_a_fall_between_two_tables_is_found_where_it_begins(snap: Snapshot, seed: int) -> None:
    snap = tiny(snap)
    table, target, _ = table_of(snap, seed)
    world = world_of(snap, table, target)
    before, after = world.levels(held(table.entries)), world.levels(held(target))
    fallen = [address for address in sorted(before) if after[address] < before[address]]
    fall = lowered(snap, table, table.entries, target)
    assert (fall is None) == (not fallen)
    if fall is not None:
        assert (fall.family, fall.first) == fallen[0]
        for value in range(fall.first, fall.last + 1):
            assert before[fall.family, value] == fall.before
            assert after[fall.family, value] == fall.after
        assert str(fall)


@COUNT
@given(snapshots(ANY), st.integers(0, 2**32))
def test_a_step_is_refused_exactly_if_it_lowers_an_address(snap: Snapshot, seed: int) -> None:
    snap = tiny(snap)
    table, target, random = table_of(snap, seed)
    world = world_of(snap, table, target)
    ground, state = Ground.physical(snap), TableState(table.entries, table.foreign)
    for step in some_steps(random, snap, table, target):
        entries = state.entries()
        before = world.levels(held(entries))
        fall = check_step(ground, state, step)
        state.apply(step)
        after = world.levels(held(state.entries()))
        fallen = [address for address in sorted(before) if after[address] < before[address]]
        assert (fall is None) == (not fallen)
        if fall is not None:
            assert (fall.family, fall.first) == fallen[0]
            assert (fall.before, fall.after) == (before[fallen[0]], after[fallen[0]])
            assert all((fall.family, v) in fallen for v in range(fall.first, fall.last + 1))


def some_steps(
    random: Random, snap: Snapshot, table: RouteTable, target: list[Entry]
) -> list[Step]:
    """Steps in any order, good and bad."""
    held_now = held(table.entries)
    wanted = [e for e in target if e.destination not in table.foreign]
    interfaces = [node.interface for node in snap.nodes] + ["eni-gone"]
    steps = []
    for _ in range(8):
        present = list(held_now)
        if wanted and random.random() < 0.5:
            entry = random.choice(wanted)
            destination, interface = entry.destination, entry.interface
        elif present:
            destination, interface = random.choice(present), random.choice(interfaces)
        else:
            continue
        previous = held_now.pop(destination, None)
        if previous is not None and random.random() < 0.5:
            steps.append(Step(Action.DELETE, destination, None, previous, ""))
            continue
        held_now[destination] = interface
        action = Action.CREATE if previous is None else Action.REPLACE
        steps.append(Step(action, destination, interface, previous, ""))
    return steps


@COUNT
@given(snapshots(ANY), st.integers(0, 2**32))
def test_violations_are_those_of_every_single_address(snap: Snapshot, seed: int) -> None:
    snap = tiny(snap)
    table, target, _ = table_of(snap, seed)
    role = dict(zip((node.name for node in snap.nodes), roles(snap.nodes), strict=True))
    for entries in (table.entries, tuple(target)):
        world = world_of(snap, table, target)
        found = violations(snap, table, entries, ())
        bad = {address for address, level in world.levels(held(entries)).items() if level < 2}
        assert bool(bad) <= any(v.rule == "R1" for v in found)
        if not bad:
            foreign_to_ours = [
                v for v in found if v.rule == "R1" and "is not healthy" not in v.text
            ]
            assert not foreign_to_ours
        planned = [
            structs.replace(node, forwards=role[node.name] is Role.FORWARD) for node in snap.nodes
        ]
        strict = world_of(replace(snap, nodes=tuple(planned)), table, target)
        shy = {address for address, level in strict.levels(held(entries)).items() if level < 2}
        assert bool(shy - bad) == any(v.rule == "avoid" for v in found)
        over = any(
            sum(e.destination.family is f for e in entries) > table.limit.get(f, 0) for f in Family
        )
        assert over == any(v.rule == "R6" for v in found)


@COUNT
@given(snapshots(ANY), st.integers(0, 2**32))
def test_unserved_subnets_owe_nothing(snap: Snapshot, seed: int) -> None:
    table, _, _ = table_of(snap, seed)
    unserved = [Unserved(s.id, family, 0, "") for s in snap.subnets for family in Family]
    found = violations(snap, table, table.entries, unserved)
    assert not [v for v in found if v.rule in ("R1", "avoid") and v.destination is None]
    ids = {subnet.id: subnet for subnet in snap.subnets}
    for violation in found:
        if violation.destination is not None and violation.rule != "R6":
            inside = [
                s for s in ids.values() for p in s.prefixes if p.contains(violation.destination)
            ]
            assert not inside


# Examples with the words that an operator reads.


def p(text: str) -> Prefix:
    return Prefix.parse(text)


NODES = [
    Node("n1", "s1", "eni-1", {}),
    Node("n2", "s1", "eni-2", {}, forwards=False),
    Node("n3", "s1", "eni-3", {}, healthy=False),
    Node("n4", "s2", "eni-4", {}),
    Node("n5", "s1", "eni-5", {}, avoid=True),
]
SNAP = snapshot(
    [Subnet("s1", "a", "t1", (p("10.0.0.0/24"),)), Subnet("s2", "b", "t1", (p("10.0.1.0/24"),))],
    NODES,
    [Block(p("10.0.0.0/26"), "n1"), Block(p("10.0.0.64/26"), "n2"), Block(p("10.0.1.0/26"), "n4")],
    [],
)
TABLE = RouteTable("t1", {Family.IPV4: 3}, {Family.IPV4: 2}, foreign=(p("10.0.1.128/25"),))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("10.0.0.0/24 eni-1", []),
        ("10.0.0.0/24 eni-2", ["R1 t1 10.0.0.0/24: n2 does not forward and gets the block of n1"]),
        ("10.0.0.0/24 eni-3", ["R1 t1 10.0.0.0/24: its next hop n3 is not healthy"]),
        ("10.0.0.0/24 eni-5", ["avoid t1 10.0.0.0/24: n5 is to be avoided and gets the block of"]),
        ("10.0.0.0/24 eni-4", ["R2 t1 10.0.0.0/24: it lies in subnet s1, its next hop n4 does"]),
        ("10.0.0.0/24 eni-9", ["R2 t1 10.0.0.0/24: eni-9 is no node's"]),
        ("10.0.0.0/25 eni-1", ["R1 t1 10.0.0.0/24: no entry catches addresses from 10.0.0.128"]),
        ("10.0.0.0/23 eni-1", ["R2 t1 10.0.0.0/23: it lies inside no subnet's prefixes"]),
        (
            "10.0.0.0/24 eni-1, 10.0.0.0/26 eni-1, 10.0.0.64/26 eni-2, 10.0.0.128/25 eni-2",
            ["R6 t1: 4 ipv4 entries are more than its limit of 3"],
        ),
    ],
)
def test_violations_say_what_is_wrong(entries: str, expected: list[str]) -> None:
    served = [Entry(p(one.split()[0]), one.split()[1]) for one in entries.split(", ")]
    unserved = [Unserved("s2", Family.IPV4, 1, "a foreign entry in the way")]
    found = [str(v) for v in violations(SNAP, TABLE, served, unserved)]
    assert all(any(text.startswith(e) for text in found) for e in expected), found
    assert bool(found) == bool(expected)


def test_a_foreign_entry_in_a_tree_is_in_the_way() -> None:
    entries = [Entry(p("10.0.0.0/24"), "eni-1"), Entry(p("10.0.1.0/24"), "eni-4")]
    (found,) = violations(SNAP, TABLE, entries, ())
    assert str(found) == (
        "R1 t1 10.0.1.128/25: a foreign entry is in the way from 10.0.1.128 on, in subnet s2"
    )


def test_a_plan_is_held_to_the_budget() -> None:
    entries = [Entry(p("10.0.0.0/24"), "eni-1")] * 3
    assert [str(v) for v in over_budget(TABLE, entries)] == [
        "R6 t1: 3 ipv4 entries are more than its budget of 2"
    ]
    assert not over_budget(TABLE, entries[:2])


def test_lookup_finds_the_longest_match() -> None:
    entries = [Entry(p("10.0.0.0/16"), "eni-1"), Entry(p("10.0.1.0/24"), "eni-4")]

    def found(text: str) -> tuple[str, str | None] | None:
        match = lookup(entries, TABLE.foreign, *parse_address(text))
        return None if match is None else (str(match.destination), match.interface)

    assert found("10.0.0.1") == ("10.0.0.0/16", "eni-1")
    assert found("10.0.1.1") == ("10.0.1.0/24", "eni-4")
    assert found("10.0.1.129") == ("10.0.1.128/25", None)
    assert found("10.1.0.0") is None
    assert found("fd00::1") is None


def test_a_step_that_does_not_apply_is_named() -> None:
    state = TableState([Entry(p("10.0.0.0/24"), "eni-1")], TABLE.foreign)
    limit = {Family.IPV4: 1}
    full = Step(Action.CREATE, p("10.0.1.0/24"), "eni-4", None, "")
    assert contradiction(state, limit, full) == "the table is full with 1 ipv4 entries"
    foreign = Step(Action.CREATE, p("10.0.1.128/25"), "eni-4", None, "")
    assert contradiction(state, limit, foreign) == (
        "10.0.1.128/25 is the destination of a foreign entry"
    )
    outdated = Step(Action.REPLACE, p("10.0.0.0/24"), "eni-2", "eni-3", "")
    assert contradiction(state, limit, outdated) == "10.0.0.0/24 leads to eni-1, not to eni-3"
    assert contradiction(state, limit, replace(outdated, previous_interface="eni-1")) is None


def large(nodes: int, entries: int) -> tuple[Snapshot, RouteTable]:
    """One subnet whose nodes have a block each, with entries at even distances under its cover."""
    tree = p("10.0.0.0/8")
    members = [Node(f"n{i:06}", "s1", f"eni-{i}", {}) for i in range(nodes)]
    blocks = [
        Block(Prefix(tree.family, tree.value + i * 64, 26), node.name)
        for i, node in enumerate(members)
    ]
    every = nodes // entries
    held_now = [Entry(tree, "eni-0")] + [
        Entry(blocks[i].prefix, f"eni-{i}") for i in range(0, nodes, every)
    ]
    limit = {Family.IPV4: len(held_now)}
    table = RouteTable("t1", limit, limit, entries=tuple(held_now))
    return snapshot([Subnet("s1", "a", "t1", (tree,))], members, blocks, [table]), table


def test_a_table_of_a_large_cluster_is_checked_in_no_time() -> None:
    snap, table = large(1_500, 44)
    best = min(timed(lambda: violations(snap, table, table.entries, ())) for _ in range(5))
    assert best < 0.05


def test_checking_grows_about_linearly() -> None:
    small, large_one = large(10_000, 1_000), large(100_000, 10_000)
    times = [
        min(timed(lambda s=snap, t=table: violations(s, t, t.entries, ())) for _ in range(3))
        for snap, table in (small, large_one)
    ]
    assert all(one > 0 for one in times)
    assert max(b / a for a, b in pairwise(times)) < 40


def timed(call: object) -> float:
    assert callable(call)
    start = time.process_time()
    call()
    return time.process_time() - start


def test_levels_are_ordered_from_worse_to_better() -> None:
    assert Level.UNREACHABLE < Level.STRANDED < Level.SERVED
