"""Nodes join where entries can take them, and room for the next ones is made when some leave."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.model import Claim, State, state
from ipam.placement import join, next_blocks
from ipam.prefix import Family, Prefix
from ipam.room import ANY_ROOM, Left, Room, Takes
from tests.counts import examples
from tests.histories import Story, network, start, stories, table
from tests.promises import apply, check_settled, settled
from tests.snapshots import snapshots
from tests.strict_model import blocks_of
from vpcrouter.model import Entry, Plan, PlannedEntry, Snapshot
from vpcrouter.planner import plan
from vpcrouter.planner.ahead import MOST
from vpcrouter.planner.headroom import headroom
from vpcrouter.simulate.engine import live
from vpcrouter.simulate.events import Event, Join, Leave
from vpcrouter.simulate.world import World, happen

V4 = Family.IPV4
SLACK = 0.05
SLACKS = st.sampled_from([0.0, 0.05, 0.5])


def prefix(text: str) -> Prefix:
    return Prefix.parse(text)


# Placement.


def claims(subnet: str, count: int, first: int = 0) -> list[Claim]:
    return [Claim(f"{subnet}{first + i:03}", subnet, "id") for i in range(count)]


def cluster(nodes: int, entries: int) -> State:
    now = state("test", [network((V4,), 12)])
    return join(now, claims("a", nodes), {V4: entries}).state


def test_a_block_counts_for_the_most_specific_destination_around_it() -> None:
    room = Room(({prefix("10.0.0.0/16"): Takes(0, 1), prefix("10.0.4.0/24"): Takes(0, 0)},))
    left = Left(room)
    assert not left.takes(prefix("10.0.4.0/26"))
    assert left.takes(prefix("10.0.5.0/26"))
    assert not left.takes_evenly(prefix("10.0.5.0/26"))
    assert left.takes(prefix("10.1.0.0/26")), "an entry more is needed in any case"
    assert left.takes_evenly(prefix("10.1.0.0/26"))
    left.take(prefix("10.0.5.0/26"))
    assert not left.takes(prefix("10.0.5.64/26"))
    assert room.without([prefix("10.0.5.0/26")]) == left.room()
    assert room.tables[0][prefix("10.0.0.0/16")] == Takes(0, 1), "a value"


def test_a_node_joins_beside_an_entry_that_is_full() -> None:
    now = cluster(30, 4)
    (default,) = join(now, claims("a", 1, 30), {V4: 4}).state.nodes["a030"].blocks
    groups = now.subnets["a"].groups
    (around,) = [group for group in groups if group.contains(default)]
    full = Room((dict.fromkeys(groups, Takes(0, 9)) | {around: Takes(0, 0)},))
    (block,) = join(now, claims("a", 1, 30), {V4: 4}, full).state.nodes["a030"].blocks
    assert not around.contains(block)


def test_a_node_joins_where_no_load_comes_to_be_above_the_least() -> None:
    now = cluster(30, 4)
    groups = sorted(now.subnets["a"].groups, key=lambda g: now.space("a", g).measure(g))
    heaviest = groups[-1]
    room = Room((dict.fromkeys(groups, Takes(0, 9)) | {heaviest: Takes(2, 2)},))
    after = join(now, claims("a", 4, 30), {V4: 4}, room).state
    blocks = [block for c in claims("a", 4, 30) for block in after.blocks(c.node)]
    assert sum(heaviest.contains(block) for block in blocks) == 2
    assert all(takes.at_most >= 0 for takes in room.without(blocks).tables[0].values())


def test_where_all_entries_are_full_it_joins_as_ever() -> None:
    now = cluster(30, 4)
    full = Room((dict.fromkeys(now.subnets["a"].groups, Takes(0, 0)),))
    batch = claims("a", 5, 30)
    assert join(now, batch, {V4: 4}, full) == join(now, batch, {V4: 4}, ANY_ROOM)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000))
def test_of_a_batch_no_more_go_to_an_entry_than_it_takes(
    nodes: int, entries: int, more: int, seed: int
) -> None:
    """Some group may be too full for want of empty node prefixes in all others, or of room."""
    now = cluster(nodes, entries)
    random = Random(seed)
    groups = now.subnets["a"].groups
    evenly = {group: random.randint(0, 3) for group in groups}
    room = Room(({g: Takes(n, n + random.randint(0, 2)) for g, n in evenly.items()},))
    after = join(now, claims("a", more, nodes), {V4: entries}, room).state
    given_out = [b for c in claims("a", more, nodes) for b in after.blocks(c.node)]
    assert len(set(given_out)) == more
    left = room.without(given_out).tables[0]
    free = [left[group] for group in groups if after.space("a", group).measure(group)[1]]
    if any(takes.at_most < 0 for takes in left.values()):
        assert not any(takes.at_most > 0 for takes in free)
    if any(takes.evenly < 0 for takes in left.values()):
        assert not any(takes.evenly > 0 for takes in free)


def test_the_next_blocks_are_where_nodes_would_join() -> None:
    now = join(cluster(30, 6), claims("b", 9), {V4: 6}).state
    blocks = next_blocks(now, {"a": (), "b": ()}, {V4: 6})
    outcome = join(now, [Claim("x", "a", "i"), Claim("y", "b", "i")], {V4: 6}).state
    assert set(blocks) == {*outcome.blocks("x"), *outcome.blocks("y")}
    assert next_blocks(now, {}, {V4: 6}) == ()


# Headroom.


@settings(max_examples=examples(test=60, prove=1_000))
@given(snapshots(), SLACKS)
def test_an_entry_takes_as_many_blocks_as_is_said(cluster: Snapshot, slack: float) -> None:
    made = plan(cluster, slack)
    usual = {f: sorted(c.weight)[len(c) // 2] for f, c in cluster.blocks.items() if len(c)}
    capacity = {node.name: node.capacity for node in cluster.nodes}
    for table_ in made.tables:
        for each in headroom(Plan((table_,)), cluster, slack).tables:
            family = next(iter(each)).family
            least = table_.proof[family].least_load
            for entry in table_.entries:
                if entry.destination in each and len(set(cluster.blocks[family].weight)) == 1:
                    carried = sum(e.load for e in table_.entries if _shares(e, entry))
                    unit = usual[family] / capacity.get(entry.node or "", 1.0)
                    evenly, at_most = each[entry.destination]
                    for further, allowed in (evenly, least), (at_most, least * (1 + slack)):
                        load = carried + further * unit
                        assert load <= max(carried, allowed) * (1 + 1e-6)
                        assert load + unit > allowed * (1 - 1e-6)


def _shares(one: PlannedEntry, other: PlannedEntry) -> bool:
    """Whether two entries burden the same node in the same family."""
    return one.node == other.node and one.destination.family is other.destination.family


def test_where_every_node_has_its_own_entry_nothing_is_said() -> None:
    world = start((3, 2), [table("t0", 8)], network((V4,)), {})
    cluster = world.snapshot()
    assert headroom(plan(cluster, SLACK), cluster, SLACK) == ANY_ROOM


# Plans with room.


@st.composite
def with_coming(draw: st.DrawFn) -> Snapshot:
    """A cluster with a free block of some of its subnets' prefixes said to come."""
    cluster = draw(snapshots())
    taken = {block.prefix for block in blocks_of(cluster)}
    coming = []
    for subnet in cluster.subnets:
        for around in subnet.prefixes:
            length = min(around.family.width, around.length + draw(st.integers(0, 6)))
            steps = draw(st.integers(0, (1 << length - around.length) - 1))
            value = around.value + (steps << around.family.width - length)
            block = Prefix(around.family, value, length)
            if not any(block.overlaps(other) for other in taken):
                coming.append(block)
    return replace(cluster, coming=tuple(sorted(coming)))


@settings(max_examples=examples(test=60, prove=1_000))
@given(with_coming(), SLACKS)
def test_a_plan_with_room_keeps_every_promise(cluster: Snapshot, slack: float) -> None:
    made = plan(cluster, slack)
    plain = replace(cluster, coming=())
    vpc = apply(cluster, made)
    plainly = plan(plain, slack)
    for mine, other in zip(made.tables, plainly.tables, strict=True):
        assert mine.proof.keys() == other.proof.keys()
        for family, proof in mine.proof.items():
            assert proof.least_load == other.proof[family].least_load
        assert len(mine.steps) <= len(other.steps) + MOST * len(cluster.coming)
    check_settled(plain, vpc, plan(settled(plain, vpc), slack), slack)


@settings(max_examples=examples(test=60, prove=1_000))
@given(with_coming(), SLACKS)
def test_what_is_settled_with_room_stands_still(cluster: Snapshot, slack: float) -> None:
    after = settled(cluster, apply(cluster, plan(cluster, slack)))
    assert not any(table.steps for table in plan(replace(after, coming=()), slack).tables)


def test_blocks_that_cannot_come_change_nothing() -> None:
    """Given out already, outside all subnets, or the first of their family."""
    world = start((103, 32, 53), [table("t0", 5)], network((V4,), 12), {})
    cluster = world.snapshot()
    wide = prefix("fd00::/56")
    one, *others = cluster.subnets
    both = replace(one, prefixes=(*one.prefixes, wide))
    cluster = replace(cluster, subnets=(both, *others))
    taken = next(iter(cluster.blocks[V4].prefixes()))
    coming = (taken, prefix("192.0.2.0/26"), prefix("fd00::/66"))
    assert plan(replace(cluster, coming=coming), SLACK) == plan(cluster, SLACK)


# Histories.


@settings(max_examples=examples(test=15, prove=300))
@given(stories())
def test_histories_with_room_keep_every_promise(story: Story) -> None:
    history = live(story.world, story.events, SLACK, plan)
    assert not [v for moment in history.moments for v in moment.violations]


def as_planned(world: World, made: Plan) -> World:
    pairs = zip(world.tables, made.tables, strict=True)
    tables = (
        replace(t, entries=tuple(sorted(Entry(e.destination, e.interface) for e in m.entries)))
        for t, m in pairs
    )
    return replace(world, tables=tuple(tables))


@pytest.mark.parametrize(
    ("sizes", "budget"), [((75, 49, 26), 7), ((103, 32, 53), 5), ((73, 46, 44), 5)]
)
def test_after_a_node_has_left_the_next_one_changes_nothing(
    sizes: tuple[int, ...], budget: int
) -> None:
    """There are moments at which it would, had no room been made for it."""
    random = Random(18)
    world = start(sizes, [table("t0", budget)], network((V4,), 12), {})
    world = as_planned(world, plan(world.snapshot(), SLACK))
    names = [*world.nodes]
    made_room = 0
    for second in range(1, 25):
        name = names.pop(random.randrange(len(names)))
        world = happen(world, Event(second, name, Leave(), second))
        plainly = plan(world.snapshot(), SLACK)
        roomy = plan(replace(world.snapshot(), coming=world.coming()), SLACK)
        world = as_planned(world, roomy)
        if roomy != plainly:
            made_room += 1
            assert joining(as_planned(world, plainly)) > joining(world)
        home = random.choice(["s0", "s1", "s2"])
        names.append(f"new{second}")
        world = happen(world, Event(second, names[-1], Join(home), second))
        world = as_planned(world, plan(world.snapshot(), SLACK))
    assert made_room


def joining(world: World) -> int:
    """For how many subnets one node more changes an entry."""
    found = 0
    for home in ("s0", "s1", "s2"):
        after = happen(world, Event(0, "one more", Join(home), 0))
        found += any(table.steps for table in plan(after.snapshot(), SLACK).tables)
    return found


def churn(number: int, world: World) -> list[Event]:
    random = Random(number)
    names = [*world.nodes]
    events: list[Event] = []
    for second in range(1, 61):
        if random.random() < 0.5:
            names.append(f"new{second}")
            change = Join(random.choice(["s0", "s0", "s1", "s2"]))
            events.append(Event(second, names[-1], change, second + 1))
        else:
            name = names.pop(random.randrange(len(names)))
            events.append(Event(second, name, Leave(), second + 1))
    return events


@pytest.mark.parametrize("number", [1, 2, 5])
def test_once_groups_are_shared_joins_change_nothing(number: int) -> None:
    """In each of these histories some would, did nodes join wherever the groups are lightest."""
    world = start((103, 68, 25), [table("t0", 7)], network((V4,), 12), {})
    events = churn(number, world)
    history = live(world, events, SLACK, plan)
    joined = [m for m, e in zip(history.moments, events, strict=True) if isinstance(e.change, Join)]
    assert [moment.steps for moment in joined if moment.steps] == []


def test_room_is_made_after_nodes_have_left_and_never_counts_as_the_least_load() -> None:
    world = start((103, 68, 25), [table("t0", 7)], network((V4,), 12), {})
    events = churn(1, world)
    asked: list[tuple[bool, float]] = []

    def noting(snapshot: Snapshot, slack: float) -> Plan:
        asked.append((bool(snapshot.coming), slack))
        return plan(snapshot, slack)

    live(world, events, SLACK, noting)
    leaves = sum(isinstance(event.change, Leave) for event in events)
    assert sum(coming for coming, _ in asked) >= leaves
    assert not any(coming for coming, slack in asked if slack == 0)
    assert sum(not coming for coming, slack in asked if slack) >= len(events) - leaves
