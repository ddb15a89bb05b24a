"""The address space as a tree: network, places around subnets, subnet, places inside it, group.

Every branch says what is given out of its prefixes and what is left. A network that has addresses
of both families is two trees. A prefix group that is wider than the places inside its subnet stands
beside those that it holds; all others lie apart from their siblings. A place around subnets that
came later than they did may have got a part of what one of them has: that is inside the subnet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ipam.model import State
from ipam.prefix import Family, Prefix
from ipam.topology import Path, shown, subnet_segment
from vpcrouter.views.free import Free, Ground, grounds


class Kind(StrEnum):
    """What a branch is."""

    NETWORK = "network"
    PLACE = "place"
    SUBNET = "subnet"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a network, and what is in it.

    ``name`` is for people; ``path`` the names of places down to here. ``nodes`` own blocks in it,
    ``load`` is the largest that any of them has. ``closed``: nothing more is given out of it.
    """

    kind: Kind
    name: str
    network: str
    family: Family
    path: Path
    subnet: str | None
    prefixes: tuple[Prefix, ...]
    nodes: int
    blocks: int
    free: Free
    load: float
    closed: bool
    children: tuple[Branch, ...]

    @property
    def given_share(self) -> float:
        """The part of its blocks that is given out; 0 where there are none."""
        return self.blocks / (self.blocks + self.free.blocks) if self.blocks else 0.0

    def walk(self, depth: int) -> Iterator[tuple[int, Branch]]:
        """Itself and what is below it down to a depth (1: itself alone), with the level of each."""
        yield 0, self
        for child in self.children if depth > 1 else ():
            for level, branch in child.walk(depth - 1):
                yield level + 1, branch

    @property
    def height(self) -> int:
        """How many levels there are: 1 without anything below."""
        return 1 + max((child.height for child in self.children), default=0)


@dataclass(slots=True)
class _Draft:
    """A branch before it is measured."""

    kind: Kind
    name: str
    path: Path
    subnet: str | None
    prefixes: list[Prefix] = field(default_factory=list)
    children: dict[Path, _Draft] = field(default_factory=dict)


def trees(state: State, loads: Mapping[str, float]) -> list[Branch]:
    """A tree for every network and family; ``loads`` are those of nodes by name."""
    return [_measured(_outline(state, g), g, loads) for g in grounds(state)]


class _Around:
    """Finds the innermost of nested places around a prefix."""

    def __init__(self, places: Iterable[tuple[Path, Prefix]]) -> None:
        self._paths: dict[Prefix, Path] = {}
        for path, prefix in places:
            if len(path) > len(self._paths.get(prefix, ())):
                self._paths[prefix] = path
        self._lengths = sorted({prefix.length for prefix in self._paths}, reverse=True)

    def path(self, prefix: Prefix) -> Path:
        """The path of that place, the empty one if there is none."""
        for length in self._lengths:
            if length <= prefix.length:
                found = self._paths.get(prefix.ancestor(length))
                if found is not None:
                    return found
        return ()


def _outline(state: State, ground: Ground) -> _Draft:
    network = ground.network.name
    root = _Draft(Kind.NETWORK, network, (), None, list(ground.cidrs))
    places = sorted(
        (len(place.path), place.path, prefix)
        for place in state.places.values()
        if place.network == network
        for prefix in place.prefixes
        if prefix.family is ground.family
    )
    subnets = {subnet_segment(id_): id_ for id_ in state.subnets}
    owners = {
        prefix: subnet_segment(share.id)
        for share in state.subnets.values()
        for prefix in share.prefixes
        if ground.holds(prefix)
    }
    owned = _Around(((segment,), prefix) for prefix, segment in owners.items())
    outer: list[tuple[Path, Prefix]] = []
    inner: list[tuple[Path, Prefix]] = []
    for _, path, prefix in places:
        part_of_subnet = prefix not in owners and owned.path(prefix)
        (inner if set(path) & set(subnets) or part_of_subnet else outer).append((path, prefix))
    around = _Around(outer)
    homes = [((*around.path(prefix), segment), prefix) for prefix, segment in owners.items()]
    home = _Around(homes)
    inner = [(_inside(home.path(prefix), path), prefix) for path, prefix in inner]
    for path, prefix in (*outer, *homes, *inner):
        _descend(root, path, subnets).prefixes.append(prefix)
    inside = _Around(inner)
    for share in state.subnets.values():
        for group in share.groups:
            if ground.holds(group):
                path = inside.path(group) or home.path(group)
                parent, name = _descend(root, path, subnets), str(group)
                made = _Draft(Kind.GROUP, name, (*path, name), share.id, [group])
                parent.children[made.path] = made
    return root


def _inside(home: Path, path: Path) -> Path:
    """The path of a place once it is inside a subnet of that path; as it is where there is none."""
    if not home:
        return path
    *around, subnet = home
    rest = [segment for segment in path if segment != subnet]
    return (*home, *(rest[len(around) :] if rest[: len(around)] == around else rest))


def _descend(root: _Draft, path: Path, subnets: Mapping[str, str]) -> _Draft:
    """The branch of a path, made with all around it where it is missing."""
    branch, subnet = root, None
    for depth, segment in enumerate(path, 1):
        is_subnet = segment in subnets
        subnet = subnets[segment] if is_subnet else subnet
        kind = Kind.SUBNET if is_subnet else Kind.PLACE
        name = subnets[segment] if is_subnet else shown((segment,))
        made = _Draft(kind, name, path[:depth], subnet)
        branch = branch.children.setdefault(made.path, made)
    return branch


def _measured(draft: _Draft, ground: Ground, loads: Mapping[str, float]) -> Branch:
    given = [one for prefix in draft.prefixes for one in ground.given_in(prefix)]
    owners = {one.owner for one in given}
    return Branch(
        kind=draft.kind,
        name=draft.name,
        network=ground.network.name,
        family=ground.family,
        path=draft.path,
        subnet=draft.subnet,
        prefixes=tuple(draft.prefixes),
        nodes=len(owners),
        blocks=len(given),
        free=ground.free(draft.prefixes),
        load=max((loads.get(name, 0.0) for name, _ in owners), default=0.0),
        closed=all(map(ground.network.is_closed, draft.prefixes)),
        children=tuple(
            _measured(child, ground, loads) for child in _ordered(draft.children.values())
        ),
    )


def _ordered(children: Iterable[_Draft]) -> list[_Draft]:
    return sorted(children, key=lambda child: (min(child.prefixes, default=_LAST), child.path))


_LAST = Prefix(Family.IPV6, (1 << 128) - 1, 128)
