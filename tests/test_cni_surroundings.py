"""A node's view of its cluster: its own subnet, by identity, whatever other agents write."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cni.surroundings import FOLDERS, Surroundings, View, agent_key, dump_uplinks
from ipam import codec
from ipam.codec import BlockRecord, NodeRecord
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.topology import StaticAddress

RANGE = Prefix.parse("10.64.0.0/16")


def node(name: str, subnet: str, *blocks: str, identity: str = "") -> list[tuple[str, bytes]]:
    identity = identity or f"i-{name}"
    record = NodeRecord(name, identity, subnet, "token")
    owned = [BlockRecord(Prefix.parse(block), name, identity) for block in blocks]
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
    (agent_key("near/1"), dump_uplinks("i-near/1", {Family.IPV4: 7})),
    (agent_key("far"), dump_uplinks("i-far", {Family.IPV4: 8})),
]


def seen_by(items: list[tuple[str, bytes]], identity: str = "i-me") -> View:
    made = View("me", identity)
    for key, value in items:
        made.put(key, value)
    return made


def view(items: list[tuple[str, bytes]], identity: str = "i-me") -> Surroundings:
    seen = seen_by(items, identity).look()
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
    granted = BlockRecord(static[0].prefix, "me", "i-me")
    seen = view([*STORE, changed, (codec.block_key(granted.prefix), codec.encode(granted))])
    assert seen.blocks == view(STORE).blocks
    near = BlockRecord(static[0].prefix, "near/1", "i-near/1")
    seen = view([*STORE, changed, (codec.block_key(near.prefix), codec.encode(near))])
    assert static[0].prefix in seen.neighbours["near/1"]


def test_a_node_with_another_identity_is_not_this_one() -> None:
    assert seen_by(STORE, "i-other").look() is None


def test_an_address_of_a_former_node_of_that_name_is_not_used() -> None:
    stale = [(agent_key("near/1"), dump_uplinks("i-before", {Family.IPV4: 9}))]
    assert view(STORE[:-2] + stale).uplinks == {}


@given(
    st.binary(max_size=30)
    | st.sampled_from([b'{"addresses":{"ipv4":1}}', b'{"identity":"x","addresses":["1"]}', b"[]"])
)
def test_what_one_agent_writes_wrongly_harms_only_itself(value: bytes) -> None:
    seen = view([*STORE, (agent_key("other"), value)])
    assert seen.uplinks == {"near/1": {Family.IPV4: 7}}
    assert len(seen.problems) == 1
    assert "node other" in seen.problems[0]


def test_a_neighbour_without_an_address_is_said() -> None:
    assert view(STORE[:-2]).unrouted == (Prefix.parse("10.64.1.0/26"),)


def test_what_cannot_be_read_leaves_what_was_known() -> None:
    seen = view([*STORE, (codec.node_key("near/1"), b"{}")])
    assert seen.neighbours == {"near/1": (Prefix.parse("10.64.1.0/26"),)}
    assert "near" in seen.problems[0]


CHANGES = st.lists(
    st.tuples(st.sampled_from([key for key, _ in STORE]), st.booleans()), max_size=30
)


@given(CHANGES)
def test_change_by_change_is_the_same_as_at_once(changes: list[tuple[str, bool]]) -> None:
    values = dict(STORE)
    followed = seen_by(STORE)
    present = dict(STORE)
    for key, is_there in changes:
        followed.put(key, values[key] if is_there else None)
        present.pop(key, None)
        if is_there:
            present[key] = values[key]
    assert followed.look() == seen_by(list(present.items())).look()


@given(st.sampled_from(FOLDERS))
def test_a_folder_that_is_read_again_is_the_same(folder: str) -> None:
    made = seen_by(STORE)
    made.forget(folder)
    for key, value in STORE:
        if key.startswith(folder):
            made.put(key, value)
    assert made.look() == seen_by(STORE).look()
