"""Divided networks: how few routes nodes need after long histories, and how long groups take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from random import Random

from ipam.model import Claim, Network, State, state
from ipam.placement import grow, join, leave
from ipam.prefix import Family, Prefix, merge
from ipam.topology import PLAIN, SUBNET, Level, LevelKind, NamedGroup, Topology, topology
from tests.bench.figures import Figure, seconds

V4 = Family.IPV4
BUDGET = {V4: 498}
ZONE, RACK = Level(LevelKind.LABEL, "zone"), Level(LevelKind.LABEL, "rack")
TAKEN = 0.8


def figures() -> Iterator[Figure]:
    """Routes per node, then times."""
    for name, divided in (
        ("subnets", PLAIN),
        ("zones, subnets, racks", topology([ZONE, SUBNET, RACK])),
    ):
        yield from _churn(name, divided)
    yield from _many_groups()


def _churn(name: str, divided: Topology) -> Iterator[Figure]:
    """10,000 joins, departures and growths, 2:2:1, with 80 % of the node prefixes taken."""
    cidr = Prefix.parse("100.64.0.0/12")  # 4,096 node prefixes
    network = Network("pods", (cidr,), {V4: 26}, {V4: 24}, topology=divided)
    random, number, refused = Random(1), 0, 0
    goal = int(TAKEN * (1 << (24 - cidr.length)))
    now = join(state("bench", [network]), [_claim(random, n) for n in range(goal)], BUDGET).state
    number = goal
    for _ in range(10_000):
        kind = random.choice("jjllg")
        taken = _taken(now)
        if kind == "g":
            outcome = grow(now, random.choice(list(now.nodes)), 1, BUDGET)
            refused += len(outcome.refused)
            now = outcome.state
        elif kind == "j" and taken <= goal:
            number += 1
            outcome = join(now, [_claim(random, number)], BUDGET)
            refused += len(outcome.refused)
            now = outcome.state
        elif taken >= goal:
            now = leave(now, [random.choice(list(now.nodes))])
    routes = sum(len(merge(node.blocks)) for node in now.nodes.values()) / len(now.nodes)
    yield Figure(f"10,000 changes, {name}: refused", refused, "", 0)
    yield Figure("  routes per node on average", routes, "", 1.2)


def _taken(now: State) -> int:
    """How many node prefixes are in use."""
    spaces = [space for own in now.spaces.values() for space in own]
    empty = sum(space.measure(space.prefix)[1] for space in spaces)
    return sum(1 << (space.node_length - space.prefix.length) for space in spaces) - empty


def _claim(random: Random, number: int) -> Claim:
    zone, rack = random.randrange(3), random.randrange(8)
    labels = (("rack", f"{zone}-{rack}"), ("zone", str(zone)))
    return Claim(f"n{number:06}", f"s{zone}", "id", labels)


def _many_groups() -> Iterator[Figure]:
    groups = [NamedGroup(f"g{n}", labels=(("rack", f"r{n}"),)) for n in range(10_000)]
    yield Figure("read 10,000 groups", seconds(partial(topology, (), groups), times=3), "s", 1)
    divided = topology((), groups)
    cidr = Prefix.parse("10.0.0.0/8")
    network = Network("pods", (cidr,), {V4: 26}, {V4: 24}, topology=divided)
    claims = [
        Claim(f"n{n:06}", f"s{n % 3}", "id", (("rack", f"r{n % 10_000}"),)) for n in range(20_000)
    ]
    start = time.process_time()
    now = join(state("bench", [network]), claims, BUDGET).state
    yield Figure("place 20,000 nodes in 10,000 groups", time.process_time() - start, "s")
    one = Claim("one more", "s1", "id", (("rack", "r7"),))
    taken = seconds(partial(join, now, [one], BUDGET), times=3)
    yield Figure("one node more", taken * 1000, "ms")
