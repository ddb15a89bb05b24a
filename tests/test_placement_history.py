"""Addresses through whole histories: unique, confined, refused only when nothing is left."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ipam.model import Claim, Network, State, state
from ipam.placement import Outcome, grow, join, leave, release
from ipam.prefix import Family, Prefix
from tests.address_checks import (
    assert_lineage,
    assert_sound,
    blocks_of,
    could_fit,
    groups_within,
    network_around,
)
from tests.counts import examples
from tests.generators import small_networks

NAMES = [f"n{number:02}" for number in range(40)]
SUBNETS = ["a", "b", "c"]

budgets = st.fixed_dictionaries({family: st.integers(0, 40) for family in Family})
claims = st.builds(
    Claim, st.sampled_from(NAMES), st.sampled_from(SUBNETS), st.sampled_from(["i1", "i2"])
)


class History(RuleBasedStateMachine):
    """Random joins, growths and departures, beside a model that only remembers who owns what."""

    def __init__(self) -> None:
        super().__init__()
        self.owned: dict[tuple[str, str], set[Prefix]] = {}
        self.present: dict[str, str] = {}
        self.subnet: dict[tuple[str, str], str] = {}
        self.now: State = state("test", ())
        self.past: list[State] = []

    @initialize(networks=small_networks())
    def begin(self, networks: tuple[Network, ...]) -> None:
        self.now = state("test", networks)

    @rule(batch=st.lists(claims, max_size=12), budget=budgets)
    def nodes_join(self, batch: list[Claim], budget: dict[Family, int]) -> None:
        before = self.now
        outcome = join(before, batch, budget)
        self.now = outcome.state
        refused = {refusal.node for refusal in outcome.refused}
        assert len(refused) == len(outcome.refused)
        for claim in batch:
            if claim.node in refused:
                assert self.now.nodes.get(claim.node) == before.nodes.get(claim.node)
                self.check_refusal(claim, batch)
            elif self.present.get(claim.node) != claim.identity:
                self.check_joined(claim)
        if self.now != before:
            assert groups_within(self.now, budget)

    def check_joined(self, claim: Claim) -> None:
        owner = claim.node, claim.identity
        node = self.now.nodes[claim.node]
        assert (node.identity, node.subnet) == (claim.identity, claim.subnet)
        if owner in self.owned:  # it is back, with what it had
            assert set(node.blocks) == self.owned[owner]
        else:
            assert sorted(block.family for block in node.blocks) == sorted(self.now.families)
        self.present[claim.node] = claim.identity
        self.subnet[owner] = claim.subnet
        self.owned[owner] = set(node.blocks)

    def check_refusal(self, claim: Claim, batch: Sequence[Claim]) -> None:
        """It contradicts another claim or what is known, or there is no room."""
        others = {other for other in batch if other.node == claim.node}
        known = self.subnet.get((claim.node, claim.identity), claim.subnet)
        exhausted = any(
            not could_fit(self.now, claim.subnet, family) for family in self.now.families
        )
        assert len(others) > 1 or known != claim.subnet or exhausted

    @precondition(lambda self: self.present)
    @rule(data=st.data(), blocks=st.integers(1, 4), budget=budgets)
    def a_node_grows(self, data: st.DataObject, blocks: int, budget: dict[Family, int]) -> None:
        name = data.draw(st.sampled_from(sorted(self.present)))
        before = self.now
        outcome = grow(before, name, blocks, budget)
        self.now = outcome.state
        node, owner = before.nodes[name], (name, self.present[name])
        if outcome.refused:
            assert outcome == Outcome(before, outcome.refused)
            tight = any(_free(before, node.subnet, family) < blocks for family in before.families)
            assert tight
            return
        new = set(self.now.blocks(name)) - self.owned[owner]
        assert len(new) == blocks * len(before.families)
        for family in before.families:
            own = _free_inside(before, name, family)
            inside = sum(block in own for block in new)
            assert inside == min(blocks, len(own))
        self.owned[owner] |= new

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=8))
    def nodes_leave(self, names: list[str]) -> None:
        self.now = leave(self.now, names)
        for name in set(names) & self.present.keys():
            identity = self.present.pop(name)
            del self.owned[name, identity], self.subnet[name, identity]

    @precondition(lambda self: self.now.former)
    @rule(data=st.data())
    def a_former_node_is_released(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.now.former)))
        self.now = release(self.now, [owner])
        del self.owned[owner], self.subnet[owner]

    @invariant()
    def whose_names_were_touched_is_known(self) -> None:
        self.past = assert_lineage(self.past, self.now)

    @invariant()
    def everything_is_sound(self) -> None:
        assert_sound(self.now)

    @invariant()
    def everybody_owns_what_was_given(self) -> None:
        owners = {(owner.name, owner.identity): set(owner.blocks) for owner in self.now.owners()}
        assert owners == self.owned
        assert {n.name: n.identity for n in self.now.nodes.values()} == self.present


def _free(now: State, subnet: str, family: Family) -> int:
    """How many blocks a subnet could still get: one more each time, until none fits."""
    count = 0
    while could_fit(now, subnet, family) and count < 8:
        outcome = grow(now, _somebody(now, subnet), 1)
        if outcome.refused:
            break
        now, count = outcome.state, count + 1
    return count


def _somebody(now: State, subnet: str) -> str:
    return next(node.name for node in now.nodes.values() if node.subnet == subnet)


def _free_inside(now: State, name: str, family: Family) -> set[Prefix]:
    """The blocks not given out in the node prefixes where a node has blocks."""
    given = {block for owner in now.owners() for block in owner.blocks}
    found: set[Prefix] = set()
    for node_prefix in now.node_prefixes(name):
        if node_prefix.family is family:
            network = network_around(now, node_prefix)
            inside = set(blocks_of(node_prefix, network.block[family])) - given
            found |= {b for b in inside if not any(b.overlaps(e) for e in network.exclude)}
    return found


def test_histories(seed: int) -> None:
    counts = settings(max_examples=examples(test=50, prove=4_000), stateful_step_count=20)
    run_state_machine_as_test(hypothesis.seed(seed)(History), settings=counts)


@given(small_networks(), st.lists(claims, max_size=30), budgets, st.data())
@settings(max_examples=examples(test=60, prove=5_000))
def test_the_order_of_claims_in_a_batch_does_not_matter(
    networks: tuple[Network, ...],
    batch: list[Claim],
    budget: dict[Family, int],
    data: st.DataObject,
) -> None:
    start = state("test", networks)
    shuffled = data.draw(st.permutations(batch))
    assert join(start, batch, budget) == join(start, shuffled, budget)
