"""Giving out addresses: how long it takes, and how evenly they can be cut afterwards."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean, median

from ipam.model import Claim, Network, State, state
from ipam.placement import join, leave
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.sqlite import SqliteStore
from tests.address_checks import ideal_piece, largest_piece
from tests.bench.figures import Figure, seconds

V4 = Family.IPV4
OPENB = {"a": 774, "b": 461, "c": 288}
ENTRIES = 44


def figures() -> Iterator[Figure]:
    """Placement alone, then with the store, then its quality."""
    yield from _speed()
    yield from _with_store()
    yield from _quality()


def network(cidr: str, node: int) -> Network:
    """A network with blocks of /26."""
    return Network("pods", (Prefix.parse(cidr),), block={V4: 26}, node={V4: node})


def claims(count: int, subnets: int) -> list[Claim]:
    """So many nodes, dealt to the subnets."""
    return [Claim(f"n{number:06}", f"s{number % subnets}", "id") for number in range(count)]


def _speed() -> Iterator[Figure]:
    for count, cidr, node, goal in (
        (5_000, "100.64.0.0/10", 24, 2),
        (10_000, "10.0.0.0/8", 26, None),
        (100_000, "10.0.0.0/8", 26, 20),
    ):
        empty = state("bench", [network(cidr, node)])
        run = partial(join, empty, claims(count, 3), {V4: 498})
        yield Figure(f"place {count:,} nodes in one batch", seconds(run, times=1), "s", goal)


def _with_store() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        pods = [network("100.64.0.0/10", 24)]
        addresses = Addresses(SqliteStore(Path(folder) / "small.db"), "bench", pods)
        start = time.perf_counter()
        addresses.join(claims(5_000, 3), {V4: 498})
        yield Figure("register 5,000 nodes in one batch", time.perf_counter() - start, "s", 2)
        taken = []
        for number in range(200):
            start = time.perf_counter()
            addresses.join([Claim(f"one more {number}", "s1", "id")], {V4: 498})
            taken.append(time.perf_counter() - start)
        yield Figure("one claim on 5,000 nodes", median(taken) * 1000, "ms", 5)
        pods = [network("10.0.0.0/8", 26)]
        addresses = Addresses(SqliteStore(Path(folder) / "large.db"), "bench", pods)
        start = time.perf_counter()
        addresses.join(claims(100_000, 3), {V4: 498})
        yield Figure("register 100,000 nodes in one batch", time.perf_counter() - start, "s", 20)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield Figure("  most memory of this process", most, "MiB", 500)


def _quality() -> Iterator[Figure]:
    pods = network("100.64.0.0/10", 24)
    everybody = [Claim(f"{s}{i:04}", s, "id") for s, count in OPENB.items() for i in range(count)]
    batch = join(state("bench", [pods]), everybody, {V4: ENTRIES}).state
    yield Figure("openb in one batch: largest piece", largest_piece(batch, ENTRIES), "nodes", 37)
    shuffled = list(everybody)
    Random(1).shuffle(shuffled)
    for order, arrivals in (
        ("in any order", shuffled),
        ("by subnet", everybody),
        ("by subnet, reversed", everybody[::-1]),
    ):
        now, ratios = state("bench", [pods]), []
        for claim in arrivals:
            now = join(now, [claim], {V4: ENTRIES}).state
            ratios.append(_ratio(now))
        yield from _ratios(f"openb one by one, {order}", ratios)
    yield from _ratios("openb, 10,000 joins and departures", list(_churn(batch)))


def _churn(now: State) -> Iterator[float]:
    random = Random(1)
    home = [subnet for subnet, count in OPENB.items() for _ in range(count)]
    for number in range(10_000):
        if random.random() < 0.5:
            claim = Claim(f"new{number:05}", random.choice(home), "id")
            now = join(now, [claim], {V4: ENTRIES}).state
        else:
            now = leave(now, [random.choice(list(now.nodes))])
        yield _ratio(now)


def _ratio(now: State) -> float:
    return largest_piece(now, ENTRIES) / ideal_piece(now, ENTRIES)


def _ratios(name: str, ratios: list[float]) -> Iterator[Figure]:
    yield Figure(f"{name}: largest piece over ideal, mean", fmean(ratios), "")
    yield Figure("  worst", max(ratios), "")
    yield Figure("  at the end", ratios[-1], "")
