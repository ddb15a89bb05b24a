"""What an event makes of a simulated cluster: always a valid one, and only what the event says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from msgspec import structs

from ipam.model import Claim
from ipam.networks import changed
from ipam.placement import join
from ipam.prefix import Family
from ipam.topology import Level, LevelKind, topology
from tests.histories import Story, network, start, stories, table
from vpcrouter.simulate.events import (
    Change,
    Event,
    Fail,
    Grow,
    Join,
    Leave,
    Load,
    Recover,
)
from vpcrouter.simulate.world import World, happen
from vpcrouter.wire import dump_snapshot, parse_snapshot

ZONE = Level(LevelKind.LABEL, "zone")


def _world(*sizes: int) -> World:
    return start(sizes, [table("t0", 8)], network((Family.IPV4,)), {})


def _after(world: World, *changes: tuple[str, Change]) -> World:
    for line, (node, change) in enumerate(changes, start=2):
        world = happen(world, Event(0.0, node, change, line))
    return world


def _weights(world: World, node: str) -> list[float]:
    cluster = world.snapshot()
    columns = cluster.blocks[Family.IPV4]
    names = [cluster.nodes[index].name for index in columns.node]
    return [weight for name, weight in zip(names, columns.weight, strict=True) if name == node]


@given(stories())
def test_every_world_is_a_valid_snapshot(story: Story) -> None:
    world = story.world
    for event in story.events:
        world = happen(world, event)
        cluster = world.snapshot()
        assert parse_snapshot(dump_snapshot(cluster), "snapshot") == cluster


@given(stories())
def test_the_same_events_make_the_same_world(story: Story) -> None:
    one = other = story.world
    for event in story.events:
        one, other = happen(one, event), happen(other, event)
    assert one == other


def test_a_node_joins_with_a_block_of_weight_one() -> None:
    world = _after(_world(2, 2), ("x", Join("s1")))
    assert world.nodes["x"].subnet == "s1"
    assert world.nodes["x"].healthy
    assert _weights(world, "x") == [1.0]
    assert not world.refused


def test_what_is_made_up_differs_from_node_to_node_and_from_join_to_join() -> None:
    first = _after(_world(1), ("x", Join("s0")), ("y", Join("s0")))
    again = _after(first, ("x", Leave()), ("x", Join("s0")))
    met = [first.nodes["x"], first.nodes["y"], again.nodes["x"]]
    assert len({node.interface for node in met}) == 3
    assert len({node.addresses[Family.IPV4] for node in met}) == 3
    assert again.nodes["x"] == _after(first, ("x", Leave()), ("x", Join("s0"))).nodes["x"]


def test_a_node_that_joins_a_divided_network_is_like_one_of_its_subnet() -> None:
    world = _world(2)
    zoned = [replace(n, topology=topology([ZONE])) for n in world.state.networks]
    claims = [
        Claim(node.name, node.subnet, node.identity, (("zone", "a"),))
        for node in world.state.nodes.values()
    ]
    divided = join(changed(world.state, zoned), claims, world.budget).state
    after = _after(replace(world, state=divided), ("new", Join("s0")))
    assert after.refused == ()
    assert after.state.nodes["new"].labels == (("zone", "a"),)


def test_leaving_frees_the_blocks() -> None:
    world = _world(2)
    gone = _after(world, ("s0n0", Leave()))
    assert "s0n0" not in gone.nodes
    assert gone.state.blocks("s0n0") == ()
    assert len(gone.snapshot().blocks[Family.IPV4]) == 1


def test_failing_and_recovering_change_the_health_and_nothing_else() -> None:
    world = _world(2)
    failed = _after(world, ("s0n0", Fail()))
    assert not failed.nodes["s0n0"].healthy
    assert _after(failed, ("s0n0", Fail())) == failed
    assert _after(failed, ("s0n0", Recover())) == world
    assert _after(world, ("s0n0", Recover())) == world


def test_a_load_is_split_over_the_blocks_and_stays_with_the_node() -> None:
    world = _after(_world(2), ("s0n0", Grow(2)), ("s0n0", Load(6.0)))
    assert _weights(world, "s0n0") == [2.0, 2.0, 2.0]
    assert _weights(world, "s0n1") == [1.0]
    assert _weights(_after(world, ("s0n0", Grow(1))), "s0n0") == [1.5] * 4
    assert _weights(_after(world, ("s0n0", Load(0.0))), "s0n0") == [0.0] * 3


def test_a_load_is_forgotten_when_the_node_leaves() -> None:
    world = _after(_world(2), ("s0n0", Load(6.0)), ("s0n0", Leave()), ("s0n0", Join("s0")))
    assert _weights(world, "s0n0") == [1.0]


@pytest.mark.parametrize("change", [Leave(), Fail(), Recover(), Grow(1), Load(2.0)])
def test_who_was_refused_is_named_and_not_there(change: Change) -> None:
    tiny = start([2], [table("t0", 8)], network((Family.IPV4,), 25), {})
    world = _after(tiny, ("x", Join("s0")))
    assert "x" not in world.nodes
    assert len(world.refused) == 1
    assert world.refused[0].name == "x (line 2)"
    assert "no ipv4 block is left" in world.refused[0].reason
    assert _after(world, ("x", change)) == world


def test_growth_that_does_not_fit_is_named_and_nothing_grows() -> None:
    tiny = start([1], [table("t0", 8)], network((Family.IPV4,), 25), {})
    world = _after(tiny, ("s0n0", Grow(2)))
    assert [problem.name for problem in world.refused] == ["s0n0 (line 2)"]
    assert replace(world, refused=()) == tiny


def test_a_cluster_starts_with_the_weights_that_it_has() -> None:
    world = _after(_world(3, 2), ("s0n0", Grow(1)), ("s0n0", Load(7.0)))
    again = World.starting(world.state, world.snapshot())
    assert again.weights == {"s0n0": 7.0}
    assert again.snapshot() == world.snapshot()
    assert World.starting(_world(2).state, _world(2).snapshot()).weights == {}


def test_who_joins_weighs_and_carries_what_is_usual() -> None:
    world = _after(_world(3, 1), *[(f"s0n{i}", Load(5.0)) for i in range(3)])
    nodes = {name: structs.replace(node, capacity=10.0) for name, node in world.nodes.items()}
    cluster = replace(world, nodes=nodes).snapshot()
    joined = _after(World.starting(world.state, cluster), ("x", Join("s1")))
    assert (_weights(joined, "x"), joined.nodes["x"].capacity) == ([5.0], 10.0)
    assert _weights(joined, "s1n0") == [1.0]
