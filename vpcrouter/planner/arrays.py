"""The column types of the planner, and the sums and searches that all of it needs."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Positions: TypeAlias = npt.NDArray[np.uint32]
Words: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_SAMPLES = 16_384  # values looked at to guess a threshold: enough to miss by a few per cent


def sums(positions: Ints | Positions, values: Floats, size: int) -> Floats:
    """The sum of the values at each position from 0 to ``size`` (excluded)."""
    return np.bincount(positions, weights=values, minlength=size)[:size].astype(
        np.float64, copy=False
    )


def range_sums(values: Floats, start: Ints, end: Ints) -> Floats:
    """The sum over each of these non-empty ranges."""
    found = _over_ranges(np.add, values, start, end)
    cut = (end == len(values)) & (start < len(values) - 1)
    found[cut] += values[-1]
    return found


def range_greatest(values: Floats, start: Ints, end: Ints) -> Floats:
    """The greatest value in each of these non-empty ranges."""
    found = _over_ranges(np.maximum, values, start, end)
    cut = end == len(values)
    found[cut] = np.maximum(found[cut], values[-1])
    return found


def _over_ranges(ufunc: np.ufunc, values: Floats, start: Ints, end: Ints) -> Floats:
    """Reduced over each range, without the last value of all (``reduceat`` knows no end there).

    In order of the starts, since what lies between two ranges is gone through too.
    """
    order = np.argsort(start, kind="stable")
    bounds = np.empty(2 * len(start), dtype=np.int64)
    bounds[0::2] = start[order]
    bounds[1::2] = np.minimum(end[order], len(values) - 1)
    found = np.empty(len(start))
    found[order] = ufunc.reduceat(values, bounds)[0::2]
    return found


def without_greatest(values: Floats, number: int) -> float:
    """The sum of all but so many of the greatest values.

    Added up without those: beside one value of 10**18 the rest would otherwise be lost.
    """
    if number >= len(values):
        return 0.0
    if number == 0:
        return float(values.sum())
    least = _greatest(values, number)[0]
    below = values < least
    left = len(values) - number - int(np.count_nonzero(below))
    return float(values[below].sum()) + left * float(least)


def greatest_sum(values: Floats, number: int) -> float:
    """The sum of so many of the greatest values."""
    if number >= len(values):
        return float(values.sum())
    return float(_greatest(values, number).sum()) if number else 0.0


def greatest(values: Floats, number: int) -> Floats:
    """So many of the greatest values, or all, the greatest first."""
    if 0 < number < len(values):
        values = _greatest(values, number)
    descending: Floats = np.sort(values)[::-1]
    return descending[:number]


def _greatest(values: Floats, number: int) -> Floats:
    """So many of the greatest values, the least of them first."""
    step = len(values) // _SAMPLES
    if step > 1:
        sample = values[::step]
        rank = len(sample) - 1 - number * 5 // 4 // step - 32
        if rank > 0:
            candidates = values[values >= np.partition(sample, rank)[rank]]
            if len(candidates) >= number:
                values = candidates
    found: Floats = np.partition(values, len(values) - number)[len(values) - number :]
    return found


def lower_bounds(column: Words, start: Ints, end: Ints, wanted: Words) -> Ints:
    """For each range of a column that ascends inside it, the first row at or above a value."""
    low, high = start.copy(), end.copy()
    while bool((open_ := low < high).any()):
        middle = (low + high) >> 1
        below = open_ & (column[np.minimum(middle, len(column) - 1)] < wanted)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low
