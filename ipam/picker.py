"""Takes blocks for nodes that belong in the same places, one after the other. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from ipam.draft import Draft
from ipam.groups import Arrangement
from ipam.places import Places
from ipam.pools import Option
from ipam.prefix import Family, Prefix
from ipam.room import Left
from ipam.space import Space, measured

_Loaded = tuple[int, int, Prefix]
"""An area with its load; its address decides between equals, as fast as numbers are compared."""


class _Choice(NamedTuple):
    """A block that may be given out next, from an area of this load."""

    heap: list[_Loaded]
    load: int
    area: Prefix
    block: Prefix


_value = attrgetter("value")


class Picker:
    """Picks blocks of one subnet and family; ``options`` say where they may come from.

    ``budget`` is the smallest number of route entries that any table can hold, ``left`` what those
    that are there can still take. What is picked is given out in the draft by ``settle``: a batch
    at once takes a third of the time. Until then nobody else may change the subnet's spaces.
    """

    def __init__(
        self,
        draft: Draft,
        places: Places,
        options: Sequence[Option],
        plan: Arrangement,
        budget: int,
        left: Left,
    ) -> None:
        self._draft = draft
        self._left = left
        self._wishes = [_suits_in_any_case, left.takes, left.takes_evenly]  # the last one first
        self._places = places
        self.options = options
        self._subnet = options[0].location.subnet
        self.family: Family = options[0].pool.family
        self._plan = plan
        self._budget = budget
        self._is_full = False
        self._areas: list[Prefix] = []
        self._open: list[_Loaded] = []
        self._closing: list[_Loaded] = []
        self._coming: dict[Prefix, Iterator[Prefix]] = {}  # by area
        self._seen: dict[Prefix, Prefix] = {}  # by area: the next one, not picked yet
        self._picked: list[Prefix] = []
        self._look()

    def pick(self) -> Prefix | None:
        """A block in an empty node prefix, else in one that is in use; None if all is full."""
        block = None if self._is_full else self._in_lightest_area() or self._beyond()
        self._is_full = block is None
        return block

    def settle(self) -> None:
        """Give out in the draft what was picked."""
        picked = sorted(self._picked, key=_value)
        self._picked.clear()
        self._coming.clear()
        self._seen.clear()
        start = 0
        while start < len(picked):
            space = self._draft.space(self._subnet, picked[start])
            end = bisect_right(picked, space.prefix.last, start, key=_value)
            self._draft.put_space(self._subnet, space.given_all(picked[start:end]))
            start = end

    def beside(self, owned: Sequence[Prefix]) -> Prefix | None:
        """A further block for the owner of these, as close to them as can be."""
        self.settle()
        return self._within(owned) or self._next_to(owned) or self.pick()

    def _look(self) -> None:
        """Find the areas to choose from, and how full they are."""
        self._areas = [area for option in self.options for area in self._places.areas(option)]
        self._open.clear()
        self._closing.clear()
        around = partial(self._draft.space, self._subnet)
        for _, area, load, free in measured(around, sorted(self._areas, key=_value)):
            if free:
                heap = self._closing if area in self._plan.closing else self._open
                heap.append((load, area.value, area))
        heapq.heapify(self._open)
        heapq.heapify(self._closing)

    def _put(self, taken: tuple[Space, Prefix] | None) -> Prefix | None:
        if taken is None:
            return None
        space, block = taken
        self._draft.put_space(self._subnet, space)
        self._left.take(block)
        return block

    def _within(self, owned: Sequence[Prefix]) -> Prefix | None:
        for space, node_prefix in self._node_prefixes(owned):
            taken = space.take_shared(node_prefix)
            if taken is not None:
                return self._put(taken)
        return None

    def _next_to(self, owned: Sequence[Prefix]) -> Prefix | None:
        """An empty node prefix beside one of the owner's, or else in one of its areas."""
        for space, node_prefix in self._node_prefixes(owned):
            if node_prefix.length > space.prefix.length:
                around = node_prefix.ancestor(node_prefix.length - 1)
                beside = next(half for half in around.halves() if half != node_prefix)
                if any(area.contains(beside) for area in self._areas):
                    taken = space.take_free(beside)
                    if taken is not None:
                        return self._put(taken)
        for space, node_prefix in self._node_prefixes(owned):
            for area in self._areas:
                taken = space.take_free(area) if area.contains(node_prefix) else None
                if taken is not None:
                    return self._put(taken)
        return None

    def _node_prefixes(self, owned: Sequence[Prefix]) -> list[tuple[Space, Prefix]]:
        """The owner's node prefixes from which something may still be given out, and around it."""
        ranges = [cidr for option in self.options for cidr in option.pool.ranges]
        found = {}
        for block in owned:
            if any(cidr.contains(block) for cidr in ranges):
                space = self._draft.space(self._subnet, block)
                found[space.node_prefix(block)] = space
        return [(found[node_prefix], node_prefix) for node_prefix in sorted(found)]

    def _in_lightest_area(self) -> Prefix | None:
        """A block of the lightest area where entries take it evenly, else at all, else of any."""
        choice = self._lightest_where(self._wishes[-1])
        while choice is None and len(self._wishes) > 1:
            # Looked for once: in a large batch all entries of a subnet are soon full.
            self._wishes.pop()
            choice = self._lightest_where(self._wishes[-1])
        if choice is None:
            return None
        heapq.heappush(choice.heap, (choice.load + 1, choice.area.value, choice.area))
        self._picked.append(choice.block)
        self._left.take(choice.block)
        return choice.block

    def _lightest_where(self, suits: Callable[[Prefix], bool]) -> _Choice | None:
        """The lightest area whose next block suits, out of its heap, with that block."""
        choice = self._lightest()
        skipped: list[_Choice] = []
        while choice is not None and not suits(choice.block):
            skipped.append(choice)
            choice = self._lightest()
        for heap, load, area, block in skipped:
            heapq.heappush(heap, (load, area.value, area))
            self._seen[area] = block
        return choice

    def _lightest(self) -> _Choice | None:
        """The lightest area that has an empty node prefix, out of its heap, with a block of it."""
        while self._open or self._closing:
            heap = self._fuller_last()
            load, _, area = heapq.heappop(heap)
            block = self._next(area)
            if block is not None:
                return _Choice(heap, load, area, block)
        return None

    def _next(self, area: Prefix) -> Prefix | None:
        """The next block of an area in an empty node prefix."""
        seen = self._seen.pop(area, None)
        if seen is not None:
            return seen
        coming = self._coming.get(area)
        if coming is None:
            coming = self._draft.space(self._subnet, area).free_blocks(area)
            self._coming[area] = coming
        return next(coming, None)

    def _fuller_last(self) -> list[_Loaded]:
        """The heap to take an area from: closing groups when the others are full or heavier."""
        if not self._closing:
            return self._open
        fullest = self._open and self._open[0][0] >= self._plan.cap
        if not self._open or (fullest and self._closing[0] < self._open[0]):
            return self._closing
        return self._open

    def _beyond(self) -> Prefix | None:
        """Empty room of the subnet's own, a further prefix, or a block in somebody's node prefix.

        A further prefix needs an entry in every table, sharing none: while the prefixes of all
        subnets are few for the budget, nobody shares.
        """
        self.settle()
        if self._widened(self._places.assign):
            return self._in_lightest_area()
        if 2 * (self._draft.count_prefixes(self.family) + 1) <= self._budget:
            ways = (self._further, self._shared, self._adopted)
        else:
            ways = (self._shared, self._adopted, self._further)
        for way in ways:
            block = way()
            if block is not None:
                return block
        return None

    def _further(self) -> Prefix | None:
        return self._in_lightest_area() if self._widened(self._places.extend) else None

    def _adopted(self) -> Prefix | None:
        return self._shared() if self._widened(self._places.adopt) else None

    def _widened(self, way: Callable[[Option], bool]) -> bool:
        for option in self.options:
            if way(option):
                self._look()
                return True
        return False

    def _shared(self) -> Prefix | None:
        for option in self.options:
            for space, part in self._places.parts(option):
                taken = space.take_shared(part)
                if taken is not None:
                    return self._put(taken)
        return None


def _suits_in_any_case(_: Prefix) -> bool:
    """No wish: what is left where no entry takes a block."""
    return True
