"""Generated clusters that live: addresses given out by placement, then joins, failures, loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

from ipam.model import Claim, Network, state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from vpcrouter.model import Node, RouteTable, Subnet, snapshot
from vpcrouter.simulate.events import (
    Change,
    Event,
    Fail,
    Grow,
    Join,
    Leave,
    Load,
    Recover,
)
from vpcrouter.simulate.world import World, smallest_budget


def network(families: Sequence[Family], ipv4_length: int = 20) -> Network:
    """A small network, in which a node prefix holds four blocks; with a /22, four of those."""
    cidrs = {
        Family.IPV4: Prefix.parse(f"100.64.0.0/{ipv4_length}"),
        Family.IPV6: Prefix.parse("fd00:0:0:100::/56"),
    }
    return Network(
        "pods",
        tuple(cidrs[family] for family in families),
        block={Family.IPV4: 26, Family.IPV6: 66},
        node={Family.IPV4: 24, Family.IPV6: 64},
    )


def start(
    sizes: Sequence[int],
    tables: Sequence[RouteTable],
    pods: Network,
    flags: Mapping[str, str],
) -> World:
    """A cluster with so many nodes in each subnet and empty tables, shared out in turn.

    ``flags`` makes nodes special, by name: "down", "avoid" or "own" (does not forward).
    """
    subnets = [
        Subnet(f"s{i}", "abc"[i % 3], tables[i % len(tables)].id, ()) for i in range(len(sizes))
    ]
    claims = [
        Claim(f"{subnet.id}n{number}", subnet.id, "file")
        for subnet, size in zip(subnets, sizes, strict=True)
        for number in range(size)
    ]
    budget = smallest_budget(tables)
    outcome = join(state("test", [pods]), claims, budget)
    refused = {refusal.node for refusal in outcome.refused}
    nodes = [
        Node(
            claim.node,
            claim.subnet,
            f"eni-{claim.node}",
            {Family.IPV4: f"10.0.{position // 256}.{position % 256}"},
            healthy=flags.get(claim.node) != "down",
            forwards=flags.get(claim.node) != "own",
            avoid=flags.get(claim.node) == "avoid",
        )
        for position, claim in enumerate(claims)
        if claim.node not in refused
    ]
    return World.starting(outcome.state, snapshot(subnets, nodes, [], tables))


def table(name: str, budget: int, reserve: int = 0, own_subnet_weight: float = 1.0) -> RouteTable:
    """An empty table that takes so many entries of each family, and a few more at need."""
    return RouteTable(
        name,
        limit=dict.fromkeys(Family, budget + reserve),
        budget=dict.fromkeys(Family, budget),
        own_subnet_weight=own_subnet_weight,
    )


@dataclass(frozen=True, slots=True)
class Story:
    """A cluster, as ``start`` makes it, and what happens to it."""

    sizes: tuple[int, ...]
    tables: tuple[RouteTable, ...]
    pods: Network
    flags: Mapping[str, str]
    events: tuple[Event, ...]

    @property
    def world(self) -> World:
        """The cluster at its start."""
        return start(self.sizes, self.tables, self.pods, self.flags)


@st.composite
def stories(draw: st.DrawFn, max_events: int = 12) -> Story:
    """Small clusters under tight budgets; events that can happen, several of them at once."""
    families = draw(st.sampled_from([(Family.IPV4,), (Family.IPV6,), (Family.IPV4, Family.IPV6)]))
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    tables = [
        table(
            f"t{number}",
            draw(st.integers(0, 9)),
            reserve=draw(st.integers(0, 2)),
            own_subnet_weight=draw(st.sampled_from([1.0, 1.0, 0.5, 0.0])),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    kinds = draw(st.lists(st.sampled_from(_KINDS), max_size=max_events))
    random = Random(draw(st.integers(0, 2**32)))
    names = [f"s{i}n{j}" for i, size in enumerate(sizes) for j in range(size)]
    odd = random.choice([0.0, 0.0, 0.3])
    flags = {n: random.choice(["down", "avoid", "own"]) for n in names if random.random() < odd}
    pods = network(families, random.choice([20, 20, 22]))
    world = start(sizes, tables, pods, flags)
    events = _events(random, kinds, set(world.nodes), [subnet.id for subnet in world.subnets])
    return Story(tuple(sizes), tuple(tables), pods, flags, tuple(events))


_KINDS = (Join, Join, Leave, Leave, Fail, Fail, Recover, Recover, Grow, Load)


def _events(
    random: Random, kinds: Sequence[type[Change]], present: set[str], subnets: Sequence[str]
) -> list[Event]:
    """Events of these kinds, left out where nobody is there to whom they could happen."""
    seconds = 0.0
    found: list[Event] = []
    for kind in kinds:
        seconds += random.choice([0, 0, 1, 10])
        absent = sorted({f"x{number}" for number in range(6)} - present)
        if not (absent if kind is Join else present):
            continue
        node = random.choice(absent if kind is Join else sorted(present))
        found.append(Event(seconds, node, _change(random, kind, subnets), len(found) + 2))
        if kind is Join:
            present.add(node)
        elif kind is Leave:
            present.remove(node)
    return found


def _change(random: Random, kind: type[Change], subnets: Sequence[str]) -> Change:
    if kind is Join:
        return Join(random.choice(subnets))
    if kind is Grow:
        return Grow(random.randint(1, 6))
    if kind is Load:
        return Load(random.choice([0.0, 0.5, 3.0, 20.0]))
    plain: dict[type[Change], Change] = {Leave: Leave(), Fail: Fail(), Recover: Recover()}
    return plain[kind]
