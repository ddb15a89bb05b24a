"""States of addresses to look at: small networks in which nodes have joined, grown and left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.model import Claim, Network, State, state
from ipam.networks import changed
from ipam.placement import grow, join, leave
from ipam.prefix import Family, Prefix
from ipam.topology import PLAIN
from tests.generators import small_networks
from tests.topologies import claims, networks, topologies

_KINDS = ("join", "join", "join", "grow", "leave", "return", "change")


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any state that a few joins, growths, departures and changes of the topology lead to.

    Networks may be divided by levels and groups, and ranges may be closed.
    """
    now = state("test", draw(small_networks() | networks()))
    budget = dict.fromkeys(Family, draw(st.integers(1, 8)))
    for number in range(draw(st.integers(0, 14))):
        kind, claim = draw(st.sampled_from(_KINDS)), draw(claims())
        names = sorted(now.nodes)
        if kind == "join" or not names:
            now = join(now, [claim], budget).state
        elif kind == "grow":
            name = draw(st.sampled_from(names))
            now = grow(now, name, draw(st.integers(1, 3)), budget).state
        elif kind == "leave":
            now = leave(now, [draw(st.sampled_from(names))])
        elif kind == "return":
            node = now.nodes[draw(st.sampled_from(names))]
            back = Claim(node.name, node.subnet, f"again{number}", node.labels)
            now = join(now, [back], budget).state
        elif any(network.topology != PLAIN for network in now.networks):
            divided = draw(topologies())
            now = _under(now, (replace(network, topology=divided) for network in now.networks))
    if draw(st.booleans()):
        now = _under(now, (replace(one, closed=one.cidrs[:1]) for one in now.networks))
    return now


def _under(now: State, networks: Iterable[Network]) -> State:
    """The state under other networks; as it is where that would break something."""
    try:
        return changed(now, tuple(networks))
    except BadInputError:
        return now


def blocks_of(prefix: Prefix, length: int) -> set[Prefix]:
    """Every block of a prefix."""
    family = prefix.family
    step = 1 << (family.width - length)
    return {Prefix(family, value, length) for value in range(prefix.value, prefix.last + 1, step)}
