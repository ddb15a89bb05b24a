"""Snapshots of a million blocks as columns, in many shapes; all random parts have a seed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ipam.prefix import Family, Prefix
from vpcrouter.model import BlockColumns, NodeColumns, RouteTable, Snapshot, Subnet

Column = npt.NDArray[Any]
Weights = Callable[[np.random.Generator, int], Column]


def alike(_random: np.random.Generator, count: int) -> Column:
    """Every block weighs the same."""
    return np.ones(count)


def pareto(random: np.random.Generator, count: int) -> Column:
    """A few weigh much more than most."""
    return random.pareto(1.2, count) + 1


def mostly_nothing(random: np.random.Generator, count: int) -> Column:
    """Two in three weigh nothing."""
    return (random.random(count) < 1 / 3).astype(np.float64)


def zipf(exponent: float) -> Weights:
    """The k-th heaviest weighs 1 / k to the power of this."""

    def weights(random: np.random.Generator, count: int) -> Column:
        return random.permutation(np.arange(1, count + 1, dtype=np.float64) ** -exponent)

    return weights


@dataclass(frozen=True, slots=True)
class Shape:
    """``blocks`` of equal size over equal ``subnets``, each with its share of ``nodes``.

    ``gaps``: about half of the space is empty. ``scattered``: a node's blocks lie anywhere, not
    side by side. ``capacities``: what nodes have, by chance. ``deep``: IPv6 blocks that differ
    behind the 64th bit only.
    """

    blocks: int
    budget: int
    subnets: int = 6
    family: Family = Family.IPV4
    weights: Weights = alike
    per_node: float = 1
    gaps: bool = True
    scattered: bool = False
    deep: bool = False
    capacities: Sequence[float] = (1.0,)
    seed: int = field(default=1, kw_only=True)

    def snapshot(self) -> Snapshot:
        """The snapshot, with one table."""
        random = np.random.default_rng(self.seed)
        share = self.blocks // self.subnets
        places = [self._places(random, share) for _ in range(self.subnets)]
        room = 1 << (share - 1).bit_length() + self.gaps
        prefixes, high, low, length = self._addresses(places, room)
        crew = max(1, round(share / self.per_node))
        owners = [self._owners(random, share, crew) + s * crew for s in range(self.subnets)]
        names = [f"s{number:05}" for number in range(self.subnets)]
        nodes = _nodes(names, crew, random.choice(self.capacities, self.subnets * crew))
        limits = {self.family: self.budget}
        blocks = {family: BlockColumns.empty(family) for family in Family}
        blocks[self.family] = BlockColumns(
            self.family,
            column("Q", high, np.uint64),
            column("Q", low, np.uint64),
            column("B", np.full(len(low), length), np.uint8),
            column("I", np.concatenate(owners), np.uint32),
            column("d", self.weights(random, len(low)), np.float64),
        )
        return Snapshot(
            tuple(Subnet(n, "a", "t", (p,)) for n, p in zip(names, prefixes, strict=True)),
            nodes,
            blocks,
            (RouteTable("t", limits, limits),),
        )

    def _places(self, random: np.random.Generator, share: int) -> Column:
        if not self.gaps:
            return np.arange(share)
        room = 1 << (share - 1).bit_length() + 1
        return np.sort(random.choice(room, share, replace=False))

    def _owners(self, random: np.random.Generator, share: int, crew: int) -> Column:
        """Each node owns about as many; without scatter, neighbours."""
        if self.scattered:
            return random.integers(0, crew, share)
        return random.permutation(crew)[np.arange(share) * crew // share]

    def _addresses(
        self, places: Sequence[Column], room: int
    ) -> tuple[list[Prefix], Column, Column, int]:
        """The subnets' prefixes, the halves of the blocks' addresses, and their length."""
        width, bits = self.family.width, room.bit_length() - 1
        number = np.repeat(np.arange(self.subnets), [len(each) for each in places])
        at = np.concatenate(places).astype(np.uint64)
        if self.family is Family.IPV4:
            top = (self.subnets - 1).bit_length() or 1
            shift = max(0, width - top - bits - 2)
            length = width - top
            starts = [subnet << length for subnet in range(self.subnets)]
            low = (number.astype(np.uint64) << np.uint64(length)) + (at << np.uint64(shift))
            prefixes = [Prefix(self.family, start, top) for start in starts]
            return prefixes, np.zeros(len(low)), low, width - shift
        base = 0xFD << 120
        prefixes = [Prefix(self.family, base | n << 100, 28) for n in range(self.subnets)]
        high = np.uint64(base >> 64) + (number.astype(np.uint64) << np.uint64(36))
        if self.deep:
            return prefixes, high, at << np.uint64(16), 112
        return prefixes, high + (at << np.uint64(8)), np.zeros(len(at)), 56


def _nodes(subnets: Sequence[str], crew: int, capacity: Column) -> NodeColumns:
    count = len(subnets) * crew
    flags = np.ones(count)
    return NodeColumns(
        tuple(subnets),
        [f"n{number:07}" for number in range(count)],
        column("I", np.arange(count) // crew, np.uint32),
        [f"eni-{number:07}" for number in range(count)],
        column("d", capacity, np.float64),
        column("B", flags, np.uint8),
        column("B", flags, np.uint8),
        column("B", np.zeros(count), np.uint8),
        {},
    )


def column(code: str, values: Column, kind: type[np.generic]) -> array[Any]:
    """Values as a column of a snapshot."""
    found: array[Any] = array(code)
    found.frombytes(np.ascontiguousarray(values, dtype=kind).tobytes())
    return found
