"""Claims, grants, returns and releases when process or store fail at any transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from ipam.allocator import Allocator
from ipam.checking import check
from ipam.claims import Claims
from ipam.errors import UnavailableError
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Put, Store
from tests.address_checks import assert_sound
from tests.faulty_store import CrashError, Fault, FaultyStore

V4, V6 = Family.IPV4, Family.IPV6
BUDGET = dict.fromkeys(Family, 12)
ONE = {V4: 1, V6: 1}
PODS = Network(
    "pods",
    (Prefix.parse("10.0.0.0/22"), Prefix.parse("fd00:0:0:ff00::/56")),
    block={V4: 26, V6: 80},
    node={V4: 25, V6: 64},
)
NODES = [f"n{number}" for number in range(5)]

# A crash before a transaction leaves what a crash after the one before it does.
FAULTS = [Fault.CRASH_AFTER, Fault.REFUSED, Fault.ANSWER_LOST]

Job = Callable[[Store], object]


def addresses(store: Store) -> Addresses:
    return Addresses(store, "test", (PODS,), pause=lambda _: None)


def allocate(store: Store) -> object:
    return Allocator(store, addresses(store)).run(BUDGET)


def register(store: Store) -> None:
    for number, name in enumerate(NODES):
        Claims(store, name, "old").register("abc"[number % 3], {"rack": "7"}, ONE)


def claim_more(store: Store) -> None:
    for name in NODES[:3]:
        Claims(store, name, "old").claim({V4: 3, V6: 2})


def claim_too_much(store: Store) -> None:
    Claims(store, NODES[4], "old").claim({V4: 17})


def come_back(store: Store) -> None:
    Claims(store, NODES[1], "new").register("b", {}, ONE)


def give_back(store: Store) -> None:
    for name in NODES[:3]:
        claims = Claims(store, name, "old")
        mine = [block for block in claims.granted().blocks if block.family is V4]
        claims.give_back(mine[1:], ONE)


def end_some(store: Store) -> None:
    addresses(store).end([("n0", "old"), ("n1", "old"), ("n2", "old"), ("nobody", "x")])


def take_some(store: Store) -> None:
    mine = addresses(store)
    mine.take_back(("n0", "old"), mine.load().blocks("n0")[1:])


# What happens before, what is interrupted, and what makes it good: the same again, and a pass.
JOBS: dict[str, tuple[list[Job], Job]] = {
    "claims": ([], register),
    "further claims": ([register, allocate], claim_more),
    "grants": ([register], allocate),
    "further grants": ([register, allocate, claim_more], allocate),
    "refusals": ([register, allocate, claim_too_much], allocate),
    "another identity": ([register, allocate, come_back], allocate),
    "giving back": ([register, claim_more, allocate], give_back),
    "returns": ([register, claim_more, allocate, give_back], allocate),
    "releases of nodes": ([register, claim_more, allocate, come_back, allocate], end_some),
    "releases of blocks": ([register, claim_more, allocate], take_some),
}


def copied(store: MemoryStore) -> MemoryStore:
    """The same keys, made and changed in the same order, but for their revisions."""
    copy = MemoryStore(max_operations=store.max_operations)
    for item in sorted(store.range("").items, key=lambda item: item.create_revision):
        copy.txn([], [Put(item.key, item.value)])
    return copy


def owned(store: Store) -> dict[tuple[str, str], tuple[int, int]]:
    """How many blocks of each family everybody owns."""
    return {
        (node.name, node.identity): (
            sum(block.family is V4 for block in node.blocks),
            sum(block.family is V6 for block in node.blocks),
        )
        for node in addresses(store).load().owners()
    }


def assert_whole(store: MemoryStore) -> None:
    assert_sound(addresses(store).load())
    items = ((item.key, item.value) for item in store.range("/").items)
    assert check(items, "test", (PODS,), {}) == ()


@pytest.mark.parametrize("max_operations", [8, 1000])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize(("before", "job"), JOBS.values(), ids=JOBS)
def test_after_a_failure_at_any_transaction_the_store_is_whole_and_running_again_converges(
    before: list[Job], job: Job, fault: Fault, max_operations: int
) -> None:
    start = MemoryStore(max_operations=max_operations)
    for earlier in before:
        earlier(start)
    undisturbed = FaultyStore(copied(start))
    job(undisturbed)
    assert undisturbed.transactions
    wanted = copied(undisturbed.inner)
    allocate(wanted)
    for at in range(undisturbed.transactions):
        store = FaultyStore(copied(start), fault, at)
        with suppress(CrashError, UnavailableError):
            job(store)
        assert_whole(store.inner)
        known = {(o.name, o.identity): o.blocks for o in addresses(store.inner).load().owners()}
        for node in NODES:
            granted = Claims(store.inner, node, "old").granted().blocks
            assert set(granted) <= set(known.get((node, "old"), ()))
        job(store.inner)
        allocate(store.inner)
        assert_whole(store.inner)
        assert owned(store.inner) == owned(wanted)


@pytest.mark.parametrize("job", [allocate, end_some, take_some])
def test_a_write_whose_answer_was_lost_is_found_out_and_not_repeated(job: Job) -> None:
    start = MemoryStore()
    for earlier in (register, claim_more, *([] if job is allocate else [allocate])):
        earlier(start)
    undisturbed = FaultyStore(copied(start))
    job(undisturbed)
    for at in range(undisturbed.transactions):
        store = FaultyStore(copied(start), Fault.ANSWER_LOST, at)
        job(store)
        assert owned(store.inner) == owned(undisturbed.inner)
