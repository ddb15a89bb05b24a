"""Stores that contradict themselves: whatever a reader refuses is named, and all of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam import codec
from ipam.checking import check
from ipam.errors import BadInputError, UnavailableError
from ipam.model import Claim, Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Put
from tests.address_checks import assert_sound
from tests.counts import examples

V4 = Family.IPV4
BUDGET = {V4: 6}
PODS = Network("pods", (Prefix.parse("10.0.0.0/22"),), block={V4: 26}, node={V4: 25})

Records = dict[str, bytes]
Step = tuple[str, str, int, int]

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "grow", "leave", "release"]),
        st.sampled_from("ab"),
        st.integers(0, 3),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=12,
)


def addresses(store: MemoryStore, cluster: str = "test") -> Addresses:
    return Addresses(store, cluster, (PODS,), pause=lambda _: None)


def held(store: MemoryStore) -> Records:
    return {item.key: item.value for item in store.range("/").items}


def lived(steps: list[Step], cluster: str = "test") -> list[Records]:
    """What a store held after each step of a history."""
    store = MemoryStore()
    mine = addresses(store, cluster)
    mine.join([Claim("n0", "a", "i1")], BUDGET)
    found = [held(store)]
    for what, subnet, number, value in steps:
        name = f"n{number}"
        if what == "join":
            mine.join([Claim(name, subnet, f"i{value}")], BUDGET)
        elif what == "grow":
            mine.grow(name, value, BUDGET)
        elif what == "leave":
            mine.leave([name])
        else:
            mine.release([(name, f"i{value}")])
        found.append(held(store))
    return found


def keys_found(records: Records, cluster: str = "test") -> list[str]:
    return [one.key for one in check(records.items(), cluster, (PODS,), {})]


def assert_agrees_with_readers(records: Records) -> None:
    store = MemoryStore()
    store.txn([], [Put(*item) for item in records.items()])
    found = check(records.items(), "test", (PODS,), {})
    if found:
        with suppress(BadInputError, UnavailableError):
            addresses(store).load()
    else:
        assert_sound(addresses(store).load())
    for one in found:
        assert one.key.startswith("/")
        assert one.problem
        assert one.remedy
        assert "\n" not in str(one)


@given(_STEPS)
@settings(max_examples=examples(test=40, prove=1_000))
def test_a_store_that_was_left_alone_has_no_contradiction(steps: list[Step]) -> None:
    for records in lived(steps):
        assert keys_found(records) == []


@given(_STEPS, st.data())
@settings(max_examples=examples(test=60, prove=2_000))
def test_half_of_one_backup_and_half_of_another_is_found_out(
    steps: list[Step], data: st.DataObject
) -> None:
    history = lived(steps)
    one, other = data.draw(st.sampled_from(history)), data.draw(st.sampled_from(history))
    mixed = {}
    for key in sorted(one.keys() | other.keys()):
        source = one if data.draw(st.booleans()) else other
        if key in source:
            mixed[key] = source[key]
    assert_agrees_with_readers(mixed)


@given(_STEPS, st.data())
@settings(max_examples=examples(test=60, prove=2_000))
def test_a_record_that_was_removed_changed_or_put_elsewhere_is_found_out(
    steps: list[Step], data: st.DataObject
) -> None:
    records = dict(lived(steps)[-1])
    for _ in range(data.draw(st.integers(1, 3))):
        if not records:
            break
        key = data.draw(st.sampled_from(sorted(records)))
        how = data.draw(st.sampled_from(["remove", "garbage", "swap", "copy", "shift"]))
        other = data.draw(st.sampled_from(sorted(records)))
        if how == "remove":
            del records[key]
        elif how == "garbage":
            records[key] = data.draw(st.sampled_from([b"", b"{}", b"[]", b'{"v":99}', b"\xff"]))
        elif how == "swap":
            records[key], records[other] = records[other], records[key]
        elif how == "copy":
            records[key] = records[other]
        elif key.startswith(codec.BLOCKS):
            prefix = Prefix.parse(key.removeprefix(codec.BLOCKS))
            wider = prefix.ancestor(prefix.length - data.draw(st.integers(0, 3)))
            records[codec.block_key(wider)] = records.pop(key)
    assert_agrees_with_readers(records)


@given(_STEPS, _STEPS, st.data())
@settings(max_examples=examples(test=40, prove=1_000))
def test_records_of_two_clusters_in_one_store_are_found_out(
    steps: list[Step], others: list[Step], data: st.DataObject
) -> None:
    mixed = dict(lived(steps)[-1])
    theirs = lived(others, "other")[-1]
    mixed.update({key: theirs[key] for key in sorted(theirs) if data.draw(st.booleans())})
    assert_agrees_with_readers(mixed)


def test_a_store_of_another_cluster_is_named() -> None:
    (found,) = check(lived([], "other")[-1].items(), "test", (PODS,), {})
    assert str(found) == (
        "/meta: the store belongs to cluster other, not to test: name a `store` of its own in the "
        "cluster file"
    )
    assert check(lived([], "other")[-1].items(), None, (), {}) == ()


def test_all_contradictions_are_named_and_not_only_the_first() -> None:
    records = dict(lived([("join", "b", 1, 1), ("grow", "-", 1, 2), ("join", "a", 2, 1)])[-1])
    blocks = [key for key in records if key.startswith(codec.BLOCKS)]
    of_n1 = [key for key in blocks if b'"n1"' in records[key]]
    of_n2 = [key for key in blocks if b'"n2"' in records[key]]
    del records["/nodes/n2"]
    del records[of_n1[0]]
    records["/nodes/n0"] = b"{}"
    records["/blocks/192.168.0.0/26"] = records[of_n1[1]]
    records["/blocks/10.0.3.0/24"] = records[of_n1[1]]
    records["/claims/n1/i1"] = b"nothing"
    records["/notes"] = b"mine"
    found = set(keys_found(records))
    assert found >= {
        *(of_n1[0], *of_n2, "/nodes/n0", "/blocks/192.168.0.0/26", "/blocks/10.0.3.0/24"),
        *("/claims/n1/i1", "/notes"),
    }


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("/nodes/n2", b'{"v":99}', "of a newer version (99, known is 2)"),
        ("/former/n0/i1", None, "is both there and a former one with the same identity"),
        ("/blocks/10.0.0.1/26", None, "holds no such record"),
        ("/nodes/%6e0", None, "its key should be /nodes/n0"),
        ("/subnets/b", b'{"v":1,"prefixes":["10.9.0.0/16"],"groups":[]}', "is in no network"),
        ("/subnets/b", b'{"v":1,"prefixes":["10.0.0.0/22"],"groups":["10.0.0.0/22"]}', "overlaps"),
        ("/importing", b"", "an import was interrupted: import the same file again"),
        ("/somewhere/else", b"", "is no record that is known here"),
    ],
)
def test_what_is_wrong_is_said(key: str, value: bytes | None, problem: str) -> None:
    records = dict(lived([])[-1])
    copied = min(records) if key.startswith(codec.BLOCKS) else "/nodes/n0"
    records[key] = records[copied] if value is None else value
    found = check(records.items(), "test", (PODS,), {})
    assert problem in " ".join(map(str, found))


def test_what_the_networks_of_the_cluster_file_do_not_allow_any_more_is_named_node_by_node() -> (
    None
):
    records = lived([("join", "b", 1, 1), ("join", "a", 2, 1)])[-1]
    other = Network("pods", (Prefix.parse("172.16.0.0/16"),), block={V4: 26}, node={V4: 25})
    found = check(records.items(), "test", (other,), {})
    assert {one.key for one in found} == {"/subnets/a", "/subnets/b"}
    assert all("put its range back" in one.remedy for one in found)


def test_records_of_others_are_read_by_those_who_know_them() -> None:
    def refuse(key: str, value: bytes) -> object:
        raise BadInputError(f"{key} says {value.decode()}: correct it")

    records = {"/theirs/a": b"no", "/others/b": b""}
    found = check(records.items(), "test", (), {"/theirs/": refuse, "/others/": lambda *_: None})
    assert [(one.problem, one.remedy) for one in found] == [("/theirs/a says no", "correct it")]
