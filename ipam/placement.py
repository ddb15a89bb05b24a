"""Which blocks a node gets: the least loaded group where it belongs, an empty node prefix in it.

Pure: every function takes a state and returns a new one, always the same for the same input,
whatever the order of the claims of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from msgspec import structs

from ipam import groups
from ipam.draft import Draft
from ipam.model import Claim, Node, State, families_of
from ipam.picker import Picker
from ipam.places import Places
from ipam.pools import Option, options, pools, still_valid
from ipam.prefix import Family, Prefix
from ipam.room import ANY_ROOM, Left, Room
from ipam.topology import Labels, NoPlaceError, Path, shown

UNKNOWN_BUDGET: Mapping[Family, int] = MappingProxyType({})


_CLOSED = "may have blocks of no network that is open: open one, or add one"
_NAMED = 5  # how many prefixes a message names


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node that could not be served, and why: one line for the operator."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state afterwards, and who was refused (of whom nothing has changed)."""

    state: State
    refused: tuple[Refusal, ...]


def join(
    state: State, claims: Iterable[Claim], budget: Mapping[Family, int], room: Room = ANY_ROOM
) -> Outcome:
    """Give each new node one block per family of the networks for everybody that is not closed.

    ``budget`` is, per family, the smallest number of route entries that any table can hold; it
    decides into how many groups the subnets are divided. A claim of a node that is there already
    changes nothing but its labels; the same name with another identity is a new node, and what the
    former one owns stays its own until it is released. ``room`` is what the entries of the tables
    can take: blocks go where there is some, as long as there is any in their subnet, and first
    where no load comes to be above the least.
    """
    draft = Draft(state)
    fresh, refused = _fresh(draft, claims)
    tidy(draft)
    if not fresh:
        after = draft.state()
        return Outcome(state if after == state else after, tuple(refused))
    parties = _parties(draft, _newcomers(draft, fresh), refused)
    joining = Counter(claim.subnet for party in parties for claim in party.claims)
    places = Places(draft)
    plans: dict[Family, groups.Arrangement] = {}
    for family in draft.families:
        places.prepare(_expected(draft, parties, family, budget.get(family, 0)))
        plans[family] = groups.rearrange(draft, family, joining, budget.get(family, 0))
    left = Left(room)
    for party in parties:
        pickers = [
            Picker(draft, places, party.options[family], plans[family], budget.get(family, 0), left)
            for family in draft.families
            if party.options[family]
        ]
        for claim in party.claims:
            reason = _admit(draft, claim, pickers)
            if reason is not None:
                refused.append(Refusal(claim.node, reason))
        for picker in pickers:
            picker.settle()
    for family in draft.families:
        groups.fit(draft, family, budget.get(family, 0))  # further prefixes made new groups
    return Outcome(draft.state(), tuple(sorted(refused, key=lambda refusal: refusal.node)))


def next_blocks(
    state: State, subnets: Mapping[str, Labels], budget: Mapping[Family, int]
) -> tuple[Prefix, ...]:
    """The blocks that the next nodes of each subnet should get, in order; they have these labels.

    One node for each thousand of the subnet, and at least one. The blocks are where the groups
    would have them, whether tables have room there or not; those that would widen their subnet are
    left out.
    """
    nodes = Counter(node.subnet for node in state.nodes.values())
    claims = [
        Claim(f"next of {name} {number}", name, "nobody yet", labels)
        for name, labels in subnets.items()
        for number in range(max(1, nodes[name] // 1_000))
    ]
    after = join(state, claims, budget).state
    return tuple(
        sorted(
            block
            for claim in claims
            for block in after.blocks(claim.node)
            if any(prefix.contains(block) for prefix in state.prefixes(claim.subnet))
        )
    )


def leave(state: State, names: Iterable[str]) -> State:
    """Free the blocks of nodes that are gone; names that are not known are no error."""
    known = [name for name in names if name in state.nodes]
    if not known:
        return state
    draft = Draft(state)
    for name in known:
        draft.remove_node(name)
    return draft.state()


def release(state: State, owners: Iterable[tuple[str, str]]) -> State:
    """Free what nodes own, by name and identity, whose name has come back as another node."""
    known = [owner for owner in owners if owner in state.former]
    if not known:
        return state
    draft = Draft(state)
    for name, identity in known:
        draft.remove_former(name, identity)
    return draft.state()


def grow(
    state: State,
    name: str,
    blocks: int | Mapping[Family, int],
    budget: Mapping[Family, int] = UNKNOWN_BUDGET,
    network: str = "",
) -> Outcome:
    """Give a node so many further blocks per family: in its own node prefixes while they last.

    ``blocks`` is one count for all families that are not closed, or one for each. All or none of
    them. They come from the network of that name, or else from those for everybody.
    """
    node = state.nodes.get(name)
    if node is None:
        return Outcome(state, (Refusal(name, f"node {name} is not known: let it join first"),))
    if network and all(known.name != network for known in state.networks):
        reason = f"node {name}: there is no network {network}: add it to the cluster file"
        return Outcome(state, (Refusal(name, reason),))
    draft = Draft(state)
    tidy(draft)
    places = Places(draft)
    owned = list(node.blocks)
    for family, count in _counts(state, blocks, network).items():
        available = pools(draft.networks, family, network)
        try:
            if not available:
                raise NoPlaceError(_CLOSED)
            where = options(available, name, node.subnet, node.labels)
        except NoPlaceError as error:
            return Outcome(state, (Refusal(name, f"node {name} {error}"),))
        places.prepare(dict.fromkeys(where[:1], 1))
        plan = groups.Arrangement(0, frozenset())
        picker = Picker(draft, places, where, plan, budget.get(family, 0), Left(ANY_ROOM))
        for _ in range(count):
            block = picker.beside([block for block in owned if block.family is family])
            if block is None:
                reason = _exhausted(draft, name, node.subnet, family, where)
                return Outcome(state, (Refusal(name, reason),))
            owned.append(block)
        picker.settle()
        if family in budget:
            groups.fit(draft, family, budget[family])
    draft.put_node(structs.replace(node, blocks=tuple(sorted(owned))))
    return Outcome(draft.state(), ())


def tidy(draft: Draft) -> None:
    """Drop places that the topologies do not have any more, and what is empty of closed ranges."""
    if draft.places:
        draft.places = still_valid(draft.networks, draft.places.values())
    closed = [prefix for network in draft.networks for prefix in network.closed]
    if not closed:
        return
    static = [prefix for owner in draft.owners() for prefix in owner.static]
    for subnet in draft.subnet_names:
        for family in Family:
            for space in draft.spaces_of(subnet, family):
                drained = not space.load and any(p.contains(space.prefix) for p in closed)
                if drained and not any(space.prefix.contains(prefix) for prefix in static):
                    draft.drop_prefix(subnet, space.prefix)


def _counts(state: State, blocks: int | Mapping[Family, int], network: str) -> Mapping[Family, int]:
    """How many blocks of each family a node wants."""
    if not isinstance(blocks, int):
        return {family: blocks[family] for family in Family if blocks.get(family)}
    chosen = [n for n in state.networks if (n.name == network if network else not n.tenants)]
    families = families_of(chosen)
    open_ones = [family for family in families if pools(chosen, family, network)]
    return dict.fromkeys(open_ones or families, blocks)


@dataclass(slots=True)
class _Party:
    """New nodes that may get their blocks from the same places, by family."""

    subnet: str
    options: Mapping[Family, tuple[Option, ...]]
    claims: list[Claim]


def _newcomers(draft: Draft, fresh: Iterable[Claim]) -> list[Claim]:
    """Those that were never there; the others are back with what they had."""
    new: list[Claim] = []
    for claim in fresh:
        former = draft.former.get((claim.node, claim.identity))
        if former is None:
            new.append(claim)
        else:
            draft.supersede(structs.replace(former, labels=claim.labels or former.labels))
    return new


def _parties(draft: Draft, fresh: Iterable[Claim], refused: list[Refusal]) -> list[_Party]:
    """The new nodes by where they belong; those that belong nowhere are refused."""
    available = {family: pools(draft.networks, family) for family in draft.families}
    parties: dict[tuple[str, tuple[Path, ...]], _Party] = {}
    by_name = any(pool.topology.by_host for found in available.values() for pool in found)
    alike: dict[tuple[str, Labels], _Party] = {}  # of which nothing but the name differs
    for claim in fresh:
        known = None if by_name else alike.get((claim.subnet, claim.labels))
        if known is not None:
            known.claims.append(claim)
            continue
        where: dict[Family, tuple[Option, ...]] = {}
        try:
            for family, pools_ in available.items():
                where[family] = options(pools_, claim.node, claim.subnet, claim.labels)
            if not any(where.values()):
                raise NoPlaceError(_CLOSED)
        except NoPlaceError as error:
            refused.append(Refusal(claim.node, f"node {claim.node} {error}"))
            continue
        ways = tuple(option.location.path for found in where.values() for option in found)
        party = parties.setdefault((claim.subnet, ways), _Party(claim.subnet, where, []))
        party.claims.append(claim)
        alike[claim.subnet, claim.labels] = party
    return [parties[key] for key in sorted(parties)]


def _expected(
    draft: Draft, parties: Iterable[_Party], family: Family, budget: int
) -> dict[Option, int]:
    """How many nodes join where, of one family.

    Where several groups are as good, so many get a part as there are nodes for, while the prefixes
    of all subnets are few for the budget; then one of them.
    """
    found: dict[Option, int] = {}
    prefixes = draft.count_prefixes(family)
    for party in parties:
        where = party.options.get(family, ())
        pool = where[0].pool if where else None
        alike = [option for option in where if option.pool is pool]
        few = max(1, min(len(alike), len(party.claims), budget // 2 - prefixes))
        prefixes += few
        for option in alike[:few]:
            found[option] = found.get(option, 0) + -(-len(party.claims) // few)
    return found


def _fresh(draft: Draft, claims: Iterable[Claim]) -> tuple[list[Claim], list[Refusal]]:
    """The claims of nodes that are not there yet, in order, and the contradictions among all."""
    fresh: list[Claim] = []
    refused: list[Refusal] = []
    by_node: dict[str, Claim] = {}
    for claim in sorted(dict.fromkeys(claims)):  # which leaves them in their order
        earlier = by_node.setdefault(claim.node, claim)
        known = draft.nodes.get(claim.node)
        same = known is not None and known.identity == claim.identity
        owner = known if same else draft.former.get((claim.node, claim.identity))
        if earlier is not claim:
            if not any(refusal.node == claim.node for refusal in refused):
                refused.append(Refusal(claim.node, _contradiction(earlier, claim)))
        elif not _is_printable(claim):
            reason = f"node {claim.node!r}: its name, subnet and identity must be printable text"
            refused.append(Refusal(claim.node, reason))
        elif owner is not None and owner.subnet != claim.subnet:
            reason = (
                f"node {claim.node} has its addresses in subnet {owner.subnet} and claims others "
                f"in {claim.subnet}: release it first"
            )
            refused.append(Refusal(claim.node, reason))
        elif known is None or not same:
            fresh.append(claim)
        elif claim.labels and claim.labels != known.labels:
            draft.put_node(structs.replace(known, labels=claim.labels))
    contradicting = {refusal.node for refusal in refused}
    return [claim for claim in fresh if claim.node not in contradicting], refused


def _is_printable(claim: Claim) -> bool:
    texts = [claim.node, claim.subnet, claim.identity]
    for pair in claim.labels:
        texts += pair
    return all(texts) and "".join(texts).isprintable()


def _contradiction(one: Claim, other: Claim) -> str:
    if (one.subnet, one.identity) == (other.subnet, other.identity):
        return f"node {one.node!r} is claimed twice with other labels: claim it once"
    return (
        f"node {one.node!r} is claimed twice, in subnet {one.subnet!r} as {one.identity!r} and in "
        f"{other.subnet!r} as {other.identity!r}: let each node have a name of its own"
    )


def _exhausted(
    draft: Draft, node: str, subnet: str, family: Family, where: Sequence[Option]
) -> str:
    """Why there is nothing for a node, and what to do."""
    spaces = draft.spaces_of(subnet, family)
    held = ", ".join(str(space.prefix) for space in spaces[:_NAMED]) or "none"
    more = f" and {len(spaces) - _NAMED} more" if len(spaces) > _NAMED else ""
    places = [shown((*o.location.above, *o.location.below)) for o in where if o.places]
    inside = f" in {places[0]}" if places else ""
    return (
        f"node {node}: no {family} block is left for subnet {subnet}{inside} (its prefixes: "
        f"{held}{more}): add a network, or release nodes that are gone"
    )


def _admit(draft: Draft, claim: Claim, pickers: Sequence[Picker]) -> str | None:
    """Give a new node its blocks; the reason where it cannot be done, and then nothing is given."""
    given: list[Prefix] = []
    for picker in pickers:
        block = picker.pick()
        if block is None:
            for each in pickers:
                each.settle()
            for other in given:
                draft.release(claim.subnet, other)
            return _exhausted(draft, claim.node, claim.subnet, picker.family, picker.options)
        given.append(block)
    blocks = tuple(sorted(given))
    draft.supersede(Node(claim.node, claim.identity, claim.subnet, blocks, claim.labels))
    return None
