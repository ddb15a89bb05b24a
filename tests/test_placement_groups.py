"""Nodes are placed so that any number of entries can divide them evenly."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.groups import least_cap, wanted
from ipam.model import Claim, Network, State, state
from ipam.placement import grow, join, leave
from ipam.prefix import Family, Prefix
from tests.address_checks import assert_sound, groups_within, ideal_piece, largest_piece
from tests.counts import examples

V4 = Family.IPV4
OPENB = {"a": 774, "b": 461, "c": 288}
ENTRIES = 44


def empty(cidr: str = "100.64.0.0/10") -> State:
    pods = Network("pods", (Prefix.parse(cidr),), block={V4: 26}, node={V4: 24})
    return state("test", [pods])


def claims(nodes: dict[str, int]) -> list[Claim]:
    return [Claim(f"{s}{i:04}", s, "id") for s, count in nodes.items() for i in range(count)]


def joined(nodes: dict[str, int], entries: int) -> State:
    outcome = join(empty(), claims(nodes), {V4: entries})
    assert not outcome.refused
    return outcome.state


def group_loads(now: State) -> dict[str, list[int]]:
    return {
        share.id: [now.space(share.id, group).measure(group)[0] for group in share.groups]
        for share in now.subnets.values()
    }


def test_openb_can_be_cut_as_well_as_any_placement_could() -> None:
    now = joined(OPENB, ENTRIES)
    assert largest_piece(now, ENTRIES) == ideal_piece(now, ENTRIES) == 36
    assert {subnet: len(loads) for subnet, loads in group_loads(now).items()} == {
        "a": 22,
        "b": 13,
        "c": 8,
    }
    assert max(max(loads) for loads in group_loads(now).values()) == 36


def test_while_entries_are_left_every_node_has_a_group_of_its_own() -> None:
    for nodes, entries in (({"a": 20, "b": 10, "c": 5}, ENTRIES), (OPENB, 2_000)):
        for loads in group_loads(joined(nodes, entries)).values():
            assert set(loads) == {1}


def test_groups_fill_to_the_cap_and_only_the_lightest_siblings_take_what_is_left() -> None:
    found = group_loads(joined({"a": 700, "b": 41, "c": 3}, ENTRIES))
    cap = 18  # 39 + 3 + 1 groups, and none with 17
    for loads in found.values():
        below = [load for load in loads if load < cap]
        assert max(loads) <= cap
        assert len(below) <= 2
        assert not below or max(below) - min(below) <= 1


def test_an_entry_goes_to_another_subnet_and_comes_back_without_a_wait(seed: int) -> None:
    random = Random(seed)
    now = joined(OPENB, ENTRIES)
    for _ in range(4):
        for gains, loses in (("c", "b"), ("b", "c")):
            going = random.sample(sorted(n for n in now.nodes if n[0] == loses), 30)
            claims = [Claim(f"{gains}{random.random()}", gains, "id") for _ in range(30)]
            now = join(leave(now, going), claims, {V4: ENTRIES}).state
            assert largest_piece(now, ENTRIES) <= 1.12 * ideal_piece(now, ENTRIES)


def test_every_group_can_be_halved() -> None:
    now = joined(OPENB, ENTRIES)
    for share in now.subnets.values():
        for group in share.groups:
            loads = [now.space(share.id, half).measure(half)[0] for half in group.halves()]
            assert abs(loads[0] - loads[1]) <= 1


def test_a_join_changes_one_group_and_nobody_elses_addresses() -> None:
    now = joined(OPENB, ENTRIES)
    after = join(now, [Claim("new", "b", "id")], {V4: ENTRIES}).state
    assert {name: after.nodes[name] for name in now.nodes} == dict(now.nodes)
    assert largest_piece(after, ENTRIES) == 36


@pytest.mark.parametrize("order", ["shuffled", "one subnet after the other"])
def test_growth_one_node_at_a_time_stays_near_the_ideal(order: str, seed: int) -> None:
    """A third of openb, on as many entries as make groups of the same size."""
    arrivals = claims({subnet: count // 3 for subnet, count in OPENB.items()})
    if order == "shuffled":
        Random(seed).shuffle(arrivals)
    now, ratios = empty(), []
    for number, claim in enumerate(arrivals):
        now = join(now, [claim], {V4: ENTRIES // 3}).state
        assert groups_within(now, {V4: ENTRIES // 3})
        if number % 5 == 0:
            ratios.append(largest_piece(now, 14) / ideal_piece(now, 14))
    assert_sound(now)
    mean, last = sum(ratios) / len(ratios), ratios[-1]
    assert (mean, last) <= ((1.12, 1.25) if order == "shuffled" else (1.35, 1.35))


def test_nodes_that_come_and_go_stay_near_the_ideal(seed: int) -> None:
    random = Random(seed)
    now, ratios = joined(OPENB, ENTRIES), []
    home = [subnet for subnet, count in OPENB.items() for _ in range(count)]
    for number in range(examples(test=600, prove=10_000)):
        if random.random() < 0.5:
            claim = Claim(f"new{number:05}", random.choice(home), "id")
            now = join(now, [claim], {V4: ENTRIES}).state
        else:
            now = leave(now, [random.choice(sorted(now.nodes))])
        if number % 20 == 0:
            ratios.append(largest_piece(now, ENTRIES) / ideal_piece(now, ENTRIES))
    assert_sound(now)
    assert sum(ratios) / len(ratios) <= 1.06
    assert max(ratios) <= 1.12


def test_nodes_that_grow_count_by_their_blocks(seed: int) -> None:
    random = Random(seed)
    now = joined({"a": 60, "b": 30}, 12)
    for name in random.sample(sorted(now.nodes), 40):
        now = grow(now, name, random.randint(1, 3), {V4: 12}).state
    more = [Claim(f"more{number:03}", "ab"[number % 2], "id") for number in range(60)]
    now = join(now, more, {V4: 12}).state
    assert largest_piece(now, 12) <= 1.4 * ideal_piece(now, 12)


def test_an_entry_moves_to_another_subnet_when_that_lowers_the_largest_load() -> None:
    budget = {V4: 17}  # 16 groups
    now = joined({"a": 80, "b": 80}, 17)
    assert group_loads(now) == {"a": [10] * 8, "b": [10] * 8}
    more = [Claim(f"more{number}", "b", "id") for number in range(15)]
    now = join(leave(now, sorted(now.nodes)[:10]), more, budget).state
    assert len(group_loads(now)["a"]) == 8  # two of them together would carry more than one of b
    assert max(group_loads(now)["b"]) == 11  # thanks to the entry held back
    now = leave(now, [f"a{number:04}" for number in range(10, 50)])
    now = join(now, [Claim("one more", "b", "id")], budget).state
    assert len(group_loads(now)["a"]) < 8 < len(group_loads(now)["b"])
    assert largest_piece(now, 16) <= 12


def test_siblings_that_are_to_become_one_group_get_no_nodes_meanwhile() -> None:
    budget = {V4: 17}
    now = joined({"a": 80, "b": 80}, 17)
    more = [Claim(f"more{number}", "b", "id") for number in range(15)]
    now = join(leave(now, sorted(now.nodes)[:10]), more, budget).state
    before = group_loads(now)["a"]
    lightest = min(range(0, 8, 2), key=lambda left: before[left] + before[left + 1])
    now = join(now, [Claim(f"again{number}", "a", "id") for number in range(3)], budget).state
    after = group_loads(now)["a"]
    assert sum(after) == sum(before) + 3
    assert after[lightest : lightest + 2] == before[lightest : lightest + 2]


def test_a_smaller_budget_joins_groups_and_a_larger_one_splits_them() -> None:
    now = joined({"a": 90, "b": 10}, ENTRIES)
    for entries in (10, 2, 0, 7, 60, 300):
        now = join(now, [Claim(f"at {entries}", "a", "id")], {V4: entries}).state
        assert groups_within(now, {V4: entries})
        assert_sound(now)
    assert sum(len(loads) for loads in group_loads(now).values()) > 90


def test_a_new_subnet_finds_an_entry_that_was_held_back() -> None:
    now = joined({"a": 22 * 36, "b": 13 * 36, "c": 9 * 36}, ENTRIES)
    before = largest_piece(now, ENTRIES)
    assert before == 38
    now = join(now, [Claim("first", "d", "id")], {V4: ENTRIES}).state
    assert len(now.subnets["d"].groups) == 1
    assert largest_piece(now, ENTRIES) == before


loads = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 500), min_size=1)


@given(loads, st.integers(0, 60))
def test_the_cap_is_the_least_with_which_the_groups_fit(loads: dict[str, int], usable: int) -> None:
    least = dict.fromkeys(loads, 1)
    cap = least_cap(loads, least, usable)
    fits = sum(wanted(loads, least, cap).values()) <= usable
    assert fits or cap == max(1, *loads.values())
    assert cap == 1 or sum(wanted(loads, least, cap - 1).values()) > usable
