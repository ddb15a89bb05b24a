"""What would follow from other networks or topologies, before they come into force. Pure.

Whatever is given out stays where it is. So a change adds, closes, moves nodes in name only (their
next blocks come from elsewhere), or is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ipam.errors import BadInputError
from ipam.model import Claim, Network, State
from ipam.network import check_networks
from ipam.networks import conflicts
from ipam.pools import still_valid
from ipam.prefix import Prefix
from ipam.topology import NoPlaceError, Path, locate, shown


class Effect(StrEnum):
    """What happens to the subject of a consequence."""

    REFUSED = "refused"
    UNPLACED = "unplaced"
    ADDED = "added"
    CLOSED = "closed"
    OPENED = "opened"
    CHANGED = "changed"
    MOVED = "moved in name"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Consequence:
    """One thing that follows: for what, and in a sentence why or how; ``nodes`` it is about."""

    effect: Effect
    subject: str
    text: str
    nodes: int = 0


def consequences(
    before: State, networks: Sequence[Network], claims: Iterable[Claim]
) -> tuple[Consequence, ...]:
    """All that follows from these networks; ``claims`` are of the nodes that are there now.

    Nothing where they are the same. Where anything is refused they cannot come into force at all.
    """
    claims = tuple(claims)
    found: list[Consequence] = []
    try:
        check_networks(networks)
    except BadInputError as error:
        return (Consequence(Effect.REFUSED, "the cluster file", str(error)),)
    shares, owners = before.subnets.values(), tuple(before.owners())
    for reason in conflicts(before.networks, networks, shares, owners, before.places.values()):
        subject, colon, text = reason.partition(": ")
        found.append(Consequence(Effect.REFUSED, *((subject, text) if colon else ("", reason))))
    old = {network.name: network for network in before.networks}
    new = {network.name: network for network in networks}
    for name in sorted(old.keys() - new.keys()):
        text = "nothing is given out of it: it goes"
        found.append(Consequence(Effect.ENDED, f"network {name}", text))
    found += [
        Consequence(Effect.ADDED, f"network {name}", _described(new[name]))
        for name in sorted(new.keys() - old.keys())
    ]
    for name in sorted(old.keys() & new.keys()):
        found += _network_consequences(before, old[name], new[name])
    found += _ended_places(before, networks)
    found += _node_consequences(before, networks, claims)
    return tuple(found)


def _described(network: Network) -> str:
    ranges = ", ".join(map(str, network.cidrs))
    whose = f"for namespaces {', '.join(network.tenants)}" if network.tenants else "for everybody"
    return f"{ranges}, {whose}"


def _network_consequences(before: State, old: Network, new: Network) -> Iterator[Consequence]:
    name = f"network {new.name}"
    for cidr in sorted(set(new.cidrs) - set(old.cidrs)):
        yield Consequence(Effect.ADDED, name, f"{cidr} is added")
    for cidr in sorted(set(old.cidrs) - set(new.cidrs)):
        yield Consequence(Effect.ENDED, name, f"{cidr} goes")
    for cidr in sorted(set(new.closed) - set(old.closed)):
        yield _closed(before, name, cidr)
    for cidr in sorted(set(old.closed) - set(new.closed) & set(new.cidrs)):
        yield Consequence(Effect.OPENED, name, f"blocks are given out of {cidr} again")
    if old.tenants != new.tenants:
        whose = f"namespaces {', '.join(new.tenants)}" if new.tenants else "everybody"
        yield Consequence(Effect.CHANGED, name, f"it is for {whose} from now on")
    for what, removed, added in (
        ("excluded", set(old.exclude) - set(new.exclude), set(new.exclude) - set(old.exclude)),
        (
            "a static address",
            {a.prefix for a in old.static} - {a.prefix for a in new.static},
            {a.prefix for a in new.static} - {a.prefix for a in old.static},
        ),
    ):
        for prefix in sorted(added):
            yield Consequence(Effect.ADDED, name, f"{prefix} is {what}")
        for prefix in sorted(removed):
            yield Consequence(Effect.ENDED, name, f"{prefix} is not {what} any more")
    yield from _group_consequences(name, old, new)


def _group_consequences(name: str, old: Network, new: Network) -> Iterator[Consequence]:
    if old.topology.levels != new.topology.levels:
        levels = " > ".join(map(str, new.topology.levels))
        yield Consequence(Effect.CHANGED, name, f"its levels are {levels} from now on")
    one, other = old.topology.by_path, new.topology.by_path
    for path in sorted(other.keys() - one.keys()):
        yield Consequence(Effect.ADDED, name, f"{shown(path)} is added")
    for path in sorted(one.keys() & other.keys()):
        was, now = one[path], other[path]
        fields = ("hosts", "labels", "weight", "reserve", "cidrs")
        differing = [field for field in fields if getattr(was, field) != getattr(now, field)]
        if differing:
            text = f"{shown(path)}: {', '.join(differing)} change for what comes next"
            yield Consequence(Effect.CHANGED, name, text)
    for path in sorted(one.keys() - other.keys()):
        yield Consequence(Effect.ENDED, name, f"{shown(path)} ends")


def _closed(before: State, name: str, cidr: Prefix) -> Consequence:
    inside = [
        (node, [block for block in node.owned if cidr.contains(block)]) for node in before.owners()
    ]
    holding = [(node, blocks) for node, blocks in inside if blocks]
    count = sum(len(blocks) for _, blocks in holding)
    text = f"no more blocks of {cidr}; {count:,} of {len(holding):,} nodes stay until they go"
    return Consequence(Effect.CLOSED, name, text, len(holding))


def _ended_places(before: State, networks: Iterable[Network]) -> Iterator[Consequence]:
    kept = still_valid(networks, before.places.values())
    for key, place in before.places.items():
        if key not in kept:
            text = f"{', '.join(map(str, place.prefixes))} return to what is around; blocks stay"
            yield Consequence(Effect.ENDED, str(place), text)


def _node_consequences(
    before: State, networks: Sequence[Network], claims: Iterable[Claim]
) -> Iterator[Consequence]:
    """Nodes that would belong elsewhere, or nowhere."""
    old = {network.name: network for network in before.networks}
    moved: Counter[tuple[str, str, str]] = Counter()
    for claim in claims:
        reasons: list[str] = []
        belongs = False
        for network in networks:
            if network.tenants:
                continue
            try:
                after = _ways(network, claim)
            except NoPlaceError as error:
                reasons.append(str(error))
                continue
            belongs = True
            known = before.nodes.get(claim.node)
            earlier = old.get(network.name)
            if known is None or earlier is None or not _has_blocks(known.blocks, earlier):
                continue
            was = _was(earlier, Claim(known.name, known.subnet, known.identity, known.labels))
            if was != after:
                moved[network.name, was[0] if was else "no place", after[0]] += 1
        if reasons and not belongs:
            yield Consequence(Effect.UNPLACED, f"node {claim.node}", reasons[0], 1)
    for (name, was_in, is_in), count in sorted(moved.items()):
        text = f"from {was_in} to {is_in}: they keep their blocks, further ones come from there"
        yield Consequence(Effect.MOVED, f"network {name}", text, count)


def _has_blocks(blocks: Iterable[Prefix], network: Network) -> bool:
    return any(cidr.contains(block) for block in blocks for cidr in network.cidrs)


def _was(network: Network, claim: Claim) -> tuple[str, ...]:
    try:
        return _ways(network, claim)
    except NoPlaceError:
        return ()


def _ways(network: Network, claim: Claim) -> tuple[str, ...]:
    located = locate(network.topology, claim.node, claim.subnet, claim.labels)
    return tuple(_named((*way.above, *way.below)) for way in located)


def _named(path: Path) -> str:
    return shown(path) or "the subnet"
