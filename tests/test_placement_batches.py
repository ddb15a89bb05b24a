"""Many nodes that join at once get what they would get, each for itself, and no block twice."""

from __future__ import annotations

from ipam.model import Claim, Network, state
from ipam.networks import changed
from ipam.placement import grow, join
from ipam.prefix import Family, Prefix
from tests.address_checks import assert_sound, largest_piece

V4, V6 = Family.IPV4, Family.IPV6


def network(*cidrs: str) -> Network:
    return Network(
        "pods",
        tuple(Prefix.parse(cidr) for cidr in cidrs),
        block={V4: 26, V6: 66},
        node={V4: 24, V6: 64},
    )


def test_who_is_refused_in_one_family_has_nothing_in_the_other() -> None:
    pods = network("10.0.0.0/16", "fd00::/63")  # eight blocks of IPv6
    claims = [Claim(f"n{number:02}", "a", "id") for number in range(12)]
    outcome = join(state("test", [pods]), claims, {V4: 8, V6: 8})
    assert {refusal.node for refusal in outcome.refused} == {f"n{n:02}" for n in range(8, 12)}
    assert_sound(outcome.state)
    for family in Family:
        loads = [s.load for s in outcome.state.spaces["a"] if s.family is family]
        assert sum(loads) == 8


def test_blocks_that_a_node_gets_at_once_are_beside_each_other() -> None:
    before = join(state("test", [network("10.0.0.0/16")]), [Claim("n", "a", "id")], {}).state
    both = changed(before, (network("10.0.0.0/16", "fd00::/56"),))
    outcome = grow(both, "n", {V6: 3}, {})
    assert not outcome.refused
    assert_sound(outcome.state)
    found = [block for block in outcome.state.blocks("n") if block.family is V6]
    assert len({block.ancestor(64) for block in found}) == 1
    assert len(found) == 3


def test_a_batch_is_spread_as_evenly_as_those_who_come_one_after_the_other() -> None:
    claims = [Claim(f"n{number:02}", "a", "id") for number in range(24)]
    start = join(state("test", [network("10.0.0.0/16")]), claims[:8], {V4: 4}).state
    at_once, one_by_one = join(start, claims, {V4: 4}).state, start
    for claim in claims:
        one_by_one = join(one_by_one, [claim], {V4: 4}).state
    assert_sound(at_once)
    assert largest_piece(at_once, 4) == largest_piece(one_by_one, 4) == 6
