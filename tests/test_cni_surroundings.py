"""A node's view of its cluster: its own subnet, by identity, whatever other agents write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cni.surroundings import Surroundings, agent_key, dump_uplinks, read
from ipam import codec
from ipam.codec import BlockRecord, NodeRecord
from ipam.model import Network
from ipam.prefix import Family, Prefix

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


def view(items: list[tuple[str, bytes]], identity: str = "i-me") -> Surroundings:
    seen = read(items, "me", identity)
    assert seen is not None
    return seen


def test_a_node_sees_its_own_subnet() -> None:
    seen = view(STORE)
    assert seen.blocks == (Prefix.parse("10.64.0.0/26"), Prefix.parse("10.64.0.64/26"))
    assert seen.neighbours == {"near/1": (Prefix.parse("10.64.1.0/26"),)}
    assert seen.uplinks == {"near/1": {Family.IPV4: 7}}
    assert seen.networks == (RANGE,)


def test_a_node_with_another_identity_is_not_this_one() -> None:
    assert read(STORE, "me", "i-other") is None


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
