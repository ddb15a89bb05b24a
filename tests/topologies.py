"""Divided networks for tests: generated ones, small enough to be counted, and who belongs where.

What is computed here is computed again from what the fields mean, the slow and plain way, and
shares nothing with the code that it is held against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from hypothesis import strategies as st

from ipam.model import Claim, Network, Node, Place, State
from ipam.prefix import Family, Prefix
from ipam.topology import GROUPS, SUBNET, Level, LevelKind, NamedGroup, Topology, topology

ZONE, RACK = Level(LevelKind.LABEL, "zone"), Level(LevelKind.LABEL, "rack")
SUBNETS = ("s1", "s2", "s3")
NAMES = tuple(f"n{number:02}" for number in range(24))
_BASE = {Family.IPV4: 0x0A000000, Family.IPV6: 0xFD00 << 112}

Way = tuple[str, ...]
"""A way through the levels of a network, outermost first."""


# Generated networks


@st.composite
def labels(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    """Labels of a node, sometimes without one that a level asks for."""
    found = {
        "zone": draw(st.sampled_from(["a", "b", ""])),
        "rack": draw(st.sampled_from(["1", "2", "3"])),
        "kind": draw(st.sampled_from(["big", "small", "odd"])),
    }
    return tuple(sorted((name, value) for name, value in found.items() if value))


def claims() -> st.SearchStrategy[Claim]:
    """Nodes that join, with labels."""
    return st.builds(
        Claim,
        st.sampled_from(NAMES),
        st.sampled_from(SUBNETS),
        st.sampled_from(["i1", "i2"]),
        labels(),
    )


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Levels in any order and up to five groups."""
    levels = [SUBNET, *draw(st.sets(st.sampled_from([ZONE, RACK]), max_size=2))]
    groups = draw(group_trees()) if draw(st.booleans()) else ()
    if groups:
        levels.append(GROUPS)
    return topology(draw(st.permutations(levels)), groups)


@st.composite
def group_trees(draw: st.DrawFn) -> tuple[NamedGroup, ...]:
    """Groups of one or two layers that take nodes by their names, by labels, or all the rest."""
    weight = st.sampled_from([0.5, 1.0, 2.0, 3.0])
    names = list(draw(st.permutations(NAMES)))
    big = NamedGroup("big", labels=(("kind", "big"),), weight=draw(weight))
    small = NamedGroup("small", labels=(("kind", "small"),), weight=draw(weight))
    rest = NamedGroup("rest", weight=draw(weight))
    twin = NamedGroup("twin", labels=(("kind", "big"),), weight=draw(weight))
    listed = NamedGroup("listed", hosts=tuple(sorted(names[:6])), weight=draw(weight))
    flat = draw(st.sets(st.sampled_from(["big", "small", "rest", "twin", "listed"]), min_size=1))
    known = {"big": big, "small": small, "rest": rest, "twin": twin, "listed": listed}
    chosen = [known[name] for name in sorted(flat)]
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(chosen)))
        if chosen[cut:]:
            outer = NamedGroup("outer", groups=tuple(chosen[cut:]), weight=draw(weight))
            chosen = [*chosen[:cut], outer]
    return tuple(chosen)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, ...]:
    """One or two networks of one or both families, divided or not, of up to 64 blocks a range."""
    block, node = 1, draw(st.integers(0, 2))
    found: list[Network] = []
    for number in range(draw(st.integers(1, 2))):
        families = sorted(draw(st.sets(st.sampled_from(list(Family)), min_size=1)))
        cidrs = [draw(ranges(family, number)) for family in families]
        found.append(
            Network(
                f"net{number}",
                tuple(cidrs),
                block={family: family.width - block for family in Family},
                node={family: family.width - block - node for family in Family},
                exclude=tuple(draw(st.lists(st.sampled_from(cidrs).flatmap(_inside), max_size=1))),
                topology=draw(topologies()),
            )
        )
    return tuple(found)


def ranges(family: Family, number: int) -> st.SearchStrategy[Prefix]:
    """The range of that number: each number's are apart from all others."""
    value = _BASE[family] + (number << 16)
    return st.builds(lambda bits: Prefix(family, value, family.width - bits), st.integers(3, 7))


def _inside(prefix: Prefix) -> st.SearchStrategy[Prefix]:
    width = prefix.family.width
    return st.builds(
        lambda value, length: Prefix(prefix.family, value, width).ancestor(length),
        st.integers(prefix.value, prefix.last),
        st.integers(prefix.length + 1, width),
    )


# Who belongs where


def ways(network: Network, name: str, subnet: str, values: Mapping[str, str]) -> list[Way]:
    """The ways of a node through a network's levels: none if it belongs nowhere in it.

    Raises LookupError where it belongs to groups that ask for different things.
    """
    found: list[Way] = [()]
    for level in network.topology.levels:
        if level.kind is LevelKind.SUBNET:
            found = [(*way, f"subnet:{subnet}") for way in found]
        elif level.kind is LevelKind.LABEL:
            value = values.get(level.label)
            found = [(*way, f"{level.label}={value}") for way in found] if value else []
        else:
            leaves = _leaves(network.topology.groups, name, values)
            found = [(*way, *leaf) for way in found for leaf in leaves]
    return found


def _leaves(groups: Sequence[NamedGroup], name: str, values: Mapping[str, str]) -> list[Way]:
    every = list(_every_leaf(groups, ()))
    asking = [chain for chain in every if any(g.hosts or g.labels for g in chain)]
    fitting = [
        chain
        for chain in asking
        if all(not g.hosts or name in g.hosts for g in chain)
        and all(values.get(label) == value for g in chain for label, value in g.labels)
    ]
    if not fitting:
        fitting = [chain for chain in every if chain not in asking]
    if len({tuple((g.hosts, g.labels) for g in chain) for chain in fitting}) > 1:
        raise LookupError(name)
    return [tuple(f"group:{g.name}" for g in chain) for chain in fitting]


def _every_leaf(
    groups: Sequence[NamedGroup], around: tuple[NamedGroup, ...]
) -> Iterator[tuple[NamedGroup, ...]]:
    for group in groups:
        if group.groups:
            yield from _every_leaf(group.groups, (*around, group))
        else:
            yield (*around, group)


# What must be true of places


def assert_places_sound(now: State) -> None:
    """Places beside each other are apart, and each lies in the one around it."""
    by_key = now.places
    for (network, path), place in by_key.items():
        around = path[:-1]
        if around and around[-1].startswith("subnet:"):
            around = around[:-1]
        outer = by_key.get((network, around))
        inside = outer.prefixes if outer is not None else _network(now, network).cidrs
        for prefix in place.prefixes:
            assert any(other.contains(prefix) for other in inside), place
    for place in by_key.values():
        beside = [
            prefix
            for other in by_key.values()
            if (other.network, other.path[:-1]) == (place.network, place.path[:-1])
            for prefix in other.prefixes
        ]
        for left, right in pairwise(sorted(beside)):
            assert not left.contains(right), f"{left} and {right} overlap"


def _network(now: State, name: str) -> Network:
    (found,) = [network for network in now.networks if network.name == name]
    return found


def is_in_place(now: State, node: Node, block: Prefix) -> bool:
    """Whether a block lies in the innermost place of its owner, as its labels say."""
    (network,) = [n for n in now.networks if any(cidr.contains(block) for cidr in n.cidrs)]
    for way in ways(network, node.name, node.subnet, dict(node.labels)):
        paths = [way[: depth + 1] for depth in range(len(way))]
        innermost = [path for path in paths if not path[-1].startswith("subnet:")]
        if not innermost:
            return True
        place = now.places.get((network.name, innermost[-1]))
        if place is not None and any(prefix.contains(block) for prefix in place.prefixes):
            return True
    return False


def room_for(now: State, family: Family, node: Node | Claim, name: str) -> Prefix | None:
    """A block that could still be given to a node: in no other subnet's prefix or other place."""
    given = {block for owner in now.owners() for block in owner.blocks}
    others = [
        p for share in now.subnets.values() if share.id != node.subnet for p in share.prefixes
    ]
    for network in now.networks:
        cidrs = [c for c in network.cidrs if c.family is family and c not in network.closed]
        if network.tenants or not cidrs:
            continue
        own = ways(network, name, node.subnet, dict(node.labels))
        foreign = [
            prefix
            for place in now.places.values()
            if place.network == network.name and not _leads_to(place, own)
            for prefix in place.prefixes
        ]
        fixed = [(p, g.cidrs) for p, g in network.topology.by_path.items() if g.cidrs]
        foreign += [c for p, inside in fixed if not _through(p, own) for c in inside]
        limits = [c for p, inside in fixed if _through(p, own) for c in inside]
        for cidr in cidrs if own else ():
            step = 1 << (family.width - network.block[family])
            for value in range(cidr.value, cidr.last + 1, step):
                block = Prefix(family, value, network.block[family])
                if limits and not any(limit.contains(block) for limit in limits):
                    continue
                if block not in given and not any(
                    block.overlaps(other) for other in (*others, *foreign, *network.withheld)
                ):
                    return block
    return None


def _through(group: Way, own: Sequence[Way]) -> bool:
    """Whether a way leads through a group; those with ranges of their own come first in it."""
    return any(way[: len(group)] == group for way in own)


def _leads_to(place: Place, own: Sequence[Way]) -> bool:
    return any(way[: len(place.path)] == place.path for way in own)
