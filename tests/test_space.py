"""The trie of one prefix agrees with a plain set of blocks, and old spaces stay as they were."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from ipam.space import Space
from tests.address_checks import blocks_of
from tests.counts import examples

TOP = Prefix.parse("10.0.0.0/25")
NODE, BLOCK = 28, 30
ALL = list(blocks_of(TOP, BLOCK))
TOPS = [within for length in range(TOP.length, NODE + 1) for within in blocks_of(TOP, length)]
inside = st.builds(
    lambda value, length: Prefix(Family.IPV4, TOP.value + value, 32).ancestor(length),
    st.integers(0, 127),
    st.integers(26, 32),
)
excludes = st.lists(inside, max_size=3).map(tuple)
steps = st.lists(
    st.tuples(st.sampled_from(["free", "shared", "release", "give"]), st.integers(0, 63))
)


class Pair:
    """A space and the plain set of what is given out in it; every change is made to both."""

    def __init__(self, exclude: tuple[Prefix, ...]) -> None:
        self.exclude = exclude
        self.space = Space.empty(TOP, NODE, BLOCK, exclude)
        self.given = set[Prefix]()

    def is_excluded(self, block: Prefix) -> bool:
        return any(block.overlaps(excluded) for excluded in self.exclude)

    def give(self, block: Prefix) -> None:
        if block in self.given or self.is_excluded(block):
            with pytest.raises(ValueError, match=r"already given out|is excluded"):
                self.space.given(block)
        else:
            self.space = self.space.given(block)
            self.given.add(block)

    def release(self, block: Prefix) -> None:
        if block not in self.given:
            with pytest.raises(ValueError, match=r"not given out|is excluded"):
                self.space.released(block)
        else:
            self.space = self.space.released(block)
            self.given.remove(block)

    def take(self, within: Prefix, *, shared: bool) -> None:
        take = self.space.take_shared if shared else self.space.take_free
        taken = take(within)
        _, free, room = self.count(within)
        assert (taken is not None) == ((room if shared else free) > 0)
        if taken is not None:
            self.space, block = taken
            assert within.contains(block)
            assert not self.is_excluded(block)
            assert block not in self.given
            neighbours = set(blocks_of(block.ancestor(NODE), BLOCK)) & self.given
            assert bool(neighbours) == shared
            self.given.add(block)

    def count(self, within: Prefix) -> tuple[int, int, int]:
        """Load, free node prefixes and room, one by one."""
        load = free = room = 0
        for node_prefix in blocks_of(within, NODE):
            blocks = list(blocks_of(node_prefix, BLOCK))
            used = sum(block in self.given for block in blocks)
            left = sum(b not in self.given and not self.is_excluded(b) for b in blocks)
            load += used
            free += not used and left > 0
            room += left if used else 0
        return load, free, room

    def check(self) -> None:
        for length in range(TOP.length, NODE + 1):
            for within in blocks_of(TOP, length):
                assert self.space.measure(within) == self.count(within)
        every = [w for length in range(TOP.length, NODE + 1) for w in blocks_of(TOP, length)]
        for order in (every, every[::-1], sorted(every)):
            each = [self.space.measure(within) for within in order]
            assert list(self.space.measure_each(order)) == each


@given(excludes, steps)
@settings(max_examples=examples(test=80, prove=10_000))
def test_every_history_agrees_with_a_set_of_blocks(
    exclude: tuple[Prefix, ...], history: list[tuple[str, int]]
) -> None:
    pair = Pair(exclude)
    before, first = pair.space, pair.space.measure(TOP)
    for what, number in history:
        if what == "give":
            pair.give(ALL[number % len(ALL)])
        elif what == "release":
            pair.release(ALL[number % len(ALL)])
        else:
            within = TOP if number % 3 else TOP.halves()[number % 2].halves()[0]
            pair.take(within, shared=what == "shared")
    pair.check()
    for block in set(pair.given):
        pair.release(block)
    assert pair.space == before == Space.empty(TOP, NODE, BLOCK, exclude)
    assert before.measure(TOP) == first


@given(excludes, st.lists(st.sampled_from(ALL), max_size=20), st.sampled_from(TOPS))
@settings(max_examples=examples(test=200, prove=10_000))
def test_the_blocks_to_come_are_those_that_are_taken_one_by_one(
    exclude: tuple[Prefix, ...], before: list[Prefix], within: Prefix
) -> None:
    pair = Pair(exclude)
    for block in before:
        pair.give(block)
    coming, taken = pair.space.free_blocks(within), []
    space = pair.space
    while (found := space.take_free(within)) is not None:
        space, block = found
        taken.append(block)
    assert list(coming) == taken
    assert pair.space.given_all(taken) == space


def test_of_a_large_empty_prefix_one_block_is_told_at_a_time() -> None:
    space = Space.empty(Prefix.parse("fd00::/40"), 64, 64, ())
    assert [str(block) for block in islice(space.free_blocks(space.prefix), 5)] == [
        "fd00::/64",
        "fd00:0:80::/64",
        "fd00:0:40::/64",
        "fd00:0:c0::/64",
        "fd00:0:20::/64",
    ]


@given(excludes, st.lists(st.sampled_from(ALL), max_size=20), st.lists(st.sampled_from(ALL)))
@settings(max_examples=examples(test=200, prove=20_000))
def test_giving_out_many_at_once_is_giving_out_each(
    exclude: tuple[Prefix, ...], before: list[Prefix], blocks: list[Prefix]
) -> None:
    pair = Pair(exclude)
    for block in before:
        pair.give(block)
    taken = pair.given | {block for block in ALL if pair.is_excluded(block)}
    if len(set(blocks)) < len(blocks) or not taken.isdisjoint(blocks):
        with pytest.raises(ValueError, match=r"already given out|is excluded"):
            pair.space.given_all(blocks)
    once = list(dict.fromkeys(block for block in blocks if block not in taken))
    together = pair.space.given_all(once)
    for block in once:
        pair.give(block)
    assert together == pair.space


def test_blocks_of_other_sizes_or_places_are_refused() -> None:
    space = Space.empty(TOP, NODE, BLOCK, ())
    for text in ("10.0.0.0/29", "10.0.1.0/30", "10.0.0.0/31"):
        with pytest.raises(ValueError, match="not a block of"):
            space.given(Prefix.parse(text))
        with pytest.raises(ValueError, match="not a block of"):
            space.given_all([Prefix.parse(text)])


@given(st.integers(1, 8))
def test_what_is_taken_is_spread_so_that_every_prefix_is_even(count: int) -> None:
    space = Space.empty(TOP, NODE, BLOCK, ())
    for _ in range(count):
        taken = space.take_free(TOP)
        assert taken is not None
        space = taken[0]
    for length in (25, 26, 27):
        for prefix in blocks_of(TOP, length):
            left, right = (space.measure(half)[0] for half in prefix.halves())
            assert 0 <= left - right <= 1


def test_a_node_prefix_is_never_wider_than_the_space() -> None:
    space = Space.empty(Prefix.parse("10.0.0.0/29"), NODE, BLOCK, ())
    assert space.node_length == 29
    assert space.measure(space.prefix) == (0, 1, 0)
