"""Giving out addresses: how long it takes, and how evenly they can be cut afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean, median

from ipam.allocator import Allocator
from ipam.claims import Claims
from ipam.model import Claim, Network, State, state
from ipam.placement import join, leave
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.sqlite import SqliteStore
from tests.address_checks import ideal_piece, largest_piece
from tests.bench.figures import Figure, seconds

V4 = Family.IPV4
ONE = {V4: 1}
OPENB = {"a": 774, "b": 461, "c": 288}
ENTRIES = 44


def figures() -> Iterator[Figure]:
    """Placement alone, then with the store, then its quality."""
    yield from _speed()
    yield from _with_store()
    yield from _with_claims()
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
        store = SqliteStore(Path(folder) / "small.db")
        addresses = Addresses(store, "bench", pods)
        everybody = claims(5_000, 3)
        taken = _spent(lambda: addresses.join(everybody, {V4: 498}))
        yield from _times("register 5,000 nodes in one batch", [taken], "s", 2)
        each = [
            _spent(partial(addresses.join, [Claim(f"one more {number}", "s1", "id")], {V4: 498}))
            for number in range(200)
        ]
        yield from _times("one claim on 5,000 nodes", each, "ms", 5)
        store.close()
    yield from _registered()


def _registered() -> Iterator[Figure]:
    """Registration grows with the number of nodes, and with nothing more."""
    pods = [network("10.0.0.0/8", 26)]
    for count, goal, most in ((10_000, None, None), (30_000, None, None), (100_000, 20.0, 500.0)):
        with tempfile.TemporaryDirectory() as folder:
            store = SqliteStore(Path(folder) / "large.db")
            addresses = Addresses(store, "bench", pods)
            everybody = claims(count, 3)
            taken = _spent(partial(addresses.join, everybody, {V4: 498}))
            name = f"register {count:,} nodes in one batch"
            yield from _times(name, [taken], "s", goal)
            yield Figure("  time of the processor for each", taken.processor * 1e6 / count, "us")
            taken = _spent(lambda: Addresses(store, "bench", pods).load())  # noqa: B023 - at once
            yield from _times(f"read {count:,} nodes from the store", [taken], "s", None)
            store.close()
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        yield Figure("  most memory of this process so far", peak, "MiB", most)


def _with_claims() -> Iterator[Figure]:
    """What nodes and the allocator spend, each with a store of its own at the same file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "claims.db"
        pods = [network("100.64.0.0/10", 24)]
        theirs, own = SqliteStore(path), SqliteStore(path)
        allocator = Allocator(own, Addresses(own, "bench", pods))
        nodes = [Claims(theirs, f"n{number:06}", "id") for number in range(5_000)]
        each = [
            _spent(partial(node.register, f"s{i % 3}", {}, ONE)) for i, node in enumerate(nodes)
        ]
        yield from _times("a node writes its claim", each, "ms", None)
        taken = _spent(lambda: allocator.run({V4: 498}))
        yield from _times("grant 5,000 claims in one batch", [taken], "s", 2)
        each = []
        for number in range(200):
            node = Claims(theirs, f"one more {number}", "id")

            def join(node: Claims = node) -> None:
                node.register("s1", {}, ONE)
                allocator.run({V4: 498})
                if not node.granted().blocks:
                    raise RuntimeError("a claim was not granted")

            each.append(_spent(join))
        yield from _times("one claim, grant and look on 5,000 nodes", each, "ms", 5)
        each = [_spent(lambda: allocator.run({V4: 498})) for _ in range(50)]
        yield from _times("a pass of the allocator with nothing to do", each, "ms", None)
        theirs.close()
        own.close()


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds by the clock, and of the processor: what they differ by is waiting."""

    clock: float
    processor: float


def _spent(run: Callable[[], object]) -> _Spent:
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return _Spent(time.perf_counter() - clock, time.process_time() - processor)


def _times(name: str, each: list[_Spent], unit: str, goal: float | None) -> Iterator[Figure]:
    """Medians; on a busy machine the second line says what the first would be on an idle one."""
    scale = {"s": 1, "ms": 1000}[unit]
    yield Figure(name, median(one.clock for one in each) * scale, unit, goal)
    yield Figure("  time of the processor", median(o.processor for o in each) * scale, unit, goal)


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
