"""What draining would bring: never less than promised, worked by hand, and nothing is changed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from msgspec import structs

from ipam.model import Claim
from ipam.placement import join, leave
from ipam.prefix import Family
from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.histories import Story, network, start, stories, table
from vpcrouter.planner import plan
from vpcrouter.simulate.rebalance import Advice, advise
from vpcrouter.simulate.world import World, happen

V4 = Family.IPV4
make = partial(plan, slack=0.0)


def least(world: World) -> float:
    """The least possible largest load with these addresses."""
    empty = tuple(replace(one, entries=()) for one in world.tables)
    return max(
        (t.max_load for t in make(replace(world, tables=empty).snapshot()).tables), default=0
    )


def drained(world: World, names: tuple[str, ...]) -> World:
    """The cluster after these nodes have gone and come back."""
    state = world.state
    claims = [Claim(name, state.nodes[name].subnet, "another") for name in names]
    return replace(world, state=join(leave(state, names), claims, world.budget).state)


def check(world: World, advice: Advice) -> None:
    """What it says can be had, each step less than the one before, and never below the floor."""
    assert advice.load == least(world)
    before = advice.load
    seen: set[str] = set()
    for drain in advice.drains:
        assert seen.isdisjoint(drain.nodes)
        seen.update(drain.nodes)
        assert advice.floor * (1 - 1e-9) <= drain.load < before
        before = drain.load
    assert advice.floor <= advice.load * (1 + 1e-9)
    assert len(seen) <= advice.tried


@settings(max_examples=examples(test=40, prove=1_500), deadline=None)
@given(stories())
def test_what_is_said_can_be_had(story: Story) -> None:
    world = story.world
    for event in story.events:
        world = happen(world, event)
    advice = advise(world, 20, make)
    check(world, advice)
    assert advice == advise(world, 20, make)


def without_the_last_quarter(*spot: int) -> World:
    """Twelve nodes, three in each quarter of a prefix, of which the last have left; two entries.

    Cut in halves, six and three are left; five and four would be possible.
    """
    world = start([12], [table("t0", 2)], network((V4,), 16), {})
    by_address = sorted(world.state.nodes, key=lambda name: world.state.blocks(name)[0])
    nodes = {name: world.nodes[name] for name in by_address[:9]}
    for position in spot:
        nodes[by_address[position]] = structs.replace(nodes[by_address[position]], avoid=True)
    return replace(world, state=leave(world.state, by_address[9:]), nodes=nodes)


def test_a_lopsided_cluster_is_made_even() -> None:
    world = without_the_last_quarter()
    advice = advise(world, 20, make)
    check(world, advice)
    assert (advice.load, len(advice.drains)) == (5, 1)
    assert (len(advice.drains[0].nodes), advice.drains[0].load) == (1, 4)
    assert least(drained(world, advice.drains[0].nodes)) == 4
    assert advice.floor == pytest.approx(3.5)  # nine over two entries, less the next hop's own


def test_no_more_nodes_are_drained_than_asked_for(seed: int) -> None:
    random = Random(seed)
    world = start([40], [table("t0", 5)], network((V4,), 16), {})
    going = random.sample(sorted(world.nodes), 15)
    world = replace(
        world,
        state=leave(world.state, going),
        nodes={name: node for name, node in world.nodes.items() if name not in going},
    )
    for most in (1, 2, 5):
        assert advise(world, most, make).tried <= most


def test_an_even_cluster_needs_no_drain() -> None:
    world = start([20, 10], [table("t0", 6)], network((V4,), 16), {})
    advice = advise(world, 20, make)
    assert (advice.load, advice.drains) == (4, ())
    assert advice.floor == pytest.approx(4)
    direct = start([3], [table("t0", 6)], network((V4,)), {})
    assert advise(direct, 20, make) == Advice(0.0, 0.0, (), 0)


@pytest.mark.parametrize("spot", [1, 4])
def test_nodes_that_may_go_anyway_are_drained_first(spot: int) -> None:
    world = without_the_last_quarter(spot)
    name = next(name for name, node in world.nodes.items() if node.avoid)
    assert [drain.nodes for drain in advise(world, 20, make).drains] == [(name,)]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_command_advises_and_writes_nothing(command: Runner, files: Files) -> None:
    ended = command("rebalance", "-f", files.cluster)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("The least possible largest load is 1")
    report = json.loads(command("rebalance", "-f", files.cluster, "-o", "json").out)
    assert set(report) == {"load", "floor", "tried", "drains"}
    assert report["load"] == 1
    assert not files.store.parent.exists()


@pytest.mark.parametrize("most", ["0", "-1", "few", "1.5"])
def test_what_is_no_number_of_nodes_is_refused(command: Runner, files: Files, most: str) -> None:
    ended = command("rebalance", "-f", files.cluster, "--most", most)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "--most" in ended.err
