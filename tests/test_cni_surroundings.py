"""A node's view of its cluster: its own subnet, by identity, whatever other agents write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.feed import Feed
from cni.surroundings import Surroundings, View, agent_key, dump_uplinks, report_key
from ipam import codec
from ipam.claims import Claims
from ipam.codec import BlockRecord, NodeRecord
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.store.memory import MemoryStore
from ipam.store.port import Delete, Operation, Put, RangeResult
from ipam.topology import StaticAddress

RANGE = Prefix.parse("10.64.0.0/16")


Items = Sequence[tuple[str, bytes]]


def node(name: str, subnet: str, *blocks: str, identity: str = "", version: int = 2) -> Items:
    """A node's record and its blocks'; in version 1 that of the node does not name them."""
    identity = identity or f"i-{name}"
    owned = [BlockRecord(Prefix.parse(block), name, identity) for block in blocks]
    named = tuple(block.prefix for block in owned) if version > 1 else None
    record = NodeRecord(name, identity, subnet, "token", named)
    return [
        (codec.node_key(name), codec.encode(record)),
        *((codec.block_key(block.prefix), codec.encode(block)) for block in owned),
    ]


NETWORK = Network("pods", (RANGE,), {Family.IPV4: 26}, {Family.IPV4: 24})
STORE = [
    (codec.network_key("pods"), codec.encode(NETWORK)),
    *node("me", "a", "10.64.0.0/26", "10.64.0.64/26"),
    *node("near/1", "a", "10.64.1.0/26"),
    *node("far", "b", "10.64.128.0/26"),
    ("/routes/rtb-1/10.64.0.0%2F16", b"{}"),
    (agent_key("a", "near/1"), dump_uplinks("i-near/1", {Family.IPV4: 7})),
    (agent_key("b", "far"), dump_uplinks("i-far", {Family.IPV4: 8})),
]


def stored(items: Items) -> MemoryStore:
    made = MemoryStore()
    write(made, items)
    return made


def write(store: MemoryStore, items: Items) -> None:
    store.txn([], [Put(key, value) for key, value in dict(items).items()])


def seen_in(store: MemoryStore, identity: str = "i-me") -> Surroundings | None:
    """What a node that starts now sees."""
    made = View("me", identity)
    Feed(store, made).read()
    return made.look()


def view(items: Items) -> Surroundings:
    seen = seen_in(stored(items))
    assert seen is not None
    return seen


def test_a_node_sees_its_own_subnet() -> None:
    seen = view(STORE)
    assert seen.blocks == (Prefix.parse("10.64.0.0/26"), Prefix.parse("10.64.0.64/26"))
    assert seen.neighbours == {"near/1": (Prefix.parse("10.64.1.0/26"),)}
    assert seen.uplinks == {"near/1": {Family.IPV4: 7}}
    assert seen.networks == (NETWORK,)
    assert seen.ranges == (RANGE,)
    assert seen.unrouted == ()


def test_a_static_address_is_no_block_for_any_pod() -> None:
    static = (StaticAddress("web", Prefix.parse("10.64.0.130/32")),)
    changed = (codec.network_key("pods"), codec.encode(replace(NETWORK, static=static)))
    granted = static[0].prefix
    seen = view([*STORE, changed, *node("me", "a", "10.64.0.0/26", "10.64.0.64/26", str(granted))])
    assert seen.blocks == view(STORE).blocks
    seen = view([*STORE, changed, *node("near/1", "a", str(granted))])
    assert static[0].prefix in seen.neighbours["near/1"]


def test_a_node_with_another_identity_is_not_this_one() -> None:
    assert seen_in(stored(STORE), "i-other") is None


def test_an_address_of_a_former_node_of_that_name_is_not_used() -> None:
    stale = [(agent_key("a", "near/1"), dump_uplinks("i-before", {Family.IPV4: 9}))]
    assert view([*STORE, *stale]).uplinks == {}


@given(
    st.binary(max_size=30)
    | st.sampled_from([b'{"addresses":{"ipv4":1}}', b'{"identity":"x","addresses":["1"]}', b"[]"])
)
def test_what_one_agent_writes_wrongly_harms_only_itself(value: bytes) -> None:
    seen = view([*STORE, (agent_key("a", "other"), value)])
    assert seen.uplinks == {"near/1": {Family.IPV4: 7}}
    assert len(seen.problems) == 1
    assert "node other" in seen.problems[0]


def test_a_neighbour_without_an_address_is_said() -> None:
    assert view(STORE[:-2]).unrouted == (Prefix.parse("10.64.1.0/26"),)


def test_what_cannot_be_read_leaves_what_was_known() -> None:
    store = stored(STORE)
    made = View("me", "i-me")
    feed = Feed(store, made)
    feed.read()
    write(store, [(codec.node_key("near/1"), b"{}")])
    assert feed.wait(0)
    seen = made.look()
    assert seen is not None
    assert seen.neighbours == {"near/1": (Prefix.parse("10.64.1.0/26"),)}
    assert "near" in seen.problems[0]


def test_blocks_that_their_nodes_record_does_not_name_are_seen() -> None:
    old = node("near/1", "a", "10.64.1.0/26", "10.64.2.0/26", version=1)
    assert view([*STORE, *old]).neighbours == {
        "near/1": (Prefix.parse("10.64.1.0/26"), Prefix.parse("10.64.2.0/26"))
    }


MORE = [
    *STORE,
    *node("old", "a", "10.64.3.0/26", version=1),
    *node("me", "b", "10.64.0.0/26"),
    *node("me", "a", "10.64.0.0/26", identity="i-other"),
    *node("far", "a", "10.64.128.0/26"),
    (agent_key("a", "far"), dump_uplinks("i-far", {Family.IPV4: 9})),
    (codec.node_key("far"), b"{}"),
]
CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from(MORE), st.booleans()), min_size=1, max_size=3), max_size=12
)


@given(CHANGES)
def test_change_by_change_is_the_same_as_at_once(
    changes: list[list[tuple[tuple[str, bytes], bool]]],
) -> None:
    store = stored(STORE)
    followed = View("me", "i-me")
    feed = Feed(store, followed)
    feed.read()
    for together in changes:
        operations: dict[str, Operation] = {
            key: Put(key, value) if is_there else Delete(key) for (key, value), is_there in together
        }
        store.txn([], list(operations.values()))
        feed.wait(0)
        at_once = seen_in(store)
        if at_once is None or not at_once.problems:
            assert followed.look() == at_once


def test_a_store_that_forgot_changes_is_read_again() -> None:
    store = stored(STORE)
    made = View("me", "i-me")
    feed = Feed(store, made)
    feed.read()
    store.txn([], [Delete(codec.node_key("near/1"))])
    write(store, node("near/2", "a", "10.64.2.0/26"))
    store.compact(store.range("/").revision)
    assert feed.wait(0)
    assert made.look() == seen_in(store)


class Counting(MemoryStore):
    """Counts what a node is told: keys that it reads, and events."""

    read = 0

    def range(self, prefix: str) -> RangeResult:
        found = super().range(prefix)
        self.read += len(found.items)
        return found


def test_a_node_hears_nothing_of_what_others_renew_claim_or_report() -> None:
    store = stored(STORE)
    made = View("me", "i-me")
    feed = Feed(store, made)
    feed.read()
    for name, subnet in (("near/1", "a"), ("far", "b")):
        claims = Claims(store, name, f"i-{name}")
        claims.register(subnet, {}, {Family.IPV4: 1})
        claims.keep_alive(15.0)
        claims.keep_alive(15.0)
        write(store, [(report_key(name, f"i-{name}"), b"{}")])
    write(store, [(agent_key("b", "far"), dump_uplinks("i-far", {Family.IPV4: 9}))])
    write(store, [(codec.block_key(Prefix.parse("10.64.130.0/26")), STORE[3][1])])
    assert not feed.wait(0)
    assert feed.revision == store.range("/").revision


@pytest.mark.parametrize("others", [0, 50])
def test_a_node_reads_one_record_for_each_node_of_other_subnets(others: int) -> None:
    store = Counting()
    write(store, STORE)
    for number in range(others):
        name = f"other-{number}"
        prefix = Prefix(Family.IPV4, (10 << 24) + (128 << 16) + (number << 6), 26)
        write(store, node(name, "b", str(prefix)))
        write(store, [(agent_key("b", name), dump_uplinks(f"i-{name}", {Family.IPV4: number}))])
    seen_in(store)
    assert store.read == 5 + others  # three nodes, a network, what one neighbour's agent says
