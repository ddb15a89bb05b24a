"""The space of one prefix: which blocks in it are given out, and where there is room for more.

A persistent binary trie: a change makes new vertices along one path and shares all others, so an
old space stays valid and costs nothing to keep. It ends at *node prefixes* (the aligned prefix
that one node gets to itself and grows in), which keep their blocks as the bits of a number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from operator import sub

from msgspec import Struct, structs

from ipam.prefix import Family, Prefix, merge


class Vertex(Struct, frozen=True, gc=False):
    """What is known about one aligned prefix; a vertex that is None is wholly empty.

    ``load`` counts the blocks given out beneath, ``free`` the node prefixes beneath in which
    nothing is given out, ``room`` the blocks not given out in the other node prefixes. At a node
    prefix, bit i of ``used`` says that block i is given out or excluded. A vertex above that is
    wholly excluded has no children and nothing free.
    """

    load: int
    free: int
    room: int
    used: int
    zero: Vertex | None
    one: Vertex | None


_Path = list[tuple["Vertex | None", bool]]

_KNOWN_ORDERS = 12  # halvings of an empty prefix of which the order is kept: 4,096 numbers

_EXCLUDED = Vertex(0, 0, 0, 0, None, None)


class Space(Struct, frozen=True, gc=False):
    """All room of one prefix. ``node_length`` and ``block_length`` are prefix lengths.

    Blocks that overlap a prefix of ``exclude`` are never given out.
    """

    prefix: Prefix
    node_length: int
    block_length: int
    exclude: tuple[Prefix, ...]
    root: Vertex | None

    @classmethod
    def empty(
        cls, prefix: Prefix, node_length: int, block_length: int, exclude: tuple[Prefix, ...]
    ) -> Space:
        """A space with nothing given out. A node prefix is never wider than the space itself."""
        node_length = max(node_length, prefix.length)
        exclude = merge(excluded for excluded in exclude if excluded.overlaps(prefix))
        space = cls(prefix, node_length, block_length, exclude, None)
        return structs.replace(space, root=space._outline(prefix, exclude))

    @property
    def family(self) -> Family:
        """The address family of all that is in it."""
        return self.prefix.family

    @property
    def load(self) -> int:
        """How many blocks are given out."""
        return self.root.load if self.root is not None else 0

    @property
    def blocks_per_node(self) -> int:
        """How many blocks one node prefix holds."""
        return 1 << (self.block_length - self.node_length)

    def node_prefix(self, block: Prefix) -> Prefix:
        """The node prefix around a block."""
        return block.ancestor(self.node_length)

    def measure(self, prefix: Prefix) -> tuple[int, int, int]:
        """Load, free node prefixes and room of an aligned prefix, at least a node prefix wide."""
        vertex = self._vertex(prefix)
        if vertex is None:
            return 0, 1 << (self.node_length - prefix.length), 0
        return vertex.load, vertex.free, vertex.room

    def measure_each(self, prefixes: Iterable[Prefix]) -> Iterator[tuple[int, int, int]]:
        """As ``measure`` of each; in order it goes back only as far as two of them differ."""
        width, top = self.family.width, self.prefix.length
        path, value = [self.root], self.prefix.value
        for prefix in prefixes:
            shared = width - (prefix.value ^ value).bit_length() - top
            shared = min(shared, len(path) - 1, prefix.length - top)
            del path[shared + 1 :]
            vertex, value = path[-1], prefix.value
            for shift in range(width - top - shared - 1, width - prefix.length - 1, -1):
                if vertex is not None and vertex is not _EXCLUDED:
                    vertex = vertex.one if value >> shift & 1 else vertex.zero
                path.append(vertex)
            if vertex is None:
                yield 0, 1 << (self.node_length - prefix.length), 0
            else:
                yield vertex.load, vertex.free, vertex.room

    def block(self, node_prefix: Prefix, index: int) -> Prefix:
        """The block of that index in a node prefix."""
        value = node_prefix.value | index << (self.family.width - self.block_length)
        return Prefix(self.family, value, self.block_length)

    def take_free(self, within: Prefix) -> tuple[Space, Prefix] | None:
        """Give out the first block of an empty node prefix; None if there is none in a prefix.

        The way goes always towards the half with less load: whatever is given out is thus spread
        evenly, and any prefix can be halved in load.
        """
        block = next(self.free_blocks(within), None)
        return None if block is None else (self.given(block), block)

    def free_blocks(self, within: Prefix) -> Iterator[Prefix]:
        """What ``take_free`` gives out of a prefix one after the other, if nothing else changes.

        The prefix is at least a node prefix wide. Nothing is given out by that: a batch is looked
        at first, and then given out at once.
        """
        bits = self.family.width - within.length
        for value in self._free_values(self._vertex(within), within.value, bits):
            yield Prefix(self.family, value, self.block_length)

    def take_shared(self, within: Prefix) -> tuple[Space, Prefix] | None:
        """Give out a block of a node prefix that is in use, the lightest; None if all are full."""
        block = self._shared_block(within)
        return None if block is None else (self.given(block), block)

    def given(self, block: Prefix) -> Space:
        """The space after a block was given out; raises ValueError if it cannot be."""
        return self._changed(block, given=True)

    def given_all(self, blocks: Iterable[Prefix]) -> Space:
        """The space after all of these blocks were given out, in any order.

        Raises ValueError where one of them cannot be, or comes twice. Every vertex on the way is
        made once, where giving them out one by one makes it anew for each block beneath it.
        """
        family, first, last = self.family, self.prefix.value, self.prefix.last
        values: list[int] = []
        for block in blocks:
            value = block.value
            inside = block.family is family and first <= value <= last
            if block.length != self.block_length or not inside:
                raise ValueError(f"{block} is not a block of {self.prefix}")
            if self.exclude and self._is_excluded(block):
                raise ValueError(f"{block} is excluded")
            values.append(value)
        if not values:
            return self
        root = self._filled(self.root, self.prefix, sorted(values))
        return Space(self.prefix, self.node_length, self.block_length, self.exclude, root)

    def released(self, block: Prefix) -> Space:
        """The space after a block came back; raises ValueError if it was not given out."""
        return self._changed(block, given=False)

    def _shared_block(self, within: Prefix) -> Prefix | None:
        vertex, value = self._vertex(within), within.value
        bits = self.family.width - within.length
        while vertex is not None and vertex.room:
            if bits == self.family.width - self.node_length:
                return self.block(Prefix(self.family, value, self.node_length), _first(vertex))
            bits -= 1
            zero, one = vertex.zero, vertex.one
            if one is None or not one.room:
                vertex = zero
            elif zero is None or not zero.room or one.load < zero.load:
                vertex, value = one, value | 1 << bits
            else:
                vertex = zero
        return None

    def _free_values(self, vertex: Vertex | None, value: int, bits: int) -> Iterator[int]:
        """The addresses of those blocks; a vertex has so many bits below it, and starts there."""
        node_bits = self.family.width - self.node_length
        if vertex is None and bits - node_bits <= _KNOWN_ORDERS:
            for index in _evenly(bits - node_bits):
                yield value | index << node_bits
            return
        if vertex is not None and not vertex.free:
            return
        if vertex is not None and bits == node_bits:
            yield value | _first(vertex) << self.family.width - self.block_length
            return
        bits -= 1
        zero, one = (vertex.zero, vertex.one) if vertex is not None else (None, None)
        zeros = self._free_values(zero, value, bits)
        ones = self._free_values(one, value | 1 << bits, bits)
        low, high = zero.load if zero else 0, one.load if one else 0
        while True:
            right = high < low
            found = next(ones if right else zeros, None)
            if found is None:
                yield from zeros if right else ones
                return
            yield found
            if right:
                high += 1
            else:
                low += 1

    def _vertex(self, prefix: Prefix) -> Vertex | None:
        """As ``_descend``, without a path: this is asked for every group whenever a node joins."""
        vertex, value = self.root, prefix.value
        bit = 1 << (self.family.width - self.prefix.length) >> 1
        for _ in range(prefix.length - self.prefix.length):
            if vertex is None or vertex is _EXCLUDED:
                return vertex
            vertex = vertex.one if value & bit else vertex.zero
            bit >>= 1
        return vertex

    def _descend(self, prefix: Prefix, length: int, path: _Path) -> Vertex | None:
        """The vertex around a prefix at a length; its ancestors, and which way, go to the path."""
        vertex, value, top = self.root, prefix.value, self.family.width - 1
        for depth in range(self.prefix.length, length):
            if vertex is _EXCLUDED:
                return vertex
            right = bool(value >> (top - depth) & 1)
            path.append((vertex, right))
            if vertex is not None:
                vertex = vertex.one if right else vertex.zero
        return vertex

    def _changed(self, block: Prefix, *, given: bool) -> Space:
        if block.length != self.block_length or not self.prefix.contains(block):
            raise ValueError(f"{block} is not a block of {self.prefix}")
        if self.exclude and self._is_excluded(block):
            raise ValueError(f"{block} is excluded")
        path: _Path = []
        vertex = self._descend(block, self.node_length, path)
        load, used = (vertex.load, vertex.used) if vertex is not None else (0, 0)
        index = block.value >> (self.family.width - self.block_length)
        bit = 1 << (index & (self.blocks_per_node - 1))
        if bool(used & bit) is given:
            raise ValueError(f"{block} is {'already' if given else 'not'} given out")
        after = self._node_vertex(load + 1 if given else load - 1, used ^ bit)
        return self._rebuilt(path, vertex, after)

    def _filled(self, root: Vertex | None, prefix: Prefix, values: list[int]) -> Vertex | None:
        """What a vertex becomes once the blocks at these values, in order, are given out."""
        node_bits = self.family.width - self.node_length
        block_bits = self.family.width - self.block_length
        last = self.blocks_per_node - 1
        alike: dict[tuple[int, int], Vertex | None] = {}  # most node prefixes hold the same

        def node(vertex: Vertex | None, low: int, high: int) -> Vertex | None:
            load, used = (vertex.load, vertex.used) if vertex is not None else (0, 0)
            for value in values[low:high]:
                bit = 1 << (value >> block_bits & last)
                if used & bit:
                    block = Prefix(self.family, value, self.block_length)
                    raise ValueError(f"{block} is already given out")
                used |= bit
            key = load + high - low, used
            if key not in alike:
                alike[key] = self._node_vertex(*key)
            return alike[key]

        def fill(
            vertex: Vertex | None, start: int, bits: int, low: int, high: int
        ) -> Vertex | None:
            if bits == node_bits:
                return node(vertex, low, high)
            bits -= 1
            half = start | 1 << bits
            if values[high - 1] < half:
                middle = high
            else:
                middle = low if values[low] >= half else bisect_left(values, half, low, high)
            zero, one = (vertex.zero, vertex.one) if vertex is not None else (None, None)
            if low < middle:
                zero = fill(zero, start, bits, low, middle)
            if middle < high:
                one = fill(one, half, bits, middle, high)
            return _joined(zero, one, 1 << (bits - node_bits))

        return fill(root, prefix.value, self.family.width - prefix.length, 0, len(values))

    def _is_excluded(self, block: Prefix) -> bool:
        """Whether a block shares addresses with an excluded prefix; those are in order."""
        position = bisect_right(self.exclude, block)
        beside = self.exclude[max(0, position - 1) : position + 1]
        return any(block.overlaps(excluded) for excluded in beside)

    def _rebuilt(self, path: _Path, before: Vertex | None, vertex: Vertex | None) -> Space:
        """The space with another vertex at the end of a path from the root to a node prefix.

        Every count on the way changes by as much as that of the node prefix, so that nobody has to
        look at what is beside the path.
        """
        load, free, room = map(sub, _counts(vertex), _counts(before))
        empty = 2  # free node prefixes of an empty parent
        for parent, right in reversed(path):
            if parent is not None:
                zero, one = (parent.zero, vertex) if right else (vertex, parent.one)
                if zero is None and one is None:
                    vertex = None
                else:
                    vertex = Vertex(
                        parent.load + load, parent.free + free, parent.room + room, 0, zero, one
                    )
            elif vertex is not None:
                zero, one = (None, vertex) if right else (vertex, None)
                vertex = Vertex(load, empty + free, room, 0, zero, one)
            empty <<= 1
        return Space(self.prefix, self.node_length, self.block_length, self.exclude, vertex)

    def _node_vertex(self, load: int, used: int) -> Vertex | None:
        if not used:
            return None
        left = self.blocks_per_node - used.bit_count()
        if load:
            return Vertex(load, 0, left, used, None, None)
        return Vertex(0, 1 if left else 0, 0, used, None, None)

    def _outline(self, prefix: Prefix, exclude: tuple[Prefix, ...]) -> Vertex | None:
        inside = tuple(excluded for excluded in exclude if excluded.overlaps(prefix))
        if not inside:
            return None
        if prefix.length == self.node_length:
            used = 0
            for index in range(self.blocks_per_node):
                block = self.block(prefix, index)
                used |= any(block.overlaps(excluded) for excluded in inside) << index
            return self._node_vertex(0, used)
        if any(excluded.contains(prefix) for excluded in inside):
            return _EXCLUDED
        zero, one = prefix.halves()
        empty = 1 << (self.node_length - zero.length)
        return _joined(self._outline(zero, inside), self._outline(one, inside), empty)


def measured(
    around: Callable[[Prefix], Space | None], prefixes: Sequence[Prefix]
) -> Iterator[tuple[Space, Prefix, int, int]]:
    """Prefixes, each with the space around it, its load and its free node prefixes.

    They are disjoint, in order and of one family. ``around`` gives the space around one, and is
    asked once for each space: of thousands, only those that are needed are looked at. Prefixes in
    no space are left out.
    """
    start = 0
    while start < len(prefixes):
        space, end = around(prefixes[start]), start + 1
        if space is None:
            start = end
            continue
        last = space.prefix.last
        while end < len(prefixes) and prefixes[end].value <= last:
            end += 1
        inside = prefixes[start:end]
        for prefix, (load, free, _) in zip(inside, space.measure_each(inside), strict=True):
            yield space, prefix, load, free
        start = end


def _joined(zero: Vertex | None, one: Vertex | None, empty: int) -> Vertex | None:
    """The parent of two children; ``empty`` is how many node prefixes a child has that is None."""
    if zero is None:
        if one is None:
            return None
        return Vertex(one.load, one.free + empty, one.room, 0, None, one)
    if one is None:
        return Vertex(zero.load, zero.free + empty, zero.room, 0, zero, None)
    load, free, room = zero.load + one.load, zero.free + one.free, zero.room + one.room
    return Vertex(load, free, room, 0, zero, one)


@cache
def _evenly(halvings: int) -> tuple[int, ...]:
    """In which order the parts of an empty prefix are taken, always from the lighter half.

    They are the numbers from 0 on with their bits in reverse (van der Corput).
    """
    if not halvings:
        return (0,)
    half = _evenly(halvings - 1)
    return tuple(part | side << halvings - 1 for part in half for side in (0, 1))


def _first(node_prefix: Vertex) -> int:
    """The first block that is not given out."""
    return (~node_prefix.used & (node_prefix.used + 1)).bit_length() - 1


def _counts(node_prefix: Vertex | None) -> tuple[int, int, int]:
    """Load, free node prefixes and room of a node prefix."""
    if node_prefix is None:
        return 0, 1, 0
    return node_prefix.load, node_prefix.free, node_prefix.room
