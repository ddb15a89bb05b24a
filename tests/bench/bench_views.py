"""Looking at addresses: the tree, what is free, what lies apart, and the picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from ipam.model import Claim, Network, State, state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from tests.bench.figures import Figure
from vpcrouter.views.fragments import fragmentation, fragments
from vpcrouter.views.page import page
from vpcrouter.views.tree import trees

V4 = Family.IPV4


def figures() -> Iterator[Figure]:
    """Seconds of the processor for 5,000 nodes with a /24 each, and 100,000 with a /26 each."""
    for nodes, cidr, length in ((5_000, "100.64.0.0/10", 24), (100_000, "10.0.0.0/8", 26)):
        now = joined(nodes, cidr, length)
        yield Figure(f"tree of {nodes:,} nodes", taken(partial(trees, now, {})), "s")
        yield Figure(f"fragmentation of {nodes:,} nodes", taken(partial(apart, now)), "s")
        found = trees(now, {})
        drawing = taken(partial(page, now, found, {}))
        yield Figure(f"picture of {nodes:,} nodes", drawing, "s")
        yield Figure("  its file", len(page(now, found, {})) / 1e6, "MB")


def apart(now: State) -> None:
    """What lies apart, node by node and together."""
    fragmentation(now, fragments(now))


def joined(nodes: int, cidr: str, length: int) -> State:
    """So many nodes in three subnets."""
    pods = Network("pods", (Prefix.parse(cidr),), block={V4: 26}, node={V4: length})
    claims = [Claim(f"node-{number:06}", f"subnet-{number % 3}", "i") for number in range(nodes)]
    return join(state("bench", [pods]), claims, {V4: 44}).state


def taken(run: Callable[[], object]) -> float:
    """Seconds of the processor."""
    start = time.process_time()
    run()
    return time.process_time() - start
