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
SEED = 1
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
    moments = list(history(Cluster(setting, SEED, alike), EVENTS, every, SLACK))
    ratios = [moment.max_load / moment.ideal for moment in moments]
    name = f"{setting.nodes:,} nodes at {setting.budget}, {EVENTS:,} events, seed {SEED}"
    yield Figure(f"{name}: load over ideal, mean", fmean(ratios), "", mean)
    yield Figure("  worst", max(ratios), "", worst)
    least = [moment.least / moment.ideal for moment in moments]
    yield Figure("  of the best plan for the same addresses, mean", fmean(least), "")
    yield Figure("  of the best plan for the same addresses, worst", max(least), "")
    yield from _changes(setting, moments)


def _changes(setting: Setting, moments: list[Moment]) -> Iterator[Figure]:
    """Changes that leaves cost, and joins: told apart where each event is planned for alone."""
    goal = 1.1 * setting.tables * setting.budget / setting.nodes
    leaves = sum(moment.leaves for moment in moments)
    if all(moment.joins + moment.leaves == 1 for moment in moments):
        joins = [moment for moment in moments if moment.joins and moment.shared]
        yield Figure("  changes per join", fmean(m.changes for m in joins), "", 0)
        changes = sum(moment.changes for moment in moments if moment.leaves)
    else:
        changes = sum(moment.changes for moment in moments)
    forced = sum(moment.forced for moment in moments)
    yield Figure("  changes per leave", changes / leaves, "", goal)
    yield Figure("  of which the next hop itself has left", forced / leaves, "")
    yield Figure("  changes over those", changes / forced, "", 1.1)


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
