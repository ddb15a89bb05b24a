"""What a history amounts to, in the figures that `vpcrouter simulate` prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vpcrouter.reachability import Violation
from vpcrouter.simulate.engine import History, Moment
from vpcrouter.simulate.standing import Standing

OURS = "vpcrouter"
"""The name under which our own entries are compared."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and largest value over the settled seconds; infinite where a value is."""

    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One way to fill the tables, ours or another, over the same settled seconds."""

    name: str
    entries: Spread
    max_load: Spread
    combined_load: Spread
    detour_share: Spread
    unreachable_share: Spread
    changes_total: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a simulation.

    Over the settled seconds; of a history without events, those of its start. Subnets are
    unserved from a settled second (or the start, at second 0) until the next one, and after the
    last one no time passes.
    """

    steps_total: int
    steps_per_event: float
    max_load: Spread
    max_load_over_least: Spread
    unserved_seconds: float
    violations: tuple[tuple[float, Violation], ...]


def figures(history: History) -> Figures:
    """The figures of a history."""
    settled = history.moments or (history.start,)
    steps = sum(moment.steps for moment in history.moments)
    events = sum(moment.events for moment in history.moments)
    return Figures(
        steps_total=steps,
        steps_per_event=steps / events if events else 0.0,
        max_load=_spread(moment.max_load for moment in settled),
        max_load_over_least=_spread(map(_ratio, settled)),
        unserved_seconds=sum(_unserved((history.start, *history.moments))),
        violations=tuple(
            (moment.seconds, violation)
            for moment in (history.start, *history.moments)
            for violation in moment.violations
        ),
    )


def comparison(history: History, names: Sequence[str]) -> tuple[Compared, ...]:
    """Ours first, then the rivals, which have these names, in their order."""
    moments = history.moments or (history.start,)
    changes = history.moments
    found = [_compared(OURS, [m.standing for m in moments], [m.standing for m in changes])]
    for place, name in enumerate(names):
        settled = [moment.rivals[place] for moment in moments]
        found.append(_compared(name, settled, [moment.rivals[place] for moment in changes]))
    return tuple(found)


def _compared(name: str, settled: Sequence[Standing], changed: Sequence[Standing]) -> Compared:
    return Compared(
        name=name,
        entries=_spread(float(one.entries) for one in settled),
        max_load=_spread(one.max_load for one in settled),
        combined_load=_spread(one.combined_load for one in settled),
        detour_share=_spread(one.detour_share for one in settled),
        unreachable_share=_spread(one.unreachable_share for one in settled),
        changes_total=sum(one.changes for one in changed),
    )


def comparison_document(compared: Iterable[Compared]) -> list[dict[str, object]]:
    """A comparison as JSON objects."""
    return [
        {
            "name": one.name,
            "entries": _spread_document(one.entries),
            "max_load": _spread_document(one.max_load),
            "combined_load": _spread_document(one.combined_load),
            "detour_share": _spread_document(one.detour_share),
            "unreachable_share": _spread_document(one.unreachable_share),
            "changes_total": one.changes_total,
        }
        for one in compared
    ]


def document(result: Figures) -> dict[str, object]:
    """The figures as JSON objects; what is infinite, which JSON does not know, is null."""
    return {
        "steps_total": result.steps_total,
        "steps_per_event": result.steps_per_event,
        "max_load": _spread_document(result.max_load),
        "max_load_over_least": _spread_document(result.max_load_over_least),
        "unserved_seconds": result.unserved_seconds,
        "violations": len(result.violations),
        "violation_list": [
            {
                "seconds": seconds,
                "rule": violation.rule,
                "table": violation.table,
                "destination": None
                if violation.destination is None
                else str(violation.destination),
                "text": violation.text,
            }
            for seconds, violation in result.violations
        ],
    }


def _spread(values: Iterable[float]) -> Spread:
    found = list(values)
    return Spread(math.fsum(found) / len(found), max(found))


def _ratio(moment: Moment) -> float:
    if moment.least:
        return moment.max_load / moment.least
    return math.inf if moment.max_load else 1.0


def _unserved(moments: Iterable[Moment]) -> Iterator[float]:
    for before, after in pairwise(moments):
        yield len(before.unserved) * (after.seconds - before.seconds)


def _spread_document(spread: Spread) -> dict[str, float | None]:
    return {
        "mean": spread.mean if math.isfinite(spread.mean) else None,
        "worst": spread.worst if math.isfinite(spread.worst) else None,
    }
