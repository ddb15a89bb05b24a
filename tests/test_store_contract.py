"""What every store does, whichever it is: one suite for all implementations of the port."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.store.memory import MemoryStore
from ipam.store.port import Compare, Delete, Put, Store
from ipam.store.sqlite import SqliteStore
from tests.counts import examples


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Case:
    """A store that is empty, and the clock that its leases run by."""

    store: Store
    clock: Clock


def _memory(folder: Path, clock: Clock) -> Store:  # noqa: ARG001 - it has no file
    return MemoryStore(clock=clock)


def _sqlite(folder: Path, clock: Clock) -> Store:
    return SqliteStore(folder / "store.db", clock=clock)


MAKERS: dict[str, Callable[[Path, Clock], Store]] = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture(params=MAKERS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    clock = Clock()
    store = MAKERS[request.param](tmp_path, clock)
    yield Case(store, clock)
    store.close()


@pytest.fixture
def store(case: Case) -> Store:
    return case.store


def put(store: Store, key: str, value: bytes = b"x", lease: int | None = None) -> int:
    result = store.txn([], [Put(key, value, lease)])
    assert result.succeeded
    return result.revision


def keys(store: Store, prefix: str = "/") -> list[str]:
    return [item.key for item in store.range(prefix).items]


def test_a_store_that_nobody_wrote_to_is_empty(store: Store) -> None:
    assert store.get("/a") is None
    assert store.range("/").items == ()
    assert store.range("/").revision == 0
    assert store.watch("/", 0).next(0).events == ()
    assert store.location


def test_a_key_keeps_its_value_and_the_revisions_that_made_and_changed_it(store: Store) -> None:
    first = put(store, "/a", b"\x00\xff")
    put(store, "/b")
    second = put(store, "/a", b"")
    found = store.get("/a")
    assert found is not None
    assert (found.value, found.create_revision, found.mod_revision) == (b"", first, second)
    assert first < second


def test_a_range_has_the_keys_of_its_prefix_in_order_and_no_others(store: Store) -> None:
    for key in ("/nodes/b", "/nodes/a", "/nodesx", "/node", "/nodes/é", "/nodes/\U0010fffe"):
        put(store, key)
    assert keys(store, "/nodes/") == ["/nodes/a", "/nodes/b", "/nodes/é", "/nodes/\U0010fffe"]
    assert store.range("/nothing").items == ()
    assert len(keys(store, "")) == 6


def test_a_key_that_is_made_again_is_a_new_one(store: Store) -> None:
    first = put(store, "/a")
    store.txn([], [Delete("/a")])
    assert store.get("/a") is None
    again = put(store, "/a")
    found = store.get("/a")
    assert found is not None
    assert found.create_revision == again > first


def test_create_if_absent_succeeds_once(store: Store) -> None:
    absent = [Compare("/a", 0)]
    assert store.txn(absent, [Put("/a", b"1")]).succeeded
    lost = store.txn(absent, [Put("/a", b"2")])
    assert not lost.succeeded
    found = store.get("/a")
    assert found is not None
    assert found.value == b"1"


def test_a_comparison_that_fails_leaves_everything_as_it_was(store: Store) -> None:
    seen = put(store, "/a")
    put(store, "/a", b"changed")
    before = store.range("/")
    result = store.txn(
        [Compare("/a", seen), Compare("/b", 0)], [Put("/b", b""), Delete("/a"), Put("/c", b"")]
    )
    assert not result.succeeded
    assert result.revision == before.revision
    assert store.range("/") == before


def test_all_operations_of_a_transaction_share_one_revision(store: Store) -> None:
    put(store, "/gone")
    result = store.txn([], [Put("/a", b""), Put("/b", b""), Delete("/gone")])
    assert {item.mod_revision for item in store.range("/").items} == {result.revision}
    assert keys(store) == ["/a", "/b"]


def test_a_transaction_that_changes_nothing_makes_no_revision(store: Store) -> None:
    revision = put(store, "/a")
    assert store.txn([Compare("/a", revision)], []).revision == revision
    assert store.txn([], [Delete("/never")]).revision == revision
    assert store.watch("/", revision).next(0).events == ()


def test_a_transaction_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="once at most"):
        store.txn([], [Put("/a", b""), Delete("/a")])
    assert store.get("/a") is None


def test_a_watch_tells_every_change_after_its_revision_in_order(store: Store) -> None:
    put(store, "/w/a", b"before")
    revision = put(store, "/w/a", b"1")
    watch = store.watch("/w/", revision)
    put(store, "/other")
    put(store, "/w/b", b"2")
    store.txn([], [Delete("/w/a"), Put("/w/c", b"3")])
    found = watch.next(0)
    assert not found.compacted
    assert [(event.key, event.value) for event in found.events] == [
        ("/w/b", b"2"),
        ("/w/a", None),
        ("/w/c", b"3"),
    ]
    assert found.revision == store.range("/").revision
    assert watch.next(0).events == ()
    put(store, "/w/d")
    assert [event.key for event in watch.next(0).events] == ["/w/d"]
    watch.close()


def test_a_watch_from_before_a_compaction_asks_for_a_new_list(store: Store) -> None:
    first = put(store, "/a")
    second = put(store, "/b")
    third = put(store, "/c")
    store.compact(second)
    found = store.watch("/", first).next(0)
    assert found.compacted
    assert found.events == ()
    assert found.revision == third
    assert keys(store) == ["/a", "/b", "/c"]
    assert [event.key for event in store.watch("/", second).next(0).events] == ["/c"]


def test_a_watch_waits_for_a_change_and_not_longer_than_asked(store: Store) -> None:
    watch = store.watch("/", put(store, "/a"))
    start = time.monotonic()
    assert watch.next(0.05).events == ()
    assert time.monotonic() - start >= 0.05


def test_keys_with_a_lease_go_when_it_ends(case: Case) -> None:
    store, clock = case.store, case.clock
    lease = store.grant(10)
    revision = put(store, "/leased", lease=lease)
    put(store, "/kept")
    found = store.get("/leased")
    assert found is not None
    assert found.lease == lease
    clock.now += 9
    assert store.keep_alive(lease)
    clock.now += 9
    assert keys(store) == ["/kept", "/leased"]
    watch = store.watch("/leased", revision)
    clock.now += 2
    assert store.get("/leased") is None
    assert keys(store) == ["/kept"]
    assert [(event.key, event.value) for event in watch.next(0).events] == [("/leased", None)]
    assert not store.keep_alive(lease)
    assert store.txn([Compare("/leased", 0)], [Put("/leased", b"")]).succeeded


def test_a_lease_can_be_ended_at_once(store: Store) -> None:
    lease, other = store.grant(10), store.grant(10)
    put(store, "/a", lease=lease)
    put(store, "/b", lease=other)
    store.revoke(lease)
    store.revoke(lease)
    assert keys(store) == ["/b"]
    assert not store.keep_alive(lease)


def test_a_key_written_without_a_lease_outlives_the_one_it_had(store: Store) -> None:
    lease = store.grant(10)
    put(store, "/a", lease=lease)
    put(store, "/a")
    store.revoke(lease)
    assert keys(store) == ["/a"]


def test_nothing_is_written_with_a_lease_that_has_ended(case: Case) -> None:
    store, clock = case.store, case.clock
    lease = store.grant(10)
    clock.now += 11
    assert not store.txn([], [Put("/a", b"", lease), Put("/b", b"")]).succeeded
    assert not store.txn([], [Put("/a", b"", 12345)]).succeeded
    assert keys(store) == []


def test_a_comparison_sees_that_a_lease_has_ended(case: Case) -> None:
    store, clock = case.store, case.clock
    lease = store.grant(10)
    revision = put(store, "/a", lease=lease)
    clock.now += 11
    assert not store.txn([Compare("/a", revision)], [Put("/b", b"")]).succeeded
    assert store.txn([Compare("/a", 0)], [Put("/b", b"")]).succeeded


_KEYS = st.sampled_from(["/a", "/b", "/c"])
_OPERATION = st.one_of(
    st.builds(Put, _KEYS, st.binary(max_size=2)),
    st.builds(Delete, _KEYS),
)
_TRANSACTION = st.tuples(
    st.lists(st.builds(Compare, _KEYS, st.integers(0, 6)), max_size=2),
    st.lists(_OPERATION, max_size=3, unique_by=lambda operation: operation.key),
)


@given(st.lists(_TRANSACTION, max_size=15), st.integers(0, 15))
@settings(max_examples=examples(test=60, prove=2_000))
def test_every_history_ends_as_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[list[Compare], list[Put | Delete]]],
    watched_from: int,
) -> None:
    reference = MemoryStore()
    store = SqliteStore(tmp_path_factory.mktemp("history") / "store.db")
    for number, (compares, operations) in enumerate(history):
        assert store.txn(compares, operations) == reference.txn(compares, operations)
        if number == 7:
            reference.compact(3)
            store.compact(3)
    assert store.range("/") == reference.range("/")
    expected = reference.watch("/", watched_from).next(0)
    found = store.watch("/", watched_from).next(0)
    assert (found.revision, found.compacted) == (expected.revision, expected.compacted)
    assert found.events == expected.events
    store.close()


def test_of_many_at_once_exactly_one_creates_a_key(case: Case, tmp_path: Path) -> None:
    won: list[int] = []

    def compete(number: int) -> None:
        mine = case.store
        if isinstance(mine, SqliteStore):
            mine = SqliteStore(tmp_path / "store.db")
        won.extend(
            key
            for key in range(20)
            if mine.txn([Compare(f"/{key}", 0)], [Put(f"/{key}", b"%d" % number)]).succeeded
        )
        if mine is not case.store:
            mine.close()

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(20))
