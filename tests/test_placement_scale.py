"""Placement at the size of large clusters: little memory, few routes when space is scarce."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

from ipam.model import Claim, Network, State, state
from ipam.placement import grow, join, leave
from ipam.prefix import Family, Prefix, merge
from tests.address_checks import assert_disjoint, assert_sound
from tests.counts import examples

V4 = Family.IPV4
BUDGET = {V4: 498}


def empty(cidr: str, node: int) -> State:
    pods = Network("pods", (Prefix.parse(cidr),), block={V4: 26}, node={V4: node})
    return state("test", [pods])


def claims(count: int) -> list[Claim]:
    return [Claim(f"n{number:06}", f"s{number % 3}", "id") for number in range(count)]


def joined(now: State, count: int) -> State:
    """The state with so many nodes."""
    outcome = join(now, claims(count), BUDGET)
    assert not outcome.refused
    return outcome.state


def test_a_large_batch_takes_little_memory() -> None:
    """In a process of its own, since the memory of a process never shrinks."""
    large = examples(test=20_000, prove=100_000)
    program = f"from tests.test_placement_scale import measure; measure({large})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert float(done.stdout) < 500


def measure(count: int) -> None:
    """Print how much memory, in MiB, a process takes at most in which so many nodes join."""
    now = joined(empty("10.0.0.0/8", 26), count)
    assert_disjoint(tuple(block for node in now.nodes.values() for block in node.blocks))
    # Not ru_maxrss, which a process takes over from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)  # noqa: T201 - read by the test


def test_with_most_node_prefixes_taken_nodes_keep_few_neighbouring_blocks(seed: int) -> None:
    """Joins, departures and growths (two, two and one in five) with 80 % of the space in use."""
    random = Random(seed)
    cidr = "100.64.0.0/14"  # 1,024 node prefixes
    now = joined(empty(cidr, 24), 819)
    for number in range(examples(test=500, prove=10_000)):
        kind = random.randrange(5)
        if kind == 4:
            outcome = grow(now, random.choice(sorted(now.nodes)), 1, BUDGET)
            assert not outcome.refused
            now = outcome.state
        elif kind >= 2 and len(now.nodes) >= 819:
            now = leave(now, [random.choice(sorted(now.nodes))])
        elif len(now.nodes) <= 819:
            claim = Claim(f"new{number:05}", f"s{random.randrange(3)}", "id")
            outcome = join(now, [claim], BUDGET)
            assert not outcome.refused
            now = outcome.state
    assert_sound(now)
    routes = sum(len(merge(node.blocks)) for node in now.nodes.values())
    assert routes <= 1.2 * len(now.nodes)
