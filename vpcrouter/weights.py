"""What blocks weigh: alike, by the class of their node, or by what agents have measured. Pure.

A weight that is in use stays until what was measured has left its band, and what is measured is
averaged over an hour: so noise moves nothing, and a table changes only for what lasts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ipam.errors import BadInputError
from ipam.prefix import Prefix
from vpcrouter.capacity import median
from vpcrouter.problems import Problem
from vpcrouter.reports import Use

WEIGHTS = "/weights/"
"""One key for each node, ``/weights/<node>/<identity>``: what its blocks weigh, and why."""

VERSION = 1
BAND = 1.25
"""A weight in use stays while what is measured is within this factor of it, either way."""

SHARE = 1 / 60
"""How much of a new report goes into the average: reports of a minute make it that of an hour."""

FLOOR = 0.05
"""No block weighs less than this share of what its node's class makes it: traffic may come back."""

PODS = 110  # what a node takes where nothing else is said (Kubernetes, "Considerations for large
#             clusters"): a node with as many weighs 1

NO_CLASS = "does not say how many pods it takes: it counts as the median of the others"


class Kind(StrEnum):
    """What a cluster's weights rest on."""

    EQUAL = "equal"
    CLASS = "class"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Owner:
    """A node with its blocks: name and identity, and how many pods it takes (None: not said)."""

    name: str
    identity: str
    pods: int | None
    blocks: tuple[Prefix, ...]


class Unit(StrEnum):
    """In what a weight is measured."""

    MEGABITS = "megabits"  # a second, to and from the pods of a block
    PODS = "pods"


@dataclass(frozen=True, slots=True)
class Steady:
    """A weight in use, the average that it rests on, and the report that was counted last.

    ``report`` is the revision of the store that wrote it; 0: none was, and there is no average.
    """

    used: float
    average: float
    report: int
    unit: Unit


@dataclass(frozen=True, slots=True)
class Reported:
    """The blocks of one report, and the revision of the store that wrote it."""

    blocks: Mapping[Prefix, Use]
    revision: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Weight by block, what to keep for the next time, and notes about what is a guess.

    A block that is not in ``of`` weighs 1.
    """

    of: Mapping[Prefix, float]
    steady: Mapping[Prefix, Steady]
    notes: tuple[Problem, ...]


EQUAL = Weights({}, {}, ())


def by_class(owners: Sequence[Owner]) -> Weights:
    """Each node weighs as many pods as it takes, over 110, divided among its blocks by family.

    A node that does not say counts as the median of those that do.
    """
    known = [owner.pods for owner in owners if owner.pods is not None]
    guess = float(median(known)) if known else float(PODS)
    weights: dict[Prefix, float] = {}
    for owner in owners:
        pods = float(owner.pods) if owner.pods is not None else guess
        for block in owner.blocks:
            beside = sum(other.family is block.family for other in owner.blocks)
            weights[block] = pods / PODS / beside
    silent = sorted(owner.name for owner in owners if owner.pods is None) if known else []
    return Weights(weights, {}, tuple(Problem(NO_CLASS, name) for name in silent))


def measured(
    owners: Sequence[Owner],
    reports: Mapping[tuple[str, str], Reported],
    before: Mapping[Prefix, Steady],
) -> Weights:
    """By bytes where any node reports some, else by pods where any does, else by class.

    Blocks without a report weigh what their class makes them, in the same unit: what all reported
    blocks weigh over what their classes make them. A report counts once; without a new one nothing
    changes.
    """
    classes = by_class(owners)
    fresh = dict(_fresh(owners, reports))
    unit = _unit([use for _, use in fresh.values()], before.values())
    if unit is None:
        return classes
    before = {block: steady for block, steady in before.items() if steady.unit is unit}
    counted: dict[Prefix, Steady] = {}
    for block in classes.of:
        earlier = before.get(block, Steady(0.0, 0.0, 0, unit))
        if block in fresh:
            revision, use = fresh[block]
            earlier = _averaged(earlier, _amount(use, unit), revision)
        if earlier.report:
            counted[block] = earlier
    scale = _ratio(counted, classes.of)
    steady: dict[Prefix, Steady] = {}
    for block, weight in classes.of.items():
        known = counted.get(block)
        wanted = weight * scale
        if known is not None:
            wanted = max(known.average, FLOOR * wanted)
        earlier = known or before.get(block) or Steady(0.0, 0.0, 0, unit)
        steady[block] = replace(earlier, used=steadied(earlier.used, wanted))
    return Weights({block: one.used for block, one in steady.items()}, steady, classes.notes)


def _fresh(
    owners: Iterable[Owner], reports: Mapping[tuple[str, str], Reported]
) -> Iterator[tuple[Prefix, tuple[int, Use]]]:
    """What is reported of blocks by those who own them, with the revision of the report."""
    for owner in owners:
        report = reports.get((owner.name, owner.identity))
        if report is not None:
            for block in owner.blocks:
                if block in report.blocks:
                    yield block, (report.revision, report.blocks[block])


def steadied(used: float, wanted: float) -> float:
    """The weight to use: the one in use while what is wanted is within its band."""
    return used if used > 0 and used / BAND <= wanted <= used * BAND else wanted


def _unit(uses: Sequence[Use], before: Iterable[Steady]) -> Unit | None:
    """In what to measure; None where nothing is used. Once bytes were counted, they are."""
    if any(use.rate > 0 for use in uses) or any(one.unit is Unit.MEGABITS for one in before):
        return Unit.MEGABITS
    return Unit.PODS if any(use.pods > 0 for use in uses) else None


def _amount(use: Use, unit: Unit) -> float:
    return use.rate * 8 / 1e6 if unit is Unit.MEGABITS else use.pods


def _averaged(earlier: Steady, amount: float, revision: int) -> Steady:
    """The average with one more report in it, unless that has been counted; the first one is it."""
    if not earlier.report:
        return replace(earlier, average=amount, report=revision)
    if earlier.report == revision:
        return earlier
    average = earlier.average + (amount - earlier.average) * SHARE
    return replace(earlier, average=average, report=revision)


def _ratio(averages: Mapping[Prefix, Steady], classes: Mapping[Prefix, float]) -> float:
    """What measured blocks weigh for each 1 of their class; 1 where nothing is measured."""
    expected = sum(classes[block] for block in averages)
    found = sum(one.average for one in averages.values())
    return found / expected if expected > 0 and found > 0 else 1.0


def encode_steady(blocks: Mapping[Prefix, Steady]) -> bytes:
    """What is kept of one node's blocks."""
    document = {
        "v": VERSION,
        "blocks": {
            str(block): {
                "used": one.used,
                "average": one.average,
                "report": one.report,
                "unit": one.unit.value,
            }
            for block, one in sorted(blocks.items())
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_steady(key: str, value: bytes) -> dict[Prefix, Steady]:
    """What was kept. Raises BadInputError, naming the key, for what is none."""
    try:
        document: object = json.loads(value)
        if isinstance(document, dict) and document.get("v") == VERSION:
            return {
                Prefix.parse(block): Steady(
                    _positive(one["used"]),
                    _positive(one["average"]),
                    int(one["report"]),
                    Unit(one["unit"]),
                )
                for block, one in document["blocks"].items()
            }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadInputError) as e:
        raise BadInputError(f"{key}: is damaged: it is left out") from e
    raise BadInputError(f"{key}: is of another version: it is left out")


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**64:
        raise ValueError(value)
    return float(value)
