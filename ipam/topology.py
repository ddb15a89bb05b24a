"""How a network is divided: levels, explicit groups, and in which place of them a node belongs.

A *place* is a part of a network that is set aside for the nodes which have something in common: a
zone, a rack, an explicit group, their subnet. Places nest in the order of the levels. A path names
one, outermost first, in words such as ``topology.kubernetes.io/zone=a`` and ``group:batch``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, format_address

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels, sorted by name."""

Path = tuple[str, ...]
"""A place: its name and those of all around it, outermost first. The empty path is the network."""


class LevelKind(StrEnum):
    """What tells the places of a level apart."""

    LABEL = "label"
    SUBNET = "subnet"
    GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class Level:
    """One level of places; ``label`` is whose value tells them apart, empty for other kinds."""

    kind: LevelKind
    label: str = ""

    def __str__(self) -> str:
        return self.label if self.kind is LevelKind.LABEL else self.kind.value


SUBNET = Level(LevelKind.SUBNET)
GROUPS = Level(LevelKind.GROUPS)


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """An explicit group: for the nodes that are listed, or that have all its labels.

    Without either it takes every node that a group nested in it takes, or, if there are none,
    every node that no other group takes. ``weight`` is its share of the room, next to those of its
    siblings. ``reserve`` is the length, per family, of a prefix that it has from the beginning;
    ``cidrs`` are prefixes that it has in place of others.
    """

    name: str
    hosts: tuple[str, ...] = ()
    labels: Labels = ()
    groups: tuple[NamedGroup, ...] = ()
    weight: float = 1.0
    reserve: Mapping[Family, int] = field(default_factory=dict)
    cidrs: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticAddress:
    """One address with a name, such as ``namespace/pod``: never a part of a block."""

    name: str
    prefix: Prefix

    def __str__(self) -> str:
        return f"{self.name} ({format_address(self.prefix.family, self.prefix.value)})"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A group without others in it: the way there, what it asks for, and all that it needs."""

    path: Path
    selectors: tuple[tuple[tuple[str, ...], Labels], ...]
    labels: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Topology:
    """Levels, outermost first, and explicit groups. Make one with ``topology()``.

    The rest is derived: all groups by their path, the weights of those directly inside each path,
    and the innermost ones by a host, by one label that they ask for, and those that ask for
    nothing.
    """

    levels: tuple[Level, ...]
    groups: tuple[NamedGroup, ...]
    by_path: Mapping[Path, NamedGroup] = field(repr=False, compare=False)
    weights: Mapping[Path, float] = field(repr=False, compare=False)
    by_host: Mapping[str, tuple[Leaf, ...]] = field(repr=False, compare=False)
    by_label: Mapping[tuple[str, str], tuple[Leaf, ...]] = field(repr=False, compare=False)
    for_all: tuple[Leaf, ...] = field(repr=False, compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether only the subnet decides, as where nothing is said about levels and groups."""
        return self.levels == (SUBNET,)

    @property
    def labels(self) -> frozenset[str]:
        """The names of the labels that it asks for."""
        asked = {level.label for level in self.levels if level.kind is LevelKind.LABEL}
        return frozenset(asked | {name for g in self.by_path.values() for name, _ in g.labels})

    def group(self, path: Path) -> NamedGroup | None:
        """The explicit group at the end of a path, if there is one."""
        return self.by_path.get(path[self._groups_from :]) if self.groups else None

    def share(self, path: Path) -> float:
        """The part of the place around it that the group at the end of a path should have."""
        named = path[self._groups_from :]
        return self.by_path[named].weight / self.weights[named[:-1]]

    def set_aside(self, path: Path) -> tuple[Path, ...]:
        """The paths of the explicit groups inside a place that have something from the beginning.

        Those directly in it that have prefixes of their own or a reserve.
        """
        if not self.groups or len(path) < self._groups_from:
            return ()
        named = path[self._groups_from :]
        if named and named not in self.by_path:
            return ()
        inner = self.by_path[named].groups if named else self.groups
        return tuple(
            (*path, group_segment(group.name)) for group in inner if group.cidrs or group.reserve
        )

    @property
    def _groups_from(self) -> int:
        return self.levels.index(GROUPS)

    @property
    def above(self) -> tuple[Level, ...]:
        """The levels around the subnet."""
        return self.levels[: self.levels.index(SUBNET)]

    @property
    def below(self) -> tuple[Level, ...]:
        """The levels inside the subnet."""
        return self.levels[self.levels.index(SUBNET) + 1 :]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a node belongs in one network: the places around its subnet, and those inside it."""

    above: Path
    subnet: str
    below: Path

    @property
    def path(self) -> Path:
        """The whole way, outermost first; just the subnet where there is nothing else."""
        return (*self.above, subnet_segment(self.subnet), *self.below)


class NoPlaceError(BadInputError):
    """A node has no place in a network, for a reason that its operator can change."""


class AmbiguousPlaceError(NoPlaceError):
    """A node has more than one place in a network."""


def subnet_segment(subnet: str) -> str:
    """A subnet in a path; no label has such a name."""
    return f"{_SUBNET}{subnet}"


def is_subnet_segment(segment: str) -> bool:
    """Whether a part of a path is a subnet."""
    return segment.startswith(_SUBNET)


def group_segment(name: str) -> str:
    """An explicit group in a path."""
    return f"{_GROUP}{name}"


def topology(levels: Sequence[Level] = (), groups: Iterable[NamedGroup] = ()) -> Topology:
    """A topology from its levels and groups; raises BadInputError, naming what contradicts what.

    A missing subnet is the last level, missing groups the first.
    """
    groups = tuple(groups)
    complete = list(levels)
    if SUBNET not in complete:
        complete.append(SUBNET)
    if groups and GROUPS not in complete:
        complete.insert(0, GROUPS)
    twice = [level for level, count in Counter(complete).items() if count > 1]
    if twice:
        raise BadInputError(f"level {twice[0]} is given twice: give it once")
    if not groups and GROUPS in complete:
        raise BadInputError("level groups is given, but no groups are: list them, or leave it out")
    by_path = dict(_named(groups, ()))
    _check_groups(by_path, complete)
    leaves = [_leaf(path, by_path) for path, group in by_path.items() if not group.groups]
    by_host: dict[str, list[Leaf]] = {}
    by_label: dict[tuple[str, str], list[Leaf]] = {}
    for_all: list[Leaf] = []
    weights: dict[Path, float] = {}
    for path, group in by_path.items():
        weights[path[:-1]] = weights.get(path[:-1], 0.0) + group.weight
    frequency = Counter(pair for leaf in leaves for pair in leaf.labels)
    for leaf in leaves:
        hosts = [set(hosts) for hosts, _ in leaf.selectors if hosts]
        if hosts:
            for host in set.intersection(*hosts):
                by_host.setdefault(host, []).append(leaf)
        elif leaf.labels:
            rarest = min(leaf.labels, key=lambda pair: (frequency[pair], pair))
            by_label.setdefault(rarest, []).append(leaf)
        else:
            for_all.append(leaf)
    return Topology(
        tuple(complete),
        groups,
        by_path,
        weights,
        {host: tuple(found) for host, found in by_host.items()},
        {pair: tuple(found) for pair, found in by_label.items()},
        tuple(for_all),
    )


def locate(topology: Topology, name: str, subnet: str, labels: Labels) -> tuple[Location, ...]:
    """Where a node belongs; several that are as good if groups beside each other ask for the same.

    Raises NoPlaceError where it lacks a label or no group takes it, AmbiguousPlaceError where
    groups take it that ask for different things.
    """
    if topology.is_plain:
        return (Location((), subnet, ()),)
    values = dict(labels)
    choices: tuple[Path, ...] = ((),)
    if topology.groups:
        choices = tuple(leaf.path for leaf in _matching(topology, name, labels))
    located: list[Location] = []
    for groups in choices:
        parts: dict[bool, list[str]] = {False: [], True: []}
        inside = False
        for level in topology.levels:
            if level.kind is LevelKind.SUBNET:
                inside = True
            elif level.kind is LevelKind.GROUPS:
                parts[inside] += groups
            else:
                value = values.get(level.label)
                if not value:
                    raise NoPlaceError(
                        f"has no label {level.label}, which a level asks for: set it on the node"
                    )
                parts[inside].append(f"{level.label}={value}")
        located.append(Location(tuple(parts[False]), subnet, tuple(parts[True])))
    return tuple(located)


def _matching(topology: Topology, name: str, labels: Labels) -> list[Leaf]:
    own = frozenset(labels)
    candidates = list(topology.by_host.get(name, ()))
    candidates += [leaf for pair in labels for leaf in topology.by_label.get(pair, ())]
    found = [leaf for leaf in candidates if leaf.labels <= own] or list(topology.for_all)
    if not found:
        raise NoPlaceError("is taken by no group: list it, or give it the labels of one")
    for other in found[1:]:
        if other.selectors != found[0].selectors:
            one, two = sorted((shown(found[0].path), shown(other.path)))
            raise AmbiguousPlaceError(
                f"is taken by two groups, {one} and {two}: let their hosts or labels differ"
            )
    return found


def shown(path: Path) -> str:
    """A path for people.

    >>> shown(("topology.kubernetes.io/zone=a", "group:batch"))
    'zone=a, group batch'
    """
    parts = []
    for segment in path:
        if segment.startswith((_SUBNET, _GROUP)):
            parts.append(" ".join(segment.split(":", 1)))
        else:
            name, _, value = segment.partition("=")
            parts.append(f"{name.rpartition('/')[2]}={value}")
    return ", ".join(parts)


def is_path(topology: Topology, path: Path) -> bool:
    """Whether a path is one of a place of this topology, though perhaps not yet of any node.

    The subnet itself is no such place: what belongs to it is said with the subnet.
    """
    rest = list(path)
    for level in topology.levels:
        if not rest:
            break
        if level.kind is LevelKind.GROUPS:
            named: Path = ()
            while rest and (*named, rest[0]) in topology.by_path:
                named = (*named, rest.pop(0))
            if not named or (rest and topology.by_path[named].groups):
                return False
        else:
            segment = rest.pop(0)
            subnet = level.kind is LevelKind.SUBNET
            if not (is_subnet_segment(segment) if subnet else segment.startswith(f"{level}=")):
                return False
    return not rest and bool(path) and not is_subnet_segment(path[-1])


def _named(groups: Iterable[NamedGroup], around: Path) -> Iterator[tuple[Path, NamedGroup]]:
    """Every group by its path; a stack instead of recursion, however deep they nest."""
    pending = [(around, group) for group in groups][::-1]
    seen: set[Path] = set()
    while pending:
        parent, group = pending.pop()
        path = (*parent, group_segment(group.name))
        if path in seen:
            raise BadInputError(f"group {group.name}: a second one beside it has that name")
        seen.add(path)
        yield path, group
        pending += [(path, inner) for inner in reversed(group.groups)]


def _check_groups(by_path: Mapping[Path, NamedGroup], levels: Sequence[Level]) -> None:
    for path, group in by_path.items():
        if group.hosts and group.labels:
            raise BadInputError(f"group {group.name}: has hosts and labels: give one of them")
        if not 0 < group.weight < float("inf"):
            raise BadInputError(f"group {group.name}: weight {group.weight} should be above 0")
        if group.cidrs and levels[0] != GROUPS:
            raise BadInputError(
                f"group {group.name}: has cidrs, but there is one of it in each place of the level "
                "around it: make groups the first level, or leave out its cidrs"
            )
        around = by_path.get(path[:-1])
        outer = around.cidrs if around is not None else group.cidrs
        for cidr in group.cidrs:
            if not any(prefix.contains(cidr) for prefix in outer):
                raise BadInputError(
                    f"group {group.name}: {cidr} is in none of the cidrs of the group around it: "
                    "give that one cidrs that hold it"
                )
    _check_cidrs_apart(by_path)


def _check_cidrs_apart(by_path: Mapping[Path, NamedGroup]) -> None:
    """Ranges of groups overlap only where the groups nest."""
    ranges = sorted((cidr, path) for path, group in by_path.items() for cidr in group.cidrs)
    around: list[tuple[Prefix, Path]] = []
    for cidr, path in ranges:
        while around and not around[-1][0].contains(cidr):
            around.pop()
        for outer, other in around:
            if path == other or path[: len(other)] != other:
                raise BadInputError(f"{cidr} of {shown(path)} overlaps {outer} of {shown(other)}")
        around.append((cidr, path))


def _leaf(path: Path, by_path: Mapping[Path, NamedGroup]) -> Leaf:
    groups = [by_path[path[: depth + 1]] for depth in range(len(path))]
    selectors = tuple((tuple(sorted(set(g.hosts))), g.labels) for g in groups)
    return Leaf(path, selectors, frozenset(pair for g in groups for pair in g.labels))


_SUBNET, _GROUP = "subnet:", "group:"

PLAIN = topology()
"""Nothing but subnets."""
