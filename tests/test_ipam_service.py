"""Addresses in a store: kept whole, found again, shared by several writers at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam import codec
from ipam.errors import BadInputError, UnavailableError
from ipam.model import Claim, Network, SubnetShare
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Compare, Delete, Put, Store
from tests.address_checks import assert_sound
from tests.counts import examples
from tests.faulty_store import FaultyStore

V4 = Family.IPV4
BUDGET = {V4: 10, Family.IPV6: 10}


def network(
    *cidrs: str, block: int = 26, node: int = 24, exclude: tuple[str, ...] = (), name: str = "pods"
) -> Network:
    return Network(
        name,
        tuple(Prefix.parse(cidr) for cidr in cidrs),
        block={V4: block, Family.IPV6: 80},
        node={V4: node, Family.IPV6: 64},
        exclude=tuple(Prefix.parse(prefix) for prefix in exclude),
    )


PODS = network("100.64.0.0/16", "fd00:0:0:ff00::/56")


def addresses(store: Store, *networks: Network, cluster: str = "test") -> Addresses:
    return Addresses(store, cluster, networks or (PODS,), pause=lambda _: None)


def claims(*names: str, subnet: str = "a") -> list[Claim]:
    return [Claim(name, subnet, f"id of {name}") for name in names]


def test_looking_writes_nothing() -> None:
    store = MemoryStore()
    found = addresses(store).load()
    assert (found.cluster, found.networks, dict(found.nodes)) == ("test", (PODS,), {})
    assert addresses(store).leave(["nobody"]) == found
    assert addresses(store).join([], BUDGET).state == found
    assert store.range("").items == ()


def test_what_was_given_out_is_found_again() -> None:
    store = MemoryStore()
    mine = addresses(store)
    given = mine.join([*claims("n1", "n2"), *claims("m/1%", subnet="b ü")], BUDGET).state
    assert addresses(store).load() == given
    assert mine.load() == given
    assert_sound(given)
    grown = mine.grow("m/1%", 3, BUDGET).state
    assert len(grown.blocks("m/1%")) == 8
    assert addresses(store).load() == grown
    left = mine.leave(["n1"])
    assert addresses(store).load() == left
    assert "n1" not in left.nodes


def test_a_node_that_is_there_is_not_written_again() -> None:
    store = MemoryStore()
    addresses(store).join(claims("n1"), BUDGET)
    before = store.range("")
    again = addresses(store).join(claims("n1"), BUDGET)
    assert not again.refused
    assert store.range("") == before


def test_a_new_identity_is_a_new_node_and_the_former_keeps_its_blocks_until_released() -> None:
    store = MemoryStore()
    mine = addresses(store)
    first = mine.join([Claim("n1", "a", "old")], BUDGET).state.blocks("n1")
    second = mine.join([Claim("n1", "a", "new")], BUDGET).state
    assert not set(first) & set(second.blocks("n1"))
    assert second.former["n1", "old"].blocks == first
    assert addresses(store).load() == second
    after = mine.leave(["n1"])
    assert after.former["n1", "old"].blocks == first
    freed = mine.release([("n1", "old")])
    assert not freed.former
    assert addresses(store).load() == freed
    assert store.range(codec.BLOCKS).items == ()


def test_an_identity_that_comes_back_has_its_blocks_again() -> None:
    store = MemoryStore()
    mine = addresses(store)
    first = mine.join([Claim("n1", "a", "old")], BUDGET).state.blocks("n1")
    mine.join([Claim("n1", "a", "new")], BUDGET)
    back = mine.join([Claim("n1", "a", "old")], BUDGET).state
    assert back.blocks("n1") == first
    assert list(back.former) == [("n1", "new")]
    assert addresses(store).load() == back


def test_more_than_a_transaction_takes_is_written_in_several() -> None:
    store = FaultyStore(MemoryStore(max_operations=8))
    mine = addresses(store)
    outcome = mine.join(claims(*(f"n{number}" for number in range(20))), BUDGET)
    assert not outcome.refused
    assert store.transactions > 5
    assert mine.grow("n3", 20, BUDGET).state == addresses(store).load()
    assert len(mine.load().blocks("n3")) == 42
    assert mine.leave(["n3"]) == addresses(store).load()
    assert_sound(mine.load())


def test_a_growth_that_does_not_fit_changes_nothing_even_when_it_takes_several_writes() -> None:
    store = MemoryStore(max_operations=8)
    mine = addresses(store, network("10.0.0.0/24"))
    before = mine.join(claims("n1"), BUDGET).state
    outcome = mine.grow("n1", 4, BUDGET)
    assert outcome.refused
    assert outcome.state == before == mine.load()
    assert "n1" in outcome.refused[0].reason


def test_a_lost_comparison_is_decided_anew() -> None:
    inner = MemoryStore()
    other = addresses(inner)

    def somebody_else(number: int) -> None:
        if number < 5:
            other.join(claims(f"other{number}"), BUDGET)

    mine = addresses(FaultyStore(inner, meanwhile=somebody_else))
    found = mine.join(claims("mine"), BUDGET).state
    assert sorted(found.nodes) == ["mine", *(f"other{number}" for number in range(5))]
    assert addresses(inner).load() == found
    assert_sound(found)


def test_retries_are_bounded() -> None:
    inner = MemoryStore()
    other = addresses(inner)

    def somebody_else(number: int) -> None:
        other.join(claims(f"other{number}"), BUDGET)

    with pytest.raises(UnavailableError, match="run again"):
        addresses(FaultyStore(inner, meanwhile=somebody_else)).join(claims("mine"), BUDGET)
    assert "mine" not in other.load().nodes


def test_whoever_divides_the_networks_at_the_same_time_as_another_loses() -> None:
    """Two subnets never get the same prefix, although they write different keys."""
    inner = MemoryStore()
    other = addresses(inner)
    other.join(claims("first", subnet="z"), BUDGET)

    def somebody_else(number: int) -> None:
        if number == 0:
            other.join(claims("n2", subnet="b"), BUDGET)
            other.leave(["n2"])  # so that no block tells that somebody was faster

    mine = addresses(FaultyStore(inner, meanwhile=somebody_else))
    mine.join(claims("n1", subnet="a"), BUDGET)
    assert_sound(mine.load())
    assert set(mine.load().subnets) == {"a", "b", "z"}


def test_keys_of_others_in_the_store_are_left_alone() -> None:
    store = MemoryStore()
    store.txn([], [Put("/routes/t1/10.0.0.0/8", b"not ours"), Put("/nodesx", b"")])
    mine = addresses(store)
    mine.join(claims("n1"), BUDGET)
    store.txn([], [Delete("/nodesx"), Put("/routes/t2/10.0.0.0/8", b"\xff")])
    mine.leave(["n1"])
    assert [item.key for item in store.range("/routes/").items] == [
        "/routes/t1/10.0.0.0/8",
        "/routes/t2/10.0.0.0/8",
    ]


def test_the_store_of_another_cluster_is_refused() -> None:
    store = MemoryStore()
    addresses(store).join(claims("n1"), BUDGET)
    before = store.range("")
    with pytest.raises(BadInputError, match="belongs to cluster test, not to other"):
        addresses(store, cluster="other").join(claims("n1"), BUDGET)
    assert store.range("") == before


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([network("10.1.0.0/16")], r"network pods: 10\.0\.0\.0/17 is given to subnet a.*put its"),
        ([network("10.0.0.0/18")], r"network pods: 10\.0\.0\.0/17 is given to subnet a"),
        ([network("10.0.0.0/16", block=27)], r"network pods: `block: \{ipv4: 27\}` was 26"),
        ([network("10.0.0.0/16", node=23)], r"network pods: `node: \{ipv4: 23\}` was 24"),
        (
            [network("10.0.0.0/16", exclude=("10.0.0.7/32",))],
            r"network pods: 10\.0\.0\.7/32 cannot be excluded while node n1 owns 10\.0\.0\.0/26",
        ),
    ],
)
def test_networks_that_contradict_what_is_given_out_are_refused_by_name(
    networks: list[Network], message: str
) -> None:
    store = MemoryStore()
    addresses(store, network("10.0.0.0/16")).join(claims("n1"), BUDGET)
    before = store.range("")
    with pytest.raises(BadInputError, match=message):
        addresses(store, *networks).join(claims("n2"), BUDGET)
    with pytest.raises(BadInputError, match=message):
        addresses(store, *networks).load()
    assert store.range("") == before


def test_networks_may_grow_and_lose_what_nobody_uses() -> None:
    store = MemoryStore()
    unused = network("10.9.0.0/24", name="unused")
    addresses(store, network("10.0.0.0/23"), unused).join(claims("n1"), BUDGET)
    wider = network("10.0.0.0/23", "10.1.0.0/24", exclude=("10.0.0.192/26",))
    found = addresses(store, wider).join(claims("n2", "n3", "n4"), BUDGET)
    assert_sound(found.state)
    assert not found.refused
    assert addresses(store, wider).load().networks == (wider,)
    assert [item.key for item in store.range(codec.NETWORKS).items] == ["/networks/pods"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("/meta", None, "key /meta is missing"),
        ("/meta", b"{}", "key /meta of the store holds no such record"),
        ("/nodes/n1", None, r"block 100\.64\.\d+\.\d+/26 belongs to node n1, which is not there"),
        ("/nodes/n1", b"\xff\x00", "key /nodes/n1 of the store holds no such record"),
        ("/nodes/n1", b'{"v":1,"identity":"x","subnet":"a","token":""}', "which is not there"),
        ("/subnets/a", None, "is outside the prefixes of subnet a"),
        ("/subnets/a", b'{"v":1,"prefixes":[3],"groups":[]}', "key /subnets/a"),
        ("/subnets/b", b'{"v":1,"prefixes":["100.64.0.0/16"],"groups":[]}', "overlap"),
        ("/subnets/b", b'{"v":1,"prefixes":[],"groups":["10.0.0.0/8"]}', "groups of subnet b"),
        ("/subnets/b", b'{"v":1,"prefixes":["10.0.0.0/8"],"groups":[]}', "is in no network"),
        ("/blocks/100.64.0.0/25", b'{"v":1,"node":"n1","identity":"id of n1"}', "is not a block"),
        ("/blocks/10.0.0.0/26", b'{"v":1,"node":"n1","identity":"id of n1"}', "outside"),
        ("/blocks/x", b'{"v":1,"node":"n1","identity":"id of n1"}', "key /blocks/x"),
        ("/networks/pods", b"[]", "key /networks/pods"),
    ],
)
def test_a_store_edited_by_hand_is_refused_by_the_name_of_what_contradicts(
    key: str, value: bytes | None, message: str
) -> None:
    store = MemoryStore()
    mine = addresses(store)
    whole = mine.join(claims("n1"), BUDGET).state
    mine.load()
    before = store.get(key)
    store.txn([], [Delete(key) if value is None else Put(key, value)])
    for reader in (mine, mine, addresses(store)):
        with pytest.raises(BadInputError, match=message):
            reader.load()
    store.txn([], [Delete(key) if before is None else Put(key, before.value)])
    assert mine.load() == addresses(store).load() == whole


def test_a_record_of_a_newer_version_is_not_touched() -> None:
    store = MemoryStore()
    addresses(store).join(claims("n1"), BUDGET)
    store.txn([], [Put("/nodes/n2", b'{"v":99}')])
    with pytest.raises(UnavailableError, match=r"newer version.*upgrade"):
        addresses(store).join(claims("n3"), BUDGET)


def test_a_reader_that_missed_changes_lists_again() -> None:
    store = MemoryStore()
    mine, other = addresses(store), addresses(store)
    mine.join(claims("n1"), BUDGET)
    mine.load()
    other.join(claims("n2"), BUDGET)
    store.compact(store.range("").revision)
    assert mine.load() == other.load()
    assert set(mine.load().nodes) == {"n1", "n2"}


_ACTION = st.one_of(
    st.tuples(st.just("join"), st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 1)),
    st.tuples(st.just("grow"), st.just("-"), st.integers(0, 4), st.integers(1, 3)),
    st.tuples(st.just("leave"), st.just("-"), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("release"), st.just("-"), st.integers(0, 4), st.integers(0, 1)),
    st.tuples(st.just("load"), st.just("-"), st.just(0), st.just(0)),
)


@given(st.lists(st.tuples(st.integers(0, 2), _ACTION), max_size=30), st.sampled_from([6, 1000]))
@settings(max_examples=examples(test=60, prove=3_000))
def test_several_writers_see_one_state(
    history: list[tuple[int, tuple[str, str, int, int]]], max_operations: int
) -> None:
    store = MemoryStore(max_operations=max_operations)
    tiny = network("10.0.0.0/23")
    writers = [addresses(store, tiny) for _ in range(3)]
    for writer, (what, subnet, number, value) in history:
        name, mine = f"n{number}", writers[writer]
        if what == "join":
            mine.join([Claim(name, subnet, f"i{value}")], BUDGET)
        elif what == "grow":
            mine.grow(name, value, BUDGET)
        elif what == "leave":
            mine.leave([name])
        elif what == "release":
            mine.release([(name, f"i{value}")])
        assert mine.load() == addresses(store, tiny).load()
        assert_sound(mine.load())
    assert writers[0].load() == writers[1].load() == writers[2].load()


_ANY_TEXT = st.text(st.characters(), max_size=8)  # also what UTF-8 cannot encode


@given(st.builds(Claim, _ANY_TEXT, _ANY_TEXT, _ANY_TEXT))
@settings(max_examples=examples(test=100, prove=5_000))
def test_any_name_is_kept_if_it_can_be_shown(claim: Claim) -> None:
    store = MemoryStore()
    outcome = addresses(store).join([claim], BUDGET)
    texts = (claim.node, claim.subnet, claim.identity)
    assert bool(outcome.refused) == (not all(text and text.isprintable() for text in texts))
    assert all(refusal.reason.isprintable() for refusal in outcome.refused)
    assert addresses(store).load() == outcome.state


def test_the_same_record_gives_the_same_bytes_and_comes_back() -> None:
    prefix = Prefix.parse("10.0.0.0/26")
    records: dict[str, codec.Record] = {
        codec.META: codec.Meta("test"),
        codec.network_key("pods"): PODS,
        codec.subnet_key("a/b"): SubnetShare("a/b", (prefix,), (prefix,)),
        codec.node_key("n%1"): codec.NodeRecord("n%1", "id", "a/b", "token"),
        codec.former_key("n/1", "i/d"): codec.NodeRecord("n/1", "i/d", "a", "token"),
        codec.block_key(prefix): codec.BlockRecord(prefix, "n1", "id"),
    }
    for key, record in records.items():
        assert codec.decode(key, codec.encode(record)) == record


def test_version_one_stays_readable() -> None:
    """The bytes of the first release: they must be understood for ever."""
    values = {
        "/meta": '{"cluster":"openb","v":1}',
        "/networks/pods": '{"block":{"ipv4":26,"ipv6":80},"cidrs":["100.64.0.0/10"],'
        '"exclude":[],"node":{"ipv4":24,"ipv6":64},"v":1}',
        "/subnets/subnet-1": '{"groups":["100.64.0.0/11"],"prefixes":["100.64.0.0/11"],"v":1}',
        "/nodes/n1": '{"identity":"i-1","subnet":"subnet-1","token":"00","v":1}',
        "/former/n1/i-0": '{"identity":"i-0","subnet":"subnet-1","token":"00","v":1}',
        "/blocks/100.64.0.0/26": '{"identity":"i-1","node":"n1","v":1}',
        "/blocks/100.64.1.0/26": '{"identity":"i-0","node":"n1","v":1}',
    }
    store = MemoryStore()
    store.txn([Compare("/meta", 0)], [Put(key, value.encode()) for key, value in values.items()])
    found = addresses(store, network("100.64.0.0/10"), cluster="openb").load()
    assert found.blocks("n1") == (Prefix.parse("100.64.0.0/26"),)
    assert found.former["n1", "i-0"].blocks == (Prefix.parse("100.64.1.0/26"),)
