"""Placement and planning over long histories, beside what static groups would do."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from tests.bench.figures import Figure
from tests.bench.long_histories import (
    LARGE,
    SMALL,
    Cluster,
    Moment,
    Setting,
    alike,
    history,
    zipf,
)
from vpcrouter.simulate.baselines import Rival, fitting, per_zone

SLACK = 0.05
SEEDS = range(1, 5)
EVENTS = 10_000
ZIPF_EVENTS = 2_000
ZIPF_SEEDS = range(1, 21)


def figures() -> Iterator[Figure]:
    """Equal weights at both sizes, then Zipf weights beside the best of the static groups."""
    yield from _churn(SMALL, every=1, mean=1.04, worst=1.12)
    yield from _churn(LARGE, every=20, mean=1.01, worst=1.05)
    for exponent in (1.0, 1.2):
        yield from _skewed(exponent)


def _churn(setting: Setting, every: int, mean: float, worst: float) -> Iterator[Figure]:
    """Loads over the ideal one, of all moments of all seeds, and what changes."""
    histories = [
        list(history(Cluster(setting, seed, alike), EVENTS, every, SLACK)) for seed in SEEDS
    ]
    moments = [moment for each in histories for moment in each]
    ratios = [[moment.max_load / moment.ideal for moment in each] for each in histories]
    name = f"{setting.nodes:,} nodes at {setting.budget}, {EVENTS:,} events"
    yield Figure(
        f"{name}, seeds {SEEDS[0]} to {SEEDS[-1]}: load over ideal, mean",
        fmean(ratio for each in ratios for ratio in each),
        "",
        mean,
    )
    yield Figure("  in the worst of the seeds", max(fmean(each) for each in ratios), "")
    yield Figure("  worst", max(ratio for each in ratios for ratio in each), "", worst)
    least = [moment.least / moment.ideal for moment in moments]
    yield Figure("  of the best plan for the same addresses, mean", fmean(least), "")
    yield Figure("  of the best plan for the same addresses, worst", max(least), "")
    yield from _changes(setting, moments)
    per_leave = [_per_leave(each) for each in histories]
    yield Figure("  changes per leave in the worst of the seeds", max(per_leave), "")


def _changes(setting: Setting, moments: list[Moment]) -> Iterator[Figure]:
    """Changes that leaves cost, and joins: told apart where each event is planned for alone."""
    goal = 1.1 * setting.tables * setting.budget / setting.nodes
    if all(moment.joins + moment.leaves == 1 for moment in moments):
        joins = [moment for moment in moments if moment.joins and moment.shared]
        yield Figure("  changes per join", fmean(m.changes for m in joins), "", 0)
    yield Figure("  changes per leave", _per_leave(moments), "", goal)
    forced = sum(moment.forced for moment in moments)
    leaves = sum(moment.leaves for moment in moments)
    yield Figure("  of which the next hop itself has left", forced / leaves, "")
    yield Figure("  changes over those", _per_leave(moments) * leaves / forced, "", 1.1)


def _per_leave(moments: list[Moment]) -> float:
    """Changes with leaves; those with joins count where several events are planned for at once."""
    changes = sum(moment.changes for moment in moments if moment.leaves)
    return changes / sum(moment.leaves for moment in moments)


def _skewed(exponent: float) -> Iterator[Figure]:
    """Our largest load over that of the best static groups at the same moment."""
    ours: list[float] = []
    for seed in ZIPF_SEEDS:
        ours += _beside_static_groups(exponent, seed)
    name = f"Zipf {exponent}, {len(ZIPF_SEEDS)} seeds: load over best static groups"
    yield Figure(f"{name}, mean", fmean(ours), "")
    yield Figure("  worst", max(ours), "", 1)


def _beside_static_groups(exponent: float, seed: int) -> Iterator[float]:
    cluster = Cluster(SMALL, seed, zipf(exponent, SMALL.nodes))
    rivals = [Rival(per_zone(4)), Rival(per_zone(8)), Rival(fitting())]
    for moment in history(cluster, ZIPF_EVENTS, 100, SLACK):
        snapshot = cluster.snapshot()
        yield moment.max_load / min(rival.settle(snapshot).max_load for rival in rivals)
