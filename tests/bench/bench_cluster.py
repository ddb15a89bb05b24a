"""From the files of a large cluster to its plan: a whole process, with files and store in memory.

With a store that all nodes have joined, and without one, where all of them would join. Times are of
the processor, for the user and in the kernel.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.bench_commands import run
from tests.bench.figures import Figure
from tests.bench.large_cluster import write_large_cluster

NODES = 100_000
QUOTA = 500
TIMES = 3


def figures() -> Iterator[Figure]:
    """The plan as text, before anybody has joined too, and with its snapshot as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        file = write_large_cluster(Path(folder), NODES, QUOTA)
        new = file.with_name("new.yaml")
        text = file.read_text(encoding="utf-8").replace("store.db", "new.db")
        new.write_text(text, encoding="utf-8")
        ways = (
            ("as text", file, ()),
            ("as text, all of them new", new, ()),
            ("with its snapshot, as JSON", file, ("-o", "json")),
        )
        for what, cluster, options in ways:
            taken = list(_measured(partial(run, "plan", "-f", str(cluster), *options)))
            name = f"{NODES:,} nodes, from file to plan {what}"
            yield Figure(name, statistics.median(used for used, _ in taken), "s", 5)
            yield Figure("  on the clock", statistics.median(clock for _, clock in taken), "s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    yield Figure("  memory of the largest of these processes", peak / 1000, "MB")


def _measured(command: partial[None]) -> Iterator[tuple[float, float]]:
    """Seconds of the processor and of the clock of several runs, after one that warms up."""
    command()
    for _ in range(TIMES):
        used, clock = _used(), time.perf_counter()
        command()
        yield _used() - used, time.perf_counter() - clock


def _used() -> float:
    """The processor's seconds of all processes that were started and have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime
