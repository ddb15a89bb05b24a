"""When addresses run out at the present growth, and how sure that is.

The growth is the median of the slopes between all pairs of samples (H. Theil, "A rank-invariant
method of linear and polynomial regression analysis", 1950), which a day of failures or a burst of
tests does not throw off; its range is that of P. K. Sen, "Estimates of the regression coefficient
based on Kendall's tau", 1968, at 90 %. Of too few samples, or of a time that is too short, nothing
is concluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ipam.prefix import Family
from ipam.topology import Path
from vpcrouter.views.tree import Branch, Kind

DAY = 86_400.0
LEAST_SAMPLES = 4
LEAST_SECONDS = DAY
_QUANTILE = 1.645  # of the normal distribution, for 90 % between both ends


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """How many nodes and blocks there were at one time (seconds since 1970, UTC)."""

    time: float
    nodes: int
    blocks: int


Place = tuple[str, Family, Path]
"""What samples are of: a network, a family, and the path of a place or subnet in it."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much comes in a day; the real growth is from ``least`` to ``most`` at 90 %."""

    per_day: float
    least: float
    most: float


class Verdict(StrEnum):
    """What can be said about when something runs out."""

    RUNS_OUT = "runs out"
    NO_GROWTH = "no growth"
    TOO_FEW_SAMPLES = "too few samples"
    CLOSED = "closed"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Outlook:
    """When something is used up: after ``days``, or from ``earliest`` to ``latest``.

    ``days`` is None unless it runs out, ``latest`` also where it may never.
    """

    verdict: Verdict
    days: float | None = None
    earliest: float | None = None
    latest: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is ahead of one branch: of its empty node prefixes, and of all of its blocks.

    Without an empty node prefix nodes share those of others; without a block they are refused.
    ``samples`` is how many it rests on, over so many ``days``; both are 0 for a given growth.
    """

    branch: Branch
    samples: int
    days: float
    nodes: Growth | None
    blocks: Growth | None
    prefixes_last: Outlook
    blocks_last: Outlook


def growth(times: Sequence[float], counts: Sequence[float]) -> Growth | None:
    """The growth of counts over times in seconds, per day; None where samples do not suffice."""
    if len(times) < LEAST_SAMPLES or max(times) - min(times) < LEAST_SECONDS:
        return None
    slopes = sorted(
        (counts[later] - counts[earlier]) / (times[later] - times[earlier]) * DAY
        for later in range(len(times))
        for earlier in range(later)
        if times[later] != times[earlier]
    )
    n, pairs = len(times), len(slopes)
    reach = _QUANTILE * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((pairs - reach) / 2))
    high = min(pairs - 1, math.ceil((pairs + reach) / 2))
    middle = pairs // 2
    median = slopes[middle] if pairs % 2 else (slopes[middle - 1] + slopes[middle]) / 2
    return Growth(median, slopes[low], slopes[high])


def outlook(left: int, grows: Growth | None) -> Outlook:
    """How long what is left lasts."""
    if left <= 0:
        return Outlook(Verdict.FULL, 0.0, 0.0, 0.0)
    if grows is None:
        return Outlook(Verdict.TOO_FEW_SAMPLES)
    if grows.per_day <= 0:
        return Outlook(Verdict.NO_GROWTH)
    return Outlook(
        Verdict.RUNS_OUT,
        left / grows.per_day,
        left / grows.most,
        left / grows.least if grows.least > 0 else None,
    )


def forecasts(found: Sequence[Branch], history: Mapping[Place, Sequence[Sample]]) -> list[Forecast]:
    """What is ahead of networks, places and subnets; what runs out first comes first."""
    made = []
    for branch in foreseen(found):
        samples = sorted(set(history.get(place_of(branch), ())))
        times = [sample.time for sample in samples]
        nodes = growth(times, [sample.nodes for sample in samples])
        blocks = growth(times, [sample.blocks for sample in samples])
        span = (times[-1] - times[0]) / DAY if times else 0.0
        made.append(_forecast(branch, len(samples), span, nodes, blocks))
    return sorted(made, key=_urgency)


def forecasts_at(found: Sequence[Branch], nodes_per_day: float) -> list[Forecast]:
    """The same at a growth that is given: so many nodes a day in each family.

    They come to places as today's nodes are spread over them, and with as many blocks each.
    """
    totals: dict[Family, int] = {}
    for tree in found:
        totals[tree.family] = totals.get(tree.family, 0) + tree.nodes
    made = []
    for branch in foreseen(found):
        total = totals[branch.family]
        share = branch.nodes / total if total else 0.0
        blocks = branch.blocks / branch.nodes if branch.nodes else 0.0
        per_day = nodes_per_day * share
        exactly = Growth(per_day, per_day, per_day)
        of_blocks = Growth(*[per_day * blocks] * 3)
        made.append(_forecast(branch, 0, 0.0, exactly, of_blocks))
    return sorted(made, key=_urgency)


def foreseen(found: Sequence[Branch]) -> list[Branch]:
    """The branches that have a history: prefix groups have none, since they are divided anew."""
    return [
        branch
        for tree in found
        for _, branch in tree.walk(tree.height)
        if branch.kind is not Kind.GROUP
    ]


def place_of(branch: Branch) -> Place:
    """What the samples of a branch are of."""
    return branch.network, branch.family, branch.path


def _forecast(
    branch: Branch, samples: int, days: float, nodes: Growth | None, blocks: Growth | None
) -> Forecast:
    if branch.closed:
        closed = Outlook(Verdict.CLOSED)
        return Forecast(branch, samples, days, nodes, blocks, closed, closed)
    free = branch.free
    prefixes_last = outlook(free.node_prefixes, nodes)
    blocks_last = outlook(free.blocks, blocks)
    return Forecast(branch, samples, days, nodes, blocks, prefixes_last, blocks_last)


def _urgency(forecast: Forecast) -> tuple[float, float, str, Path]:
    first, second = (
        math.inf if outlook.days is None else outlook.days
        for outlook in (forecast.prefixes_last, forecast.blocks_last)
    )
    return first, second, forecast.branch.network, forecast.branch.path
