"""What each node can carry, by its instance type: Gbit/s of baseline network bandwidth. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpcrouter.bandwidth import BASELINE_MEGABITS
from vpcrouter.problems import Problem

UNKNOWN_TYPE = (
    "is of no instance type with a known bandwidth: it counts as the median of the others"
)
NOT_ONE_KNOWN = "is of no instance type with a known bandwidth, like all others: all count alike"


@dataclass(frozen=True, slots=True)
class Capacities:
    """Capacity by node, and notes about those for which it is a guess."""

    of: Mapping[str, float]
    notes: tuple[Problem, ...]


def capacities(types: Mapping[str, str | None]) -> Capacities:
    """The capacity of each node, given its instance type (None: it says none).

    A type that is not in the table counts as the median of the nodes whose type is; where there is
    none of those, every node has capacity 1.
    """
    known = {
        node: BASELINE_MEGABITS[type_] / 1_000
        for node, type_ in types.items()
        if type_ is not None and type_ in BASELINE_MEGABITS
    }
    guess = median(known.values()) if known else 1.0
    reason = UNKNOWN_TYPE if known else NOT_ONE_KNOWN
    return Capacities(
        of={node: known.get(node, guess) for node in types},
        notes=tuple(Problem(reason, node) for node in sorted(types) if node not in known),
    )


def median(values: Iterable[float]) -> float:
    """The one in the middle of at least one value, or the mean of the two there.

    As that of ``statistics``, which takes longer to import than many a command to run.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
