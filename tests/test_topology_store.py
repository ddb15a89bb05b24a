"""Divided networks in a store: found again as they were, whoever wrote, whatever was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam import codec
from ipam.errors import BadInputError
from ipam.model import Claim, Network, State
from ipam.networks import changed
from ipam.placement import Outcome
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.static import grant_static, release_static
from ipam.store.memory import MemoryStore
from ipam.store.port import Put, Store
from ipam.topology import (
    SUBNET,
    Level,
    LevelKind,
    NamedGroup,
    StaticAddress,
    Topology,
    topology,
)
from tests.address_checks import assert_sound
from tests.counts import examples
from tests.topologies import assert_places_sound, claims, is_in_place, networks, topologies

V4 = Family.IPV4
BUDGET = {V4: 44, Family.IPV6: 44}
ZONE, RACK = Level(LevelKind.LABEL, "zone"), Level(LevelKind.LABEL, "rack")
PODS = Network(
    "pods",
    (Prefix.parse("10.0.0.0/16"),),
    {V4: 26},
    {V4: 24},
    topology=topology([ZONE, SUBNET, RACK]),
)


def addresses(store: Store, wanted: Sequence[Network]) -> Addresses:
    return Addresses(store, "test", tuple(wanted), pause=lambda _: None)


def node(name: str, subnet: str = "s1", **labels: str) -> Claim:
    return Claim(name, subnet, "id", tuple(sorted(labels.items())))


def assert_kept(store: Store, wanted: Sequence[Network], expected: State) -> None:
    found = addresses(store, wanted).load()
    assert found == expected
    assert_sound(found)
    assert_places_sound(found)


def test_places_labels_and_static_addresses_are_found_again() -> None:
    store = MemoryStore()
    pods = replace(PODS, static=(StaticAddress("web/one", Prefix.parse("10.0.0.7/32")),))
    mine = addresses(store, [pods])
    mine.join([node("n1", zone="a/ü", rack="1"), node("n2", "s 2", zone="b", rack="%2")], BUDGET)
    given = mine.change(lambda state: grant_static(state, "web/one", "n1")).state
    assert given.nodes["n1"].static == (Prefix.parse("10.0.0.7/32"),)
    assert given.nodes["n2"].labels == (("rack", "%2"), ("zone", "b"))
    assert len(given.places) == 4
    assert_kept(store, [pods], given)
    assert store.get(codec.block_key(Prefix.parse("10.0.0.7/32"))) is not None
    left = mine.leave(["n1"])
    assert_kept(store, [pods], left)
    assert store.get(codec.block_key(Prefix.parse("10.0.0.7/32"))) is None


def test_a_static_address_moves_only_by_release_and_grant() -> None:
    store = MemoryStore()
    pods = replace(PODS, static=(StaticAddress("web", Prefix.parse("10.0.0.7/32")),))
    one, other = addresses(store, [pods]), addresses(store, [pods])
    one.join([node("n1", zone="a", rack="1"), node("n2", zone="a", rack="1")], BUDGET)
    other.load()
    assert not one.change(partial(grant_static, name="web", node="n1")).refused
    refused = other.change(partial(grant_static, name="web", node="n2")).refused
    assert "is granted to node n1" in refused[0].reason
    one.change(lambda state: Outcome(release_static(state, "web"), ()))
    assert not other.change(partial(grant_static, name="web", node="n2")).refused
    assert_kept(store, [pods], other.load())


def test_two_writers_never_give_one_part_to_two_places() -> None:
    store = MemoryStore()
    one, other = addresses(store, [PODS]), addresses(store, [PODS])
    for number in range(12):
        writer, zone = (one, "a") if number % 2 else (other, "b")
        arriving = node(f"n{number}", f"s{number % 3}{zone}", zone=zone, rack=str(number % 4))
        assert not writer.join([arriving], BUDGET).refused
    now = addresses(store, [PODS]).load()
    assert_sound(now)
    assert_places_sound(now)
    for owner in now.nodes.values():
        assert is_in_place(now, owner, owner.blocks[0])


def test_places_that_end_go_from_the_store_with_the_next_change() -> None:
    store = MemoryStore()
    addresses(store, [PODS]).join([node("n1", zone="a", rack="1")], BUDGET)
    plain = replace(PODS, topology=topology())
    mine = addresses(store, [plain])
    assert len(store.range(codec.PLACES).items) == 2
    mine.join([node("n2")], BUDGET)
    assert store.range(codec.PLACES).items == ()
    assert_kept(store, [plain], mine.load())


def test_a_change_that_would_break_something_writes_nothing() -> None:
    store = MemoryStore()
    pods = replace(PODS, static=(StaticAddress("web", Prefix.parse("10.0.0.7/32")),))
    mine = addresses(store, [pods])
    mine.join([node("n1", zone="a", rack="1")], BUDGET)
    mine.change(partial(grant_static, name="web", node="n1"))
    before = store.range("")
    for broken, message in (
        (replace(pods, static=()), "is granted to node n1, but is not in the cluster file"),
        (replace(pods, cidrs=(Prefix.parse("10.1.0.0/16"),), static=()), "is given to subnet s1"),
    ):
        with pytest.raises(BadInputError, match=message):
            addresses(store, [broken]).join([node("n2", zone="a", rack="1")], BUDGET)
        assert store.range("").items == before.items


def test_places_that_overlap_in_the_store_are_refused() -> None:
    store = MemoryStore()
    addresses(store, [PODS]).join([node("n1", zone="a", rack="1")], BUDGET)
    (place, _) = addresses(store, [PODS]).load().places.values()
    twin = replace(place, path=("zone=x",))
    store.txn([], [Put(codec.place_key(twin.key), codec.encode(twin))])
    with pytest.raises(BadInputError, match=r"zone=a and .* of zone=x overlap: restore the store"):
        addresses(store, [PODS]).load()


@given(
    networks(),
    st.lists(st.lists(claims(), max_size=6, unique_by=lambda c: c.node), max_size=4),
    topologies(),
)
@settings(max_examples=examples(test=40, prove=2_000))
def test_a_store_holds_what_placement_decides(
    drawn: tuple[Network, ...], batches: list[list[Claim]], divided: Topology
) -> None:
    store = MemoryStore()
    mine = addresses(store, drawn)
    for batch in batches:
        expected = mine.join(batch, BUDGET).state
        assert_kept(store, drawn, expected)
    wanted = [replace(drawn[0], topology=divided), *drawn[1:]]
    before = addresses(store, drawn).load()
    other = addresses(store, wanted)
    try:
        after = changed(before, wanted)
    except BadInputError:
        with pytest.raises(BadInputError):
            other.load()
        return
    assert other.load().nodes == after.nodes
    for batch in batches:
        again = [structs.replace(claim, identity="other") for claim in batch]
        assert_kept(store, wanted, other.join(again, BUDGET).state)


def test_many_groups_are_written_in_transactions_that_fit() -> None:
    count = examples(test=300, prove=3_000)
    groups = [NamedGroup(f"g{n}", labels=(("rack", f"r{n}"),)) for n in range(count)]
    pods = replace(PODS, topology=topology((), groups))
    store = MemoryStore()
    arriving = [node(f"n{n:05}", f"s{n % 3}", rack=f"r{n}") for n in range(count)]
    outcome = addresses(store, [pods]).join(arriving, BUDGET)
    assert len(outcome.state.nodes) + len(outcome.refused) == count
    assert_kept(store, [pods], outcome.state)
