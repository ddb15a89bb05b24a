"""What is granted to whom: the claims of nodes against the state. Pure.

Of several claims of one name the one that was made last is of the node that is there. Whoever had
the name before keeps its blocks, may give them back, and gets no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipam import placement
from ipam.claim_records import ANY_NETWORK, NodeClaim
from ipam.draft import Draft
from ipam.model import Claim, Node, Owner, State, families_of
from ipam.placement import Outcome, Refusal
from ipam.prefix import Family, Prefix
from ipam.releasing import take_back


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim as it stands in the store: ``made`` and ``changed`` are revisions of its key."""

    claim: NodeClaim
    made: int
    changed: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What claims come to, compared with a state.

    ``joining`` are nodes that have nothing yet, or other labels by now; ``growing`` those that want
    more than they have, by owner, network and family; ``refused`` who cannot be served whatever
    room there is.
    """

    joining: tuple[Claim, ...]
    growing: Mapping[Owner, Mapping[str, Mapping[Family, int]]]
    refused: Mapping[Owner, str]

    @property
    def owners(self) -> frozenset[Owner]:
        """Who has to be given something."""
        return frozenset((claim.node, claim.identity) for claim in self.joining).union(self.growing)

    @property
    def is_empty(self) -> bool:
        """Whether nobody has to be given anything."""
        return not self.joining and not self.growing


def returned(state: State, asked: Iterable[Asked], tokens: Mapping[Prefix, str]) -> State:
    """The state without the blocks that their owners give back.

    ``tokens`` are those of the blocks' records: one that was granted anew since stays.
    """
    draft = Draft(state)
    for one in asked:
        owner = _present(state, one.claim.owner) or state.former.get(one.claim.owner)
        if owner is None:
            continue
        back = {
            back.prefix for back in one.claim.returned if tokens.get(back.prefix) == back.token
        }.intersection(owner.blocks)
        if back:
            take_back(draft, owner, back)
    return draft.state() if draft.touched_names else state


def demand(state: State, asked: Sequence[Asked]) -> Demand:
    """Who has to be given blocks."""
    latest: dict[str, Asked] = {}
    for one in asked:
        other = latest.setdefault(one.claim.node, one)
        if one.made > other.made:
            latest[one.claim.node] = one
    joining: list[Claim] = []
    growing: dict[Owner, Mapping[str, Mapping[Family, int]]] = {}
    asked_for = frozenset[str]().union(*(network.topology.labels for network in state.networks))
    refused: dict[Owner, str] = {}
    for one in asked:
        claim = one.claim
        reason = _refusal(state, claim, latest[claim.node].claim)
        missing = _missing(state, claim)
        if reason is not None:
            if missing:
                refused[claim.owner] = reason
            continue
        labels = tuple(sorted(item for item in claim.labels.items() if item[0] in asked_for))
        present = _present(state, claim.owner)
        if present is None:
            joins = bool(missing) or claim.owner in state.former
        else:
            joins = present.labels != labels
        if joins:
            joining.append(Claim(claim.node, claim.subnet, claim.identity, labels))
        if missing and present is not None:
            growing[claim.owner] = missing
    return Demand(tuple(sorted(joining)), dict(sorted(growing.items())), refused)


def granted(state: State, wanted: Demand, budget: Mapping[Family, int], at_once: int) -> Outcome:
    """Give everybody what is wanted, at most ``at_once`` further blocks per node and family.

    New nodes come first: they have nothing at all.
    """
    outcome = placement.join(state, wanted.joining, budget)
    refused: list[Refusal] = list(outcome.refused)
    for (name, _), missing in wanted.growing.items():
        for network, short in missing.items():
            counts = {family: min(at_once, count) for family, count in short.items()}
            outcome = placement.grow(outcome.state, name, counts, budget, network)
            refused += outcome.refused
    return Outcome(outcome.state, tuple(refused))


def _present(state: State, owner: Owner) -> Node | None:
    node = state.nodes.get(owner[0])
    return node if node is not None and node.identity == owner[1] else None


def _missing(state: State, claim: NodeClaim) -> dict[str, dict[Family, int]]:
    """How many blocks the claim is short of, by network and family, once its returns are taken.

    What is wanted of any network is a total of all that are for everybody.
    """
    owner = _present(state, claim.owner) or state.former.get(claim.owner)
    have = owner.blocks if owner is not None else ()
    short: dict[str, dict[Family, int]] = {}
    for name, counts in sorted(claim.wanted.items()):
        around = [n for n in state.networks if n.name == name or not (name or n.tenants)]
        for family in families_of(around):
            cidrs = [cidr for n in around for cidr in n.cidrs if cidr.family is family]
            held = sum(any(cidr.contains(block) for cidr in cidrs) for block in have)
            if counts.get(family, 0) > held:
                short.setdefault(name, {})[family] = counts[family] - held
    return short


def _refusal(state: State, claim: NodeClaim, latest: NodeClaim) -> str | None:
    """Why a claim cannot be granted, whatever room there is."""
    holder = latest.identity
    if claim.owner in state.former and claim.node in state.nodes:
        holder = state.nodes[claim.node].identity
    if holder != claim.identity:
        return (
            f"node {claim.node} is {holder} by now, not {claim.identity}: stop the agent that "
            "claims for the former one"
        )
    known = {network.name for network in state.networks}
    unknown = sorted(set(claim.wanted) - known - {ANY_NETWORK})
    if unknown:
        return (
            f"node {claim.node} wants blocks of network {unknown[0]}, which is not in the cluster "
            "file: add it there, or correct the agent's options"
        )
    present = _present(state, claim.owner)
    if present is not None and present.subnet != claim.subnet:
        return (
            f"node {claim.node} has its addresses in subnet {present.subnet} and claims others in "
            f"{claim.subnet}: release it first"
        )
    return None
