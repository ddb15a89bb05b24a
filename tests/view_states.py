"""States of addresses to look at: small networks in which nodes have joined, grown and left."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from ipam.model import Claim, Network, State, state
from ipam.placement import grow, join, leave
from ipam.prefix import Family, Prefix
from tests.generators import small_networks


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any state that a few joins, growths and departures lead to; ranges may be closed."""
    networks = draw(small_networks())
    now = state("test", networks)
    budget = dict.fromkeys(Family, draw(st.integers(1, 8)))
    for number in range(draw(st.integers(0, 14))):
        kind = draw(st.sampled_from(["join", "join", "join", "grow", "leave", "return"]))
        names = sorted(now.nodes)
        if kind == "join" or not names:
            subnet = draw(st.sampled_from(["s0", "s1", "s2"]))
            now = join(now, [Claim(f"n{number}", subnet, "first")], budget).state
        elif kind == "grow":
            name = draw(st.sampled_from(names))
            now = grow(now, name, draw(st.integers(1, 3)), budget).state
        elif kind == "leave":
            now = leave(now, [draw(st.sampled_from(names))])
        else:
            node = now.nodes[draw(st.sampled_from(names))]
            now = join(now, [Claim(node.name, node.subnet, f"again{number}")], budget).state
    closed = draw(st.booleans())
    return replace(now, networks=tuple(map(_closed, now.networks))) if closed else now


def _closed(network: Network) -> Network:
    return replace(network, closed=network.cidrs[:1])


def blocks_of(prefix: Prefix, length: int) -> set[Prefix]:
    """Every block of a prefix."""
    family = prefix.family
    step = 1 << (family.width - length)
    return {Prefix(family, value, length) for value in range(prefix.value, prefix.last + 1, step)}
