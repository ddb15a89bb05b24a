"""Topologies and networks that change while the cluster runs, and what is said about it before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.model import Claim, Network, State, state
from ipam.networks import changed
from ipam.placement import grow, join, leave
from ipam.prefix import Family, Prefix
from ipam.static import grant_static
from ipam.topology import (
    GROUPS,
    PLAIN,
    SUBNET,
    Level,
    LevelKind,
    NamedGroup,
    StaticAddress,
    Topology,
    topology,
)
from ipam.topology_change import Consequence, Effect, consequences
from tests.address_checks import assert_sound
from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.topologies import assert_places_sound, claims, is_in_place, networks, topologies

V4 = Family.IPV4
BUDGET = {V4: 44}
ZONE, RACK = Level(LevelKind.LABEL, "zone"), Level(LevelKind.LABEL, "rack")
PODS = Network("pods", (Prefix.parse("10.0.0.0/16"),), {V4: 26}, {V4: 24})


def node(name: str, subnet: str = "s1", **labels: str) -> Claim:
    return Claim(name, subnet, "id", tuple(sorted(labels.items())))


def batch(count: int, **labels: str) -> list[Claim]:
    return [node(f"n{number:03}", **labels) for number in range(count)]


def joined(network: Network, arriving: Sequence[Claim], now: State | None = None) -> State:
    before = now if now is not None else state("test", [network])
    outcome = join(before, arriving, BUDGET)
    assert not outcome.refused
    return outcome.state


def effects(found: Sequence[Consequence]) -> list[tuple[str, str]]:
    return [(one.effect.value, one.text) for one in found]


def divided(network: Network, divided: Topology) -> Network:
    return replace(network, topology=divided)


# What a change does to what is given out, and to what comes next


def test_zones_that_come_later_take_the_subnets_that_are_in_them() -> None:
    before = joined(PODS, [*batch(20, zone="a"), node("m", "s2", zone="b")])
    now = changed(before, [divided(PODS, topology([ZONE]))])
    assert now.nodes == before.nodes
    now = joined(PODS, [node("new", zone="a"), node("m2", "s2", zone="b")], now)
    zones = {path[0]: place.prefixes for (_, path), place in now.places.items()}
    assert zones == {"zone=a": now.prefixes("s1"), "zone=b": now.prefixes("s2")}
    assert_places_sound(now)


def test_racks_that_come_later_get_what_is_empty_of_their_subnet() -> None:
    before = joined(PODS, batch(20))
    now = changed(before, [divided(PODS, topology([SUBNET, RACK]))])
    now = joined(PODS, [node(f"r{n}", rack=str(n)) for n in range(5)], now)
    assert len(now.prefixes("s1")) == 1  # none of them needed another entry
    for place in now.places.values():
        for prefix in place.prefixes:
            assert now.space("s1", prefix).measure(prefix)[0] == 1
    assert {name: now.nodes[name].blocks for name in before.nodes} == {
        name: one.blocks for name, one in before.nodes.items()
    }


def test_where_nothing_is_empty_a_rack_adopts_what_others_share() -> None:
    small = replace(PODS, cidrs=(Prefix.parse("10.0.0.0/22"),))  # four node prefixes
    before = joined(small, batch(4))
    now = changed(before, [divided(small, topology([SUBNET, RACK]))])
    now = joined(small, [node(f"r{n}", rack=str(n)) for n in range(3)], now)
    assert sorted(len(place.prefixes) for place in now.places.values()) == [1, 1, 1]
    assert_sound(now)


def test_a_group_that_is_split_keeps_its_nodes_and_its_parts_grow_beside_them() -> None:
    whole = divided(PODS, topology([], [NamedGroup("batch", labels=(("kind", "batch"),))]))
    before = joined(whole, batch(8, kind="batch", size="l"))
    parts = (
        NamedGroup("large", labels=(("size", "l"),)),
        NamedGroup("small", labels=(("size", "s"),)),
    )
    split = topology([], [NamedGroup("batch", labels=(("kind", "batch"),), groups=parts)])
    now = changed(before, [divided(whole, split)])
    assert now.nodes == before.nodes
    assert ("pods", ("group:batch",)) in now.places  # the group itself stays, with its room
    now = joined(whole, [node("new", kind="batch", size="s")], now)
    assert is_in_place(now, now.nodes["new"], now.blocks("new")[0])
    merged = changed(now, [whole])
    assert merged.nodes == now.nodes
    assert [path for _, path in merged.places] == [("group:batch",)]


def test_a_group_that_grows_gets_further_prefixes() -> None:
    first, second = Prefix.parse("10.0.0.0/24"), Prefix.parse("10.0.1.0/24")
    network = divided(PODS, topology([], [NamedGroup("few", cidrs=(first,))]))
    now = joined(network, batch(2))
    now = join(now, batch(4), BUDGET).state  # four blocks are all of it
    assert join(now, [node("fifth")], BUDGET).refused
    grown = divided(PODS, topology([], [NamedGroup("few", cidrs=(first, second))]))
    now = joined(network, [node("fifth")], changed(now, [grown]))
    assert second.contains(now.blocks("fifth")[0])


def test_a_closed_range_drains_and_then_goes() -> None:
    more = Prefix.parse("10.1.0.0/16")
    now = joined(PODS, batch(10))
    closed = replace(PODS, cidrs=(*PODS.cidrs, more), closed=PODS.cidrs)
    now = joined(PODS, [node("new")], changed(now, [closed]))
    assert more.contains(now.blocks("new")[0])
    outcome = grow(now, "n001", 1, BUDGET)
    assert not outcome.refused
    assert sum(more.contains(block) for block in outcome.state.blocks("n001")) == 1
    without = replace(PODS, cidrs=(more,))
    with pytest.raises(BadInputError, match=r"put its range back, and close it until it is empty"):
        changed(now, [without])
    now = leave(now, [f"n{number:03}" for number in range(10)])
    now = joined(PODS, [node("other")], now)
    assert changed(now, [without]).networks == (without,)


def test_what_a_subnet_loses_while_a_range_is_closed_its_places_lose_too() -> None:
    small = Network("pods", (Prefix.parse("10.0.0.0/29"),), {V4: 31}, {V4: 31})
    pods = divided(small, topology([RACK, SUBNET, ZONE]))
    now = joined(pods, [node("n1", rack="1", zone="a"), node("n2", rack="1", zone="a")])
    now = leave(changed(now, [replace(pods, closed=pods.cidrs)]), ["n1"])
    now = changed(join(now, [], BUDGET).state, [pods])
    outcome = grow(now, "n2", 1, BUDGET)
    assert not outcome.refused
    assert_sound(outcome.state)


def test_a_closed_network_opens_again() -> None:
    now = joined(PODS, batch(3))
    now = changed(now, [replace(PODS, closed=PODS.cidrs)])
    outcome = join(now, [node("new")], BUDGET)
    assert [r.reason for r in outcome.refused] == [
        "node new may have blocks of no network that is open: open one, or add one"
    ]
    now = changed(outcome.state, [PODS])
    assert not join(now, [node("new")], BUDGET).refused


def test_a_node_that_comes_back_with_another_identity_is_a_new_one_in_its_new_place() -> None:
    network = divided(PODS, topology([ZONE]))
    now = joined(network, [node("n", zone="a")])
    again = Claim("n", "s2", "id2", (("zone", "b"),))
    now = joined(network, [again], now)
    assert now.former["n", "id"].blocks != now.nodes["n"].blocks
    assert is_in_place(now, now.nodes["n"], now.blocks("n")[0])
    assert is_in_place(now, now.former["n", "id"], now.former["n", "id"].blocks[0])


def test_a_node_that_is_relabelled_moves_in_name_and_grows_beside_what_it_has() -> None:
    network = divided(PODS, topology([ZONE]))
    now = joined(network, [node("n", zone="a"), node("m", zone="b")])
    blocks = now.blocks("n")
    now = joined(network, [node("n", zone="b")], now)
    assert (now.blocks("n"), now.nodes["n"].labels) == (blocks, (("zone", "b"),))
    now = grow(now, "n", 3, BUDGET).state
    assert len(now.node_prefixes("n")) == 1
    grown = grow(now, "n", 1, BUDGET).state
    (new,) = set(grown.blocks("n")) - set(now.blocks("n"))
    assert is_in_place(grown, grown.nodes["n"], new)


def test_other_levels_come_into_force_with_the_nodes_that_are_there() -> None:
    zoned = divided(PODS, topology([ZONE]))
    now = joined(zoned, batch(5, zone="a"))
    racked = divided(PODS, topology([SUBNET, RACK]))
    arriving = batch(5, rack="1")
    after = joined(racked, arriving, changed(now, [racked]))
    assert after.places == {}
    assert {one.labels for one in after.nodes.values()} == {(("rack", "1"),)}
    assert {name: one.blocks for name, one in after.nodes.items()} == {
        name: one.blocks for name, one in now.nodes.items()
    }
    assert join(after, arriving, BUDGET).state is after


# What is said before


def test_the_same_networks_have_no_consequences() -> None:
    now = joined(PODS, batch(3))
    assert consequences(now, [PODS], batch(3)) == ()


def test_every_change_is_named() -> None:
    now = joined(PODS, batch(3))
    more = Prefix.parse("10.1.0.0/16")
    wanted = [
        replace(
            PODS,
            cidrs=(*PODS.cidrs, more),
            closed=PODS.cidrs,
            topology=topology([SUBNET], [NamedGroup("all")]),
            static=(StaticAddress("web", Prefix.parse("10.1.0.9/32")),),
        ),
        Network("blue", (Prefix.parse("10.2.0.0/16"),), {V4: 26}, {V4: 24}, tenants=("x", "y")),
    ]
    assert effects(consequences(now, wanted, batch(3))) == [
        ("added", "10.2.0.0/16, for namespaces x, y"),
        ("added", "10.1.0.0/16 is added"),
        ("closed", "no more blocks of 10.0.0.0/16; 3 of 3 nodes stay until they go"),
        ("added", "10.1.0.9/32 is a static address"),
        ("changed", "its levels are groups > subnet from now on"),
        ("added", "group all is added"),
        (
            "moved in name",
            "from the subnet to group all: they keep their blocks, further ones come from there",
        ),
    ]
    back = effects(consequences(changed(now, wanted), [PODS], batch(3)))
    assert ("opened", "blocks are given out of 10.0.0.0/16 again") in back
    assert ("ended", "nothing is given out of it: it goes") in back
    assert ("ended", "group all ends") in back


def test_nodes_that_would_belong_nowhere_are_named() -> None:
    now = joined(PODS, batch(2))
    arriving = [node("n000", zone="a"), node("n001")]
    found = consequences(now, [divided(PODS, topology([ZONE]))], arriving)
    (unplaced,) = [one for one in found if one.effect is Effect.UNPLACED]
    assert (unplaced.subject, unplaced.nodes) == ("node n001", 1)
    assert unplaced.text.startswith("has no label zone, which a level asks for")


WEB = StaticAddress("web", Prefix.parse("10.0.128.9/32"))
BREAKING: dict[str, tuple[Network, str]] = {
    "range gone": (replace(PODS, cidrs=(Prefix.parse("10.128.0.0/16"),)), "is given to subnet s1"),
    "block": (replace(PODS, block={V4: 27}), "`block: {ipv4: 27}` was 26"),
    "node": (replace(PODS, node={V4: 23}), "`node: {ipv4: 23}` was 24"),
    "exclude": (
        replace(PODS, static=(WEB,), exclude=(Prefix.parse("10.0.0.5/32"),)),
        "cannot be excluded while node n001 owns 10.0.0.0/26",
    ),
    "static": (
        replace(PODS, static=(WEB, StaticAddress("x", Prefix.parse("10.0.0.5/32")))),
        "cannot be a static address while node n001 owns 10.0.0.0/26",
    ),
    "granted static": (PODS, "is granted to node n000, but is not in the cluster file"),
    "tenants": (replace(PODS, tenants=("blue",)), "cannot be for tenants while 3 nodes have"),
    "cidr of a group": (
        divided(PODS, topology([], [NamedGroup("g", cidrs=(Prefix.parse("10.0.0.0/20"),))])),
        "which subnet s1 has: choose a range that nobody has",
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_would_break_is_refused_by_name(name: str) -> None:
    network = replace(PODS, static=(WEB,))
    now = grant_static(joined(network, batch(3)), "web", "n000").state
    assert now.nodes["n000"].static == (WEB.prefix,)
    wanted, message = BREAKING[name]
    if name != "granted static" and not wanted.static and name != "range gone":
        wanted = replace(wanted, static=(WEB,))
    everybody = Network("rest", (Prefix.parse("172.16.0.0/16"),), {V4: 26}, {V4: 24})
    with pytest.raises(BadInputError) as caught:
        changed(now, [wanted, everybody])
    found = consequences(now, [wanted, everybody], batch(3))
    refused = [f"{one.subject}: {one.text}" for one in found if one.effect is Effect.REFUSED]
    assert any(message in text for text in refused), refused
    assert str(caught.value) in [text.removeprefix(": ") for text in refused]


def test_a_group_may_not_take_what_another_place_has() -> None:
    network = divided(PODS, topology([ZONE]))
    now = joined(network, [node("n", zone="a")])
    (place,) = now.places.values()
    group = NamedGroup("g", cidrs=place.prefixes)
    wanted = divided(PODS, topology([GROUPS, ZONE], [group]))
    assert changed(now, [wanted]).nodes == now.nodes  # the zone ends: its range is nobody's
    one, other = NamedGroup("one"), NamedGroup("other")
    grouped = divided(PODS, topology([], [NamedGroup("one", hosts=("n",)), other]))
    now = joined(grouped, [node("n")])
    taken = now.places["pods", ("group:one",)].prefixes
    wanted = divided(PODS, topology([], [one, replace(other, hosts=("x",), cidrs=taken)]))
    with pytest.raises(BadInputError, match=r"group other overlaps .* which group one has"):
        changed(now, [wanted])


@given(networks(), st.lists(claims(), max_size=20, unique_by=lambda c: c.node), st.data())
@settings(max_examples=examples(test=60, prove=4_000))
def test_a_change_is_refused_exactly_where_a_consequence_says_so(
    drawn: tuple[Network, ...], arriving: list[Claim], data: st.DataObject
) -> None:
    now = join(state("test", drawn), arriving, {}).state
    wanted = list(data.draw(networks())) if data.draw(st.booleans()) else list(drawn)
    position = data.draw(st.integers(0, len(wanted) - 1))
    one = data.draw(st.sampled_from([PLAIN, data.draw(topologies())]))
    wanted[position] = replace(wanted[position], topology=one)
    found = consequences(now, wanted, arriving)
    refused = [c for c in found if c.effect is Effect.REFUSED]
    try:
        after = changed(now, wanted)
    except BadInputError:
        assert refused
        return
    assert not refused
    assert (after.nodes, after.former) == (now.nodes, now.former)
    if tuple(wanted) == drawn:
        assert {c.effect for c in found} <= {Effect.UNPLACED}
    assert_places_sound(after)


# The command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def rewritten(files: Files, old: str, new: str) -> Path:
    """Another cluster file beside the one of the cluster."""
    path = files.folder / "new.yaml"
    text = files.cluster.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_the_command_shows_what_would_follow(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    stored = files.store.read_bytes()
    new = rewritten(files, "cidrs: [100.64.0.0/10]", "cidrs: [100.64.0.0/10], levels: [zone]")
    ended = command("topology", "check", new, "-f", files.cluster)
    assert ended.code == 0
    assert "its levels are topology.kubernetes.io/zone > subnet from now on" in ended.out
    assert ended.out.count("moved in name") == 3
    ended = command("topology", "check", new, "-f", files.cluster, "-o", "json")
    document: dict[str, Any] = json.loads(ended.out)
    moved = [one for one in document["consequences"] if one["effect"] == "moved in name"]
    assert [one["nodes"] for one in moved] == [6, 4, 2]
    assert files.store.read_bytes() == stored
    ended = command("topology", "check", files.cluster, "-f", files.cluster)
    assert (ended.code, ended.out) == (0, "nothing would change\n")


def test_the_command_refuses_and_names_what_would_break(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    new = rewritten(files, "100.64.0.0/10", "100.64.0.0/11")
    ended = command("topology", "check", new, "-f", files.cluster)
    assert ended.code == 2
    assert "is given to subnet" in ended.out
    assert is_one_line(ended.err)
    files.cluster.write_text(new.read_text())
    ended = command("plan", "-f", files.cluster)
    assert ended.code == 2
    assert "is given to subnet" in ended.err


def test_the_command_names_nodes_that_would_belong_nowhere(command: Runner, files: Files) -> None:
    level = "cidrs: [100.64.0.0/10], levels: [{label: rack}]"
    new = rewritten(files, "cidrs: [100.64.0.0/10]", level)
    ended = command("topology", "check", new, "-f", files.cluster)
    assert ended.code == 3
    assert "12 nodes would belong nowhere" in ended.err
    assert is_one_line(ended.err)
    ended = command("plan", "-f", new)
    assert ended.code == 3
    assert "has no label rack" in ended.err


def test_the_command_wants_two_files_of_one_cluster(command: Runner, files: Files) -> None:
    new = rewritten(files, "cluster: example", "cluster: other")
    ended = command("topology", "check", new, "-f", files.cluster)
    assert ended.code == 2
    assert "name two files of one cluster" in ended.err
