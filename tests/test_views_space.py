"""What is free, shared or apart, against counting block by block."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings

from ipam.model import Claim, Network, State, state
from ipam.networks import changed
from ipam.placement import grow, join
from ipam.prefix import Family, Prefix, merge
from ipam.topology import Level, LevelKind, NamedGroup, topology
from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.view_states import blocks_of, states
from vpcrouter.views.fragments import fragmentation, fragments
from vpcrouter.views.free import Free, Ground, grounds
from vpcrouter.views.tree import Branch, Kind, trees

V4 = Family.IPV4


def free_blocks(now: State, ground: Ground) -> set[Prefix]:
    """What could be given out, counted block by block."""
    network = ground.network
    given = {block for node in now.owners() for block in node.blocks}
    return {
        block
        for cidr in ground.cidrs
        if not network.is_closed(cidr)
        for block in blocks_of(cidr, ground.block_length)
        if block not in given and not any(block.overlaps(other) for other in network.withheld)
    }


def blocks_in(free: Free, ground: Ground) -> list[Prefix]:
    return [b for piece in free.pieces for b in blocks_of(piece, ground.block_length)]


def branches(now: State) -> list[Branch]:
    return [branch for tree in trees(now, {}) for _, branch in tree.walk(tree.height)]


# What is left


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_what_is_free_is_what_nobody_has(now: State) -> None:
    for ground in grounds(now):
        free = ground.free(ground.cidrs)
        found = blocks_in(free, ground)
        assert len(found) == len(set(found)) == free.blocks
        assert set(found) == free_blocks(now, ground)


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_free_prefixes_are_as_few_as_they_can_be(now: State) -> None:
    for ground in grounds(now):
        mine = [s for spaces in now.spaces.values() for s in spaces if ground.holds(s.prefix)]
        for space in mine:
            pieces = ground.free([space.prefix]).pieces
            assert list(pieces) == list(merge(pieces))


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_a_free_node_prefix_has_nothing_given_out_and_a_block_left(now: State) -> None:
    given = {block for node in now.owners() for block in node.blocks}
    for ground in grounds(now):
        left = free_blocks(now, ground)
        for spaces in now.spaces.values():
            for space in spaces:
                if ground.holds(space.prefix):
                    wanted = sum(
                        any(prefix.contains(block) for block in left)
                        and not any(prefix.contains(block) for block in given)
                        for prefix in blocks_of(space.prefix, space.node_length)
                    )
                    assert ground.free([space.prefix]).node_prefixes == wanted


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_every_branch_counts_what_lies_in_its_prefixes(now: State) -> None:
    every: dict[str, dict[Family, set[Prefix]]] = {network.name: {} for network in now.networks}
    for ground in grounds(now):
        every[ground.network.name][ground.family] = free_blocks(now, ground)
    for branch in branches(now):
        inside = [
            (node.name, node.identity)
            for node in now.owners()
            for block in node.blocks
            if any(prefix.contains(block) for prefix in branch.prefixes)
        ]
        assert (branch.blocks, branch.nodes) == (len(inside), len(set(inside)))
        left = every[branch.network][branch.family]
        wanted = sum(any(p.contains(block) for p in branch.prefixes) for block in left)
        assert branch.free.blocks == wanted


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_branches_lie_inside_their_parents_and_apart_from_each_other(now: State) -> None:
    for branch in branches(now):
        for child in branch.children:
            for prefix in child.prefixes:
                assert any(outer.contains(prefix) for outer in branch.prefixes)
        for is_group in (False, True):  # groups may hold places that stand beside them
            children = [one for one in branch.children if (one.kind is Kind.GROUP) is is_group]
            inside = sorted(prefix for child in children for prefix in child.prefixes)
            assert not any(one.overlaps(other) for one, other in pairwise(inside))


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_a_tree_has_every_subnet_and_group_once(now: State) -> None:
    every = branches(now)
    for share in now.subnets.values():
        mine = [branch for branch in every if branch.subnet == share.id]
        subnets = [p for b in mine if b.kind is Kind.SUBNET for p in b.prefixes]
        groups = [p for b in mine if b.kind is Kind.GROUP for p in b.prefixes]
        assert sorted(subnets) == sorted(share.prefixes)
        assert sorted(groups) == sorted(share.groups)


def test_a_place_that_came_later_is_inside_the_subnet_of_which_it_got_a_part() -> None:
    pods = Network("pods", (Prefix.parse("10.0.0.0/29"),), {V4: 31}, {V4: 31})
    labels, budget = (("kind", "big"),), {V4: 4}
    now = join(state("test", [pods]), [Claim("n1", "s1", "i1", labels)], budget).state
    big = NamedGroup("big", labels=labels, weight=0.5)
    divided = topology([Level(LevelKind.GROUPS), Level(LevelKind.SUBNET)], [big])
    now = changed(now, (replace(pods, topology=divided),))
    now = join(now, [Claim("n1", "s1", "i2", labels)], budget).state
    (tree,) = trees(now, {})
    found = [
        (level, branch.kind, branch.name, *map(str, branch.prefixes))
        for level, branch in tree.walk(tree.height)
    ]
    assert found == [
        (0, Kind.NETWORK, "pods", "10.0.0.0/29"),
        (1, Kind.SUBNET, "s1", "10.0.0.0/30"),
        (2, Kind.GROUP, "10.0.0.0/31", "10.0.0.0/31"),
        (2, Kind.PLACE, "group big", "10.0.0.2/31"),
        (3, Kind.GROUP, "10.0.0.2/31", "10.0.0.2/31"),
    ]


# What lies apart


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_fragments_agree_with_counting_node_prefix_by_node_prefix(now: State) -> None:
    held: dict[Prefix, set[tuple[str, str]]] = {}
    for node in now.owners():
        for block in node.blocks:
            prefix = now.space(node.subnet, block).node_prefix(block)
            held.setdefault(prefix, set()).add((node.name, node.identity))
    found = fragments(now)
    assert sum(one.blocks for one in found) == sum(len(node.blocks) for node in now.owners())
    for one in found:
        mine = [prefix for prefix, owners in held.items() if (one.node, one.identity) in owners]
        mine = [prefix for prefix in mine if prefix.family is one.family]
        assert one.node_prefixes == len(mine)
        assert one.shared == sum(len(held[prefix]) > 1 for prefix in mine)
        assert 1 <= one.routes <= one.blocks
    sums = fragmentation(now, found)
    assert sum(one.node_prefixes for one in sums) == len(held)
    assert sum(one.shared for one in sums) == sum(len(owners) > 1 for owners in held.values())


def test_neighbouring_blocks_of_a_node_are_one_route() -> None:
    pods = Network(
        "pods", (Prefix.parse("10.0.0.0/22"),), block={Family.IPV4: 26}, node={Family.IPV4: 24}
    )
    budget = {Family.IPV4: 4}
    now = join(state("test", [pods]), [Claim("a", "s", "i"), Claim("b", "s", "i")], budget).state
    now = grow(now, "a", 3, budget).state
    (first, second) = fragments(now)
    assert (first.blocks, first.routes, first.is_whole) == (4, 1, True)
    assert (second.blocks, second.routes, second.shared) == (1, 1, 0)
    (both,) = fragmentation(now, fragments(now))
    assert both.routes_per_node == 1.0


# The commands


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def cluster(command: Runner, tmp_path: Path) -> Path:
    files = Files(tmp_path)
    assert command("apply", "--yes", "-f", files.cluster).code == 0
    return files.cluster


def test_free_space_is_shown_for_networks_subnets_and_groups(
    command: Runner, cluster: Path
) -> None:
    shown = command("blocks", "--free", "-f", cluster)
    assert (shown.code, shown.err) == (0, "")
    assert {line.split()[0] for line in shown.out.splitlines()} == {
        *("KIND", "network", "subnet", "group")
    }
    rows = json.loads(command("blocks", "--free", "-f", cluster, "-o", "json").out)["free"]
    (network,) = [row for row in rows if row["kind"] == "network"]
    assert network["prefixes"] == ["100.64.0.0/10"]
    assert network["free_blocks"] == 65_536 - network["blocks"]
    subnet = next(row["subnet"] for row in rows if row["kind"] == "subnet")
    only = command("blocks", "--free", "-f", cluster, "--subnet", subnet, "-o", "json")
    assert {row["subnet"] for row in json.loads(only.out)["free"]} == {subnet}


def test_fragmentation_names_the_nodes_that_were_asked_for(command: Runner, cluster: Path) -> None:
    node = command("nodes", "-f", cluster).out.splitlines()[1].split()[0]
    shown = command("blocks", "--fragmentation", "-f", cluster, "--node", node, "-o", "json")
    document = json.loads(shown.out)
    assert [one["node"] for one in document["nodes"]] == [node]
    assert document["nodes"][0]["host_routes"] == 1
    whole = command("blocks", "--fragmentation", "-f", cluster)
    assert (whole.code, node in whole.out) == (0, False)
    assert node in command("blocks", "--fragmentation", "-f", cluster, "--all").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--free", "--fragmentation"],
        ["--free", "--subnet", "nowhere"],
        ["--fragmentation", "--node", "nobody"],
        ["--free", "nothing"],
    ],
)
def test_what_cannot_be_shown_is_one_line(
    command: Runner, cluster: Path, arguments: list[str]
) -> None:
    ended = command("blocks", "-f", cluster, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)


def test_a_snapshot_does_not_say_what_is_free(
    command: Runner, cluster: Path, tmp_path: Path
) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(command("snapshot", "-f", cluster).out)
    for option in ("--free", "--fragmentation"):
        ended = command("blocks", option, "--snapshot", file)
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)
