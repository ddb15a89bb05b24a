"""Other ways to fill tables: their figures on small clusters, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isclose

from hypothesis import given, settings

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.histories import Story, stories, table
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.planner import plan
from vpcrouter.reachability import Ground
from vpcrouter.simulate.baselines import SCHEMES, MergeOnly, PerNode, Rival, fitting, per_zone
from vpcrouter.simulate.engine import live
from vpcrouter.simulate.standing import Standing, standing

V4 = Family.IPV4


def cluster(
    homes: Sequence[str],
    tables: Sequence[RouteTable],
    weights: Sequence[float] | None = None,
    down: Sequence[int] = (),
    blocks: Sequence[Sequence[str]] | None = None,
) -> Snapshot:
    """Node i lives in subnet homes[i]; a subnet's zone is its first letter, all use table 0."""
    nodes = [
        Node(f"n{i:02}", home, f"eni-{i}", {}, healthy=i not in down)
        for i, home in enumerate(homes)
    ]
    names = sorted(set(homes))
    owned = blocks or [[f"10.{names.index(home)}.{i}.0/26"] for i, home in enumerate(homes)]
    weights = weights or [1.0] * len(homes)
    return snapshot(
        [
            Subnet(n, n[0], tables[0].id, (Prefix.parse(f"10.{i}.0.0/16"),))
            for i, n in enumerate(names)
        ],
        nodes,
        [
            Block(Prefix.parse(text), node.name, weight)
            for node, texts, weight in zip(nodes, owned, weights, strict=True)
            for text in texts
        ],
        tables,
    )


def without(old: Snapshot, *gone: str) -> Snapshot:
    """The same cluster after nodes have left."""
    kept = [node for node in old.nodes if node.name not in gone]
    columns = old.blocks[V4]
    blocks = [
        Block(columns.prefix(row), old.nodes[node].name, columns.weight[row])
        for row, node in enumerate(columns.node)
        if old.nodes[node].name not in gone
    ]
    return snapshot(old.subnets, kept, blocks, old.route_tables)


def test_a_route_per_node_leaves_unreached_what_does_not_fit() -> None:
    rival = Rival(PerNode())
    five = cluster(["a"] * 5, [table("t", 3)])
    assert rival.settle(five) == Standing(3, 0, 0, 0, 2 / 5, 3)
    # One that has an entry goes, and the one that waits longest gets it: two changes.
    assert rival.settle(without(five, "n01")) == Standing(3, 0, 0, 0, 1 / 4, 2)
    assert rival.settle(without(five, "n01")) == Standing(3, 0, 0, 0, 1 / 4, 0)


def test_a_node_that_comes_later_waits_whatever_its_name() -> None:
    rival = Rival(PerNode())
    three = cluster(["a"] * 3, [table("t", 2)])
    rival.settle(without(three, "n00"))
    assert rival.settle(three).changes == 0
    assert rival.settle(without(three, "n02")) == Standing(2, 0, 0, 0, 0, 2)


def test_each_table_has_its_own_budget_and_its_own_changes() -> None:
    tables = [table("t", 3), table("u", 1)]
    found = Rival(PerNode()).settle(cluster(["a"] * 4, tables))
    assert found == Standing(3, 0, 0, 0, (1 + 3) / 8, 4)


def test_weight_that_is_not_reached_counts_only_for_healthy_nodes() -> None:
    found = Rival(PerNode()).settle(
        cluster(["a"] * 4, [table("t", 2)], weights=[1, 1, 3, 5], down=[0, 3])
    )
    assert found == Standing(2, 0, 0, 0, 3 / 10, 2)


def test_merging_joins_only_neighbours_of_one_node() -> None:
    blocks = [
        ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26"],  # a /25 and a /26
        ["10.0.1.64/26", "10.0.1.128/26"],  # adjacent, but not aligned: two
        ["10.0.2.0/26"],
        ["10.0.2.64/26"],  # its neighbour is another node's
    ]
    four = cluster(["a"] * 4, [table("t", 9)], blocks=blocks)
    assert Rival(MergeOnly()).settle(four) == Standing(6, 0, 0, 0, 0, 6)
    tight = cluster(["a"] * 4, [table("t", 3)], blocks=blocks, weights=[1, 1, 4, 4])
    # In: the /25 (2 blocks), the /26, and one block of the second node; 9 of 13 are not reached.
    assert Rival(MergeOnly()).settle(tight) == Standing(3, 0, 0, 0, 9 / 13, 3)


def test_merging_changes_two_entries_for_one_that_is_wider() -> None:
    rival = Rival(MergeOnly())
    rival.settle(cluster(["a"], [table("t", 9)], blocks=[["10.0.0.0/26"]]))
    grown = cluster(["a"], [table("t", 9)], blocks=[["10.0.0.0/26", "10.0.0.64/26"]])
    assert rival.settle(grown) == Standing(1, 0, 0, 0, 0, 2)


def test_static_groups_are_joined_in_turn_and_have_one_forwarder_for_all_tables() -> None:
    tables = [table("t", 9), table("u", 9)]
    nine = cluster(["a"] * 9, tables)
    rival = Rival(per_zone(4))
    # Groups {0, 4, 8}, {1, 5}, {2, 6}, {3, 7}; the first of each forwards, in both tables.
    assert rival.settle(nine) == Standing(4, 2, 4, 5 / 9, 0, 8)
    # Node 0 goes: node 4 takes over in both tables. A new one is the tenth, so in group 1.
    assert rival.settle(without(nine, "n00")) == Standing(4, 1, 2, 4 / 8, 0, 2)


def test_a_static_group_without_a_healthy_node_reaches_nobody() -> None:
    four = cluster(["a"] * 4, [table("t", 9)], down=[0, 2])
    # Groups {0, 2} and {1, 3}; the weight of nodes that are down does not count as missed.
    assert Rival(per_zone(2)).settle(four) == Standing(2, 1, 1, 2 / 4, 0, 2)
    mended = cluster(["a"] * 4, [table("t", 9)], down=[0])
    assert Rival(per_zone(2)).settle(mended) == Standing(2, 1, 1, 2 / 4, 0, 2)


def test_a_forwarder_that_fails_is_replaced_once() -> None:
    rival = Rival(per_zone(1))
    rival.settle(cluster(["a"] * 3, [table("t", 9)]))
    assert rival.settle(cluster(["a"] * 3, [table("t", 9)], down=[0])).changes == 1
    assert rival.settle(cluster(["a"] * 3, [table("t", 9)])).changes == 0


def test_a_zone_shares_its_groups_among_its_subnets() -> None:
    # Zone a: subnets a and ab, two groups each; zone b: one subnet with four.
    homes = ["a"] * 4 + ["ab"] * 4 + ["b"] * 4
    assert Rival(per_zone(4)).settle(cluster(homes, [table("t", 20)])).entries == 8
    assert Rival(per_zone(1)).settle(cluster(homes, [table("t", 20)])).entries == 3


def test_static_groups_that_do_not_fit_are_not_reached() -> None:
    found = Rival(per_zone(4)).settle(cluster(["a"] * 8, [table("t", 3)]))
    assert found == Standing(3, 1, 1, 3 / 8, 2 / 8, 3)


def test_groups_that_fit_are_shared_out_by_the_nodes_at_the_start() -> None:
    homes = ["a"] * 12 + ["b"] * 4 + ["c"]
    rival = Rival(fitting())
    # 8 entries: 5 groups of at most 3 nodes for a, 2 of 2 for b, one for c.
    assert rival.settle(cluster(homes, [table("t", 8), table("u", 9)])).entries == 8
    assert rival.settle(cluster(homes, [table("t", 8), table("u", 9)])).max_load == 2


def test_weights_own_blocks_and_capacities_count_as_in_plans() -> None:
    own = [table("t", 9, own_subnet_weight=0.5), table("u", 9)]
    found = Rival(per_zone(1)).settle(cluster(["a"] * 3, own, weights=[7, 2, 4]))
    # Node 0 forwards 6 in table u, half of it in its own subnet's.
    assert found == Standing(1, 6, 9, (6 + 3) / (13 + 6.5), 0, 2)


def test_ours_is_counted_alike() -> None:
    """Entries written down by hand, one of which leads astray and one to a node that is down."""
    homes = ["a"] * 4 + ["b"] * 2
    found = cluster(homes, [table("t", 6)], weights=[1, 2, 3, 4, 5, 6], down=[1])
    entries = [
        Entry(Prefix.parse("10.0.0.0/16"), "eni-0"),  # nodes 0 to 3 but for node 3: 2 + 3 detour
        Entry(Prefix.parse("10.0.3.0/24"), "eni-4"),  # node 3 by another subnet's: not reached
        Entry(Prefix.parse("10.1.0.0/16"), "eni-5"),
        Entry(Prefix.parse("10.1.4.0/27"), "eni-1"),  # half of node 4's block: nowhere either
    ]
    held = replace(found, route_tables=(replace(table("t", 6), entries=tuple(entries)),))
    ours = standing(held, Ground.physical(held), 3)
    assert ours == Standing(4, 5, 5, (2 + 3 + 2.5) / 21, (4 + 2.5) / 21, 3)


SCHEME_NAMES = [scheme.name for make in SCHEMES.values() for scheme in make()]


@settings(max_examples=examples(test=20, prove=500))
@given(stories(max_events=6))
def test_through_any_history_nobody_holds_more_than_a_table_takes(story: Story) -> None:
    rivals = [Rival(scheme) for make in SCHEMES.values() for scheme in make()]
    history = live(story.world, story.events, 0.05, plan, rivals)
    most = max(t.budget[family] for t in story.tables for family in Family)
    for moment in (history.start, *history.moments):
        ours = moment.standing
        assert ours.changes == moment.steps
        assert ours.max_load <= ours.combined_load
        if not moment.unserved:
            assert isclose(ours.max_load, moment.max_load, abs_tol=1e-9)
            assert ours.unreachable_share == 0
        for name, rival in zip(SCHEME_NAMES, moment.rivals, strict=True):
            assert rival.entries <= most
            assert 0 <= rival.detour_share <= 1
            assert 0 <= rival.unreachable_share <= 1
            if not name.startswith("static"):
                assert rival.max_load == rival.detour_share == 0


@settings(max_examples=examples(test=20, prove=500))
@given(stories(max_events=6))
def test_nobody_changes_anything_when_nothing_happens(story: Story) -> None:
    rivals = [Rival(scheme) for make in SCHEMES.values() for scheme in make()]
    world = live(story.world, story.events, 0.05, plan, rivals).end
    again = live(world, (), 0.05, plan, rivals)
    assert [rival.changes for rival in again.start.rivals] == [0] * len(rivals)
