"""Nodes claim blocks, an allocator grants them, nodes give them back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipam import claim_records, codec
from ipam.allocator import Allocator, Tenure
from ipam.claims import Claims
from ipam.errors import BadInputError, ConflictError
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Put, Store
from ipam.topology import SUBNET, Level, LevelKind, topology
from tests.address_checks import assert_sound

V4, V6 = Family.IPV4, Family.IPV6
BUDGET = {V4: 10, V6: 10}
ONE = {V4: 1, V6: 1}
PODS = Network(
    "pods",
    (Prefix.parse("10.0.0.0/20"), Prefix.parse("fd00:0:0:ff00::/56")),
    block={V4: 26, V6: 80},
    node={V4: 24, V6: 64},
)
TINY = Network("tiny", (Prefix.parse("10.0.0.0/24"),), block={V4: 26}, node={V4: 24})


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def addresses(store: Store, network: Network = PODS) -> Addresses:
    return Addresses(store, "test", (network,), pause=lambda _: None)


def allocator(store: Store, network: Network = PODS) -> Allocator:
    return Allocator(store, addresses(store, network))


def asking(store: Store, node: str, identity: str = "id", subnet: str = "a") -> Claims:
    claims = Claims(store, node, identity)
    claims.register(subnet, {"rack": "7"}, ONE)
    return claims


def counts(claims: Claims) -> tuple[int, int]:
    blocks = claims.granted().blocks
    return sum(b.family is V4 for b in blocks), sum(b.family is V6 for b in blocks)


def test_a_node_that_claims_is_granted_a_block_of_each_family() -> None:
    store = MemoryStore()
    claims = asking(store, "n1")
    before = claims.granted()
    assert (before.blocks, before.subnet, before.refused) == ((), "", "")
    result = allocator(store).run(BUDGET)
    assert not result.refused
    after = claims.granted()
    assert (counts(claims), after.subnet, after.is_former) == ((1, 1), "a", False)
    assert after.revision > before.revision
    assert result.state == addresses(store).load()
    assert result.state.blocks("n1") == after.blocks
    assert_sound(result.state)


def test_asking_again_changes_nothing() -> None:
    store = MemoryStore()
    asking(store, "n1")
    mine = allocator(store)
    mine.run(BUDGET)
    before = store.range("")
    asking(store, "n1")
    mine.run(BUDGET)
    allocator(store).run(BUDGET)
    assert store.range("") == before


def test_a_node_is_granted_further_blocks_of_the_family_that_it_wants_more_of() -> None:
    store = MemoryStore()
    claims, mine = asking(store, "n1"), allocator(store)
    claims.claim({V4: 3, V6: 1})
    mine.run(BUDGET)
    assert counts(claims) == (3, 1)
    claims.claim({V4: 2, V6: 2})
    mine.run(BUDGET)
    assert counts(claims) == (3, 2)
    assert_sound(addresses(store).load())


def test_starting_again_keeps_what_was_claimed_and_what_is_given_back() -> None:
    store = MemoryStore()
    claims, mine = asking(store, "n1"), allocator(store)
    claims.claim({V4: 3, V6: 1})
    mine.run(BUDGET)
    gone = claims.granted().blocks[1]
    claims.give_back([gone], {V4: 2, V6: 1})
    again = asking(store, "n1")
    assert gone not in again.granted().blocks
    mine.run(BUDGET)
    assert counts(again) == (2, 1)
    assert store.get(codec.block_key(gone)) is None


def test_a_block_that_was_given_back_and_granted_again_is_another_one() -> None:
    store = MemoryStore()
    claims, mine = asking(store, "n1"), allocator(store, TINY)
    claims.claim({V4: 4})
    mine.run(BUDGET)
    gone = claims.granted().blocks[0]
    claims.give_back([gone], {V4: 3})
    late = store.get(claim_records.claim_key(("n1", "id")))
    assert late is not None
    mine.run(BUDGET)
    assert counts(claims) == (3, 0)
    claims.claim({V4: 4})
    mine.run(BUDGET)
    assert gone in claims.granted().blocks
    store.txn([], [Put(late.key, late.value)])  # as if it had never taken note
    mine.run(BUDGET)
    assert gone in claims.granted().blocks
    assert gone in addresses(store, TINY).load().blocks("n1")


def test_blocks_of_others_cannot_be_given_back() -> None:
    store = MemoryStore()
    one, other, mine = asking(store, "n1"), asking(store, "n2"), allocator(store)
    mine.run(BUDGET)
    one.give_back([*other.granted().blocks, Prefix.parse("10.0.15.0/26")], ONE)
    mine.run(BUDGET)
    assert counts(one) == counts(other) == (1, 1)


def test_a_claim_that_cannot_be_granted_is_refused_until_there_is_room() -> None:
    store = MemoryStore()
    mine = allocator(store, TINY)
    nodes = [asking(store, f"n{number}") for number in range(5)]
    result = mine.run(BUDGET)
    (left,) = [claims for claims in nodes if not claims.granted().blocks]
    assert len(result.refused) == 1
    assert "no ipv4 block is left for subnet a" in left.granted().refused
    others = [claims for claims in nodes if claims is not left]
    assert not any(claims.granted().refused for claims in others)
    others[0].give_back(others[0].granted().blocks, {})
    mine.run(BUDGET)
    assert counts(left) == (1, 0)
    assert left.granted().refused == ""
    assert store.range(claim_records.REFUSALS).items == ()


def test_a_refusal_is_of_one_claim_and_not_of_the_next() -> None:
    store = MemoryStore()
    claims, mine = asking(store, "n1"), allocator(store, TINY)
    claims.claim({V4: 5})
    mine.run(BUDGET)
    assert claims.granted().refused
    claims.claim({V4: 4})
    assert not claims.granted().refused


def test_the_same_name_with_another_identity_is_another_node() -> None:
    store = MemoryStore()
    old, mine = asking(store, "n1", "old"), allocator(store)
    mine.run(BUDGET)
    new = asking(store, "n1", "new")
    old.claim({V4: 3, V6: 1})  # later than the new one's, but the old one is the former
    result = mine.run(BUDGET)
    assert counts(old) == counts(new) == (1, 1)
    assert not set(old.granted().blocks) & set(new.granted().blocks)
    assert old.granted().is_former
    assert "is new by now, not old" in old.granted().refused
    assert list(result.refused) == [("n1", "old")]
    old.give_back(old.granted().blocks, {})
    state = mine.run(BUDGET).state
    assert state.former["n1", "old"].blocks == ()
    assert_sound(state)


def test_what_a_node_asks_for_ends_with_the_node() -> None:
    store = MemoryStore()
    claims, mine = asking(store, "n1"), allocator(store)
    claims.keep_alive(60)
    mine.run(BUDGET)
    addresses(store).leave(["n1"])
    for folder in (claim_records.CLAIMS, claim_records.ALIVE, codec.BLOCKS):
        assert store.range(folder).items == ()
    assert mine.run(BUDGET).state.nodes == {}
    with pytest.raises(ConflictError, match="register it again"):
        claims.claim({V4: 2})


def test_who_is_not_admitted_gets_nothing_and_is_told_why() -> None:
    store = MemoryStore()
    claims = asking(store, "n1")
    mine = Allocator(store, addresses(store), lambda claim: f"node {claim.node} is not listed")
    assert mine.run(BUDGET).refused == {("n1", "id"): "node n1 is not listed"}
    assert claims.granted().refused == "node n1 is not listed"
    assert addresses(store).load().nodes == {}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"v":1}',
        b'{"v":0}',
        b'{"labels":{},"returned":{},"subnet":"a","v":1,"wanted":{"":{"ipv4":-1}}}',
        b'{"labels":{},"returned":{},"subnet":"a","v":1,"wanted":{"":{"ipv4":true}}}',
        b'{"labels":{},"returned":{},"subnet":"a","v":1,"wanted":{"":{"ipv5":1}}}',
        b'{"labels":{},"returned":{"10.0.0.1/8":""},"subnet":"a","v":1,"wanted":{}}',
        b'{"labels":[],"returned":{},"subnet":"a","v":1,"wanted":{}}',
        b'{"labels":{},"returned":{},"subnet":3,"v":1,"wanted":{}}',
    ],
)
def test_a_claim_that_cannot_be_read_is_named_and_the_others_are_granted(value: bytes) -> None:
    store = MemoryStore()
    store.txn([], [Put("/claims/bad/id", value)])
    claims = asking(store, "n1")
    result = allocator(store).run(BUDGET)
    assert list(result.unreadable) == ["/claims/bad/id"]
    assert "restart the agent of that node" in result.unreadable["/claims/bad/id"]
    assert counts(claims) == (1, 1)
    with pytest.raises(BadInputError):
        Claims(store, "bad", "id").granted()


@pytest.mark.parametrize("key", ["/claims/x", "/claims//x", "/claims/x/", "/claims/x/y/z"])
def test_a_claim_of_nobody_is_named(key: str) -> None:
    store = MemoryStore()
    store.txn([], [Put(key, b"{}")])
    assert list(allocator(store).run(BUDGET).unreadable) == [key]


def test_a_network_that_is_not_there_is_refused_by_name() -> None:
    store = MemoryStore()
    claims = asking(store, "n1")
    claims.claim({V4: 1}, network="tenant")
    allocator(store).run(BUDGET)
    assert "network tenant, which is not in the cluster file" in claims.granted().refused


def test_blocks_are_claimed_of_one_network_and_the_labels_of_a_node_reach_its_record() -> None:
    tenant = Network(
        "tenant", (Prefix.parse("10.9.0.0/24"),), {V4: 26}, {V4: 26}, tenants=("team-a",)
    )
    racks = replace(PODS, topology=topology([SUBNET, Level(LevelKind.LABEL, "rack")]))
    store = MemoryStore()
    both = Addresses(store, "test", (racks, tenant), pause=lambda _: None)
    claims, mine = asking(store, "n1"), Allocator(store, both)
    claims.claim({V4: 2}, network="tenant")
    state = mine.run(BUDGET).state
    of_tenant = [b for b in claims.granted().blocks if tenant.cidrs[0].contains(b)]
    assert (counts(claims), len(of_tenant)) == ((3, 1), 2)
    assert state.nodes["n1"].labels == (("rack", "7"),)
    claims.register("a", {"rack": "8", "other": "x"}, ONE)
    state = mine.run(BUDGET).state
    assert state.nodes["n1"].labels == (("rack", "8"),)
    assert counts(claims) == (3, 1)
    before = store.range("")
    mine.run(BUDGET)
    assert store.range("") == before


def test_one_holds_the_lease_of_the_allocator_until_it_ends() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    one, other = Tenure(store, "one", 10), Tenure(store, "other", 10)
    assert one.hold()
    assert not other.hold()
    clock.now += 9
    assert one.hold()
    clock.now += 9
    assert not other.hold()
    clock.now += 2
    assert other.hold()
    assert not one.hold()
    other.release()
    assert one.hold()


def test_a_lease_of_a_node_comes_again_after_it_has_ended_and_takes_nothing_away() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    claims, mine = asking(store, "n1"), allocator(store)
    claims.keep_alive(10)
    mine.run(BUDGET)
    clock.now += 11
    assert store.range(claim_records.ALIVE).items == ()
    assert mine.run(BUDGET).state.blocks("n1") == claims.granted().blocks != ()
    claims.keep_alive(10)
    assert len(store.range(claim_records.ALIVE).items) == 1
    claims.stop()
    assert store.range(claim_records.ALIVE).items == ()


def test_a_node_waits_for_its_grant() -> None:
    store = MemoryStore()
    claims = asking(store, "n1")
    before = claims.granted()
    assert claims.wait(before, 0.01).blocks == ()
    allocator(store).run(BUDGET)
    assert claims.wait(before, 10).blocks


def test_records_of_the_first_version_are_written_anew_with_their_next_change() -> None:
    store = MemoryStore()
    claims, mine = asking(store, "n1"), allocator(store)
    state = mine.run(BUDGET).state
    store.txn([], [Put("/nodes/n1", b'{"v":1,"identity":"id","subnet":"a","token":"0"}')])
    for block in state.blocks("n1"):
        store.txn([], [Put(codec.block_key(block), b'{"v":1,"identity":"id","node":"n1"}')])
    assert mine.run(BUDGET).state == state
    assert claims.granted().blocks == state.blocks("n1")
    claims.give_back([state.blocks("n1")[0]], {V4: 1, V6: 1})
    assert len(claims.granted().blocks) == 1
    mine.run(BUDGET)
    mine.run(BUDGET)
    assert counts(claims) == (1, 1)
    item = store.get("/nodes/n1")
    assert item is not None
    assert b'"v":2' in item.value
