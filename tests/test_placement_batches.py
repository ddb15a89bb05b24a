"""Many nodes that join at once get what they would get, each for itself, and no block twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.model import Claim, Network, State, state
from ipam.networks import changed
from ipam.placement import grow, join
from ipam.prefix import Family, Prefix
from tests.address_checks import assert_sound, largest_piece
from tests.counts import examples
from tests.topologies import assert_places_sound, claims
from tests.view_states import states

V4, V6 = Family.IPV4, Family.IPV6


def network(*cidrs: str) -> Network:
    return Network(
        "pods",
        tuple(Prefix.parse(cidr) for cidr in cidrs),
        block={V4: 26, V6: 66},
        node={V4: 24, V6: 64},
    )


@settings(max_examples=examples(test=60, prove=1_500))
@given(states(), st.lists(claims(), max_size=12), st.integers(1, 8))
def test_whoever_joins_together_all_is_sound(now: State, batch: list[Claim], entries: int) -> None:
    """Under topologies that change, too; each claim is of another node."""
    more = [Claim(f"new{number}", c.subnet, "id", c.labels) for number, c in enumerate(batch)]
    outcome = join(now, more, dict.fromkeys(Family, entries))
    assert_sound(outcome.state)
    assert_places_sound(outcome.state)
    refused = {refusal.node for refusal in outcome.refused}
    assert {claim.node for claim in more} - refused == outcome.state.nodes.keys() - now.nodes.keys()


def test_who_is_refused_in_one_family_has_nothing_in_the_other() -> None:
    pods = network("10.0.0.0/16", "fd00::/63")  # eight blocks of IPv6
    many = [Claim(f"n{number:02}", "a", "id") for number in range(12)]
    outcome = join(state("test", [pods]), many, {V4: 8, V6: 8})
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
    many = [Claim(f"n{number:02}", "a", "id") for number in range(24)]
    start = join(state("test", [network("10.0.0.0/16")]), many[:8], {V4: 4}).state
    at_once, one_by_one = join(start, many, {V4: 4}).state, start
    for claim in many:
        one_by_one = join(one_by_one, [claim], {V4: 4}).state
    assert_sound(at_once)
    assert largest_piece(at_once, 4) == largest_piece(one_by_one, 4) == 6
