"""The column types of the planner, and the sum that all of it needs."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]


def sums(positions: Ints, values: Floats, size: int) -> Floats:
    """The sum of the values at each position from 0 to ``size`` (excluded)."""
    return np.bincount(positions, weights=values, minlength=size)[:size].astype(
        np.float64, copy=False
    )
