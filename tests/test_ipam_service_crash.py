"""Addresses when the process or the store fails at any transaction: whole, and converging."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from ipam.errors import UnavailableError
from ipam.model import Claim, Network, State
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Put
from tests.address_checks import assert_sound
from tests.faulty_store import CrashError, Fault, FaultyStore

BUDGET = dict.fromkeys(Family, 12)
PODS = Network(
    "pods",
    (Prefix.parse("10.0.0.0/20"), Prefix.parse("fd00:0:0:ff00::/56")),
    block={Family.IPV4: 26, Family.IPV6: 80},
    node={Family.IPV4: 24, Family.IPV6: 64},
)
CLAIMS = [Claim(f"n{number}", "abc"[number % 3], "old") for number in range(9)]
RETURNED = [Claim("n1", "b", "new"), Claim("n4", "b", "new"), Claim("m", "d", "new")]

Job = Callable[[Addresses], object]


def addresses(store: FaultyStore | MemoryStore) -> Addresses:
    return Addresses(store, "test", (PODS,), pause=lambda _: None)


def join_all(mine: Addresses) -> object:
    return mine.join(CLAIMS, BUDGET)


def join_returned(mine: Addresses) -> object:
    return mine.join(RETURNED, BUDGET)


def leave_some(mine: Addresses) -> object:
    return mine.leave(["n1", "n2", "n3"])


def release_former(mine: Addresses) -> object:
    return mine.release([("n1", "old"), ("n4", "old")])


JOBS: list[tuple[str, list[Job], Job]] = [
    ("first batch", [], join_all),
    ("new identities", [join_all], join_returned),
    ("departures", [join_all, lambda mine: mine.grow("n2", 9, BUDGET)], leave_some),
    ("releases", [join_all, join_returned], release_former),
]


def prepared(before: list[Job], max_operations: int) -> MemoryStore:
    store = MemoryStore(max_operations=max_operations)
    for job in before:
        job(addresses(store))
    return store


def copied(store: MemoryStore) -> MemoryStore:
    copy = MemoryStore(max_operations=store.max_operations)
    copy.txn([], [])
    for item in store.range("").items:
        copy.txn([], [Put(item.key, item.value)])
    return copy


def known(now: State) -> set[tuple[str, str]]:
    return {(owner.name, owner.identity) for owner in now.owners()}


@pytest.mark.parametrize("max_operations", [6, 1000])
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name)
@pytest.mark.parametrize(("before", "job"), [j[1:] for j in JOBS], ids=[j[0] for j in JOBS])
def test_after_a_failure_at_any_transaction_the_store_is_whole_and_running_again_converges(
    before: list[Job], job: Job, fault: Fault, max_operations: int
) -> None:
    start = prepared(before, max_operations)
    undisturbed = FaultyStore(copied(start))
    job(addresses(undisturbed))
    wanted = addresses(undisturbed).load()
    assert undisturbed.transactions
    for at in range(undisturbed.transactions):
        store = FaultyStore(copied(start), fault, at)
        with suppress(CrashError, UnavailableError):
            job(addresses(store))
        between = addresses(store).load()
        assert_sound(between)
        assert not known(between) - known(wanted) - known(addresses(start).load())
        job(addresses(store))
        after = addresses(store).load()
        assert_sound(after)
        assert known(after) == known(wanted)
        assert {n: len(node.blocks) for n, node in after.nodes.items()} == {
            n: len(node.blocks) for n, node in wanted.nodes.items()
        }


def test_a_growth_whose_answer_was_lost_is_not_repeated() -> None:
    inner = prepared([join_all], 1000)
    mine = addresses(FaultyStore(inner, Fault.ANSWER_LOST))
    outcome = mine.grow("n2", 2, BUDGET)
    assert not outcome.refused
    assert len(mine.load().blocks("n2")) == 2 * 3
    assert mine.load() == addresses(inner).load() == outcome.state


def test_a_growth_that_the_store_refused_did_not_happen() -> None:
    inner = prepared([join_all], 1000)
    before = inner.range("")
    with pytest.raises(UnavailableError):
        addresses(FaultyStore(inner, Fault.REFUSED)).grow("n2", 2, BUDGET)
    assert inner.range("") == before


def test_a_growth_between_the_parts_of_a_departure_leaves_no_block_behind() -> None:
    inner = prepared([join_all, lambda mine: mine.grow("n2", 9, BUDGET)], 6)
    other = addresses(inner)

    def somebody_else(number: int) -> None:
        if number in (1, 3):
            other.grow("n2", 1, BUDGET)

    addresses(FaultyStore(inner, meanwhile=somebody_else)).leave(["n2"])
    assert "n2" not in other.load().nodes
    assert not [item for item in inner.range("/blocks/").items if b'"n2"' in item.value]
    assert_sound(other.load())


def test_a_former_node_that_returns_between_the_parts_of_its_release_keeps_its_blocks() -> None:
    inner = prepared([join_all, lambda mine: mine.grow("n1", 9, BUDGET), join_returned], 6)
    other = addresses(inner)
    owned = other.load().former["n1", "old"].blocks

    def somebody_else(number: int) -> None:
        if number == 0:
            other.join([Claim("n1", "b", "old")], BUDGET)

    addresses(FaultyStore(inner, meanwhile=somebody_else)).release([("n1", "old")])
    assert other.load().blocks("n1") == owned
    assert_sound(other.load())
