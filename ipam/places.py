"""Which parts of the networks places and subnets get: the rooms of a draft, handed out. Pure.

Two kinds of room serve a place. What no subnet has yet lies in the place around it; a subnet gets
its prefixes there. What a subnet has, but no place inside it, lies in the subnet's own prefixes;
places inside the subnet get their parts there, and so do places around it that came later.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence

from ipam.draft import Draft
from ipam.model import network_of
from ipam.parts import around_each, common, empty_parts, first_with_room, overlapping
from ipam.pools import Option, Pool
from ipam.prefix import Family, Prefix
from ipam.shares import Room, shared_out, spare_in, take_further, without
from ipam.space import Space
from ipam.topology import Path, is_subnet_segment, subnet_segment

_RoomKey = tuple[str, Family, Path, str]
"""A room: the pool's name and family, the place, and the subnet whose own it is (none: empty)."""


class Places:
    """The places of a draft in the making."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._rooms: dict[_RoomKey, Room] = {}
        self._inner: dict[tuple[str, Path], list[Path]] = {}
        for network, path in draft.places:
            self._inner.setdefault((network, path[:-1]), []).append(path)
        self._taken: dict[Family, list[Prefix]] = {}

    # What there is

    def region(self, option: Option) -> list[Prefix] | None:
        """The prefixes from which a node's blocks should come; None for all of its subnet's."""
        places = option.places
        return self._prefixes(option.pool, places[-1]) if places else None

    def areas(self, option: Option) -> list[Prefix]:
        """The groups of the node's subnet where its blocks should come from, or parts of them."""
        pool, region = option.pool, self.region(option)
        groups = self._draft.groups(option.location.subnet, pool.family)
        wanted = pool.ranges
        if region is not None:
            wanted = [prefix for prefix in region if any(r.contains(prefix) for r in wanted)]
        return [part for prefix in wanted for part in common(groups, prefix)]

    def parts(self, option: Option) -> list[tuple[Space, Prefix]]:
        """The parts of its subnet's spaces where a node's blocks should come from."""
        region = self.region(option)
        return self._parts(option, option.pool.ranges if region is None else region)

    def _parts(self, option: Option, inside: Iterable[Prefix]) -> list[tuple[Space, Prefix]]:
        """What the spaces of a node's subnet have in common with some prefixes."""
        spaces = self._usable_spaces(option)
        prefixes = [space.prefix for space in spaces]
        return [
            (next(around_each(spaces, prefixes, part)), part)
            for prefix in inside
            for part in common(prefixes, prefix)
        ]

    # The first parts

    def prepare(self, joining: Mapping[Option, int]) -> None:
        """Give parts to all places and subnets that so many nodes join and that have none.

        Where there is nothing yet they are shared out, so that all are of one size.
        """
        pools = {option.pool.name: option.pool for option in joining}
        for _, pool in sorted(pools.items()):
            if any(
                pool.key(path) not in self._draft.places for path in pool.topology.set_aside(())
            ):
                self._room(pool, ())
        lacking = {o: count for o, count in joining.items() if not self.areas(o)}
        for depth in range(max((len(option.location.path) for option in lacking), default=0)):
            self._prepare_level(lacking, depth)
        for option in sorted(lacking, key=lambda option: _order(option.pool, option.location.path)):
            if not self.areas(option):
                self.widen(option)

    def _prepare_level(self, joining: Mapping[Option, int], depth: int) -> None:
        inside: dict[tuple[Pool, Path], dict[Path, int]] = {}
        for option, count in joining.items():
            path = option.location.path
            if len(path) > depth:
                self._prepare_group(option, depth)
                if self._is_shared_out(option, depth):
                    inner = inside.setdefault((option.pool, path[:depth]), {})
                    inner[path[: depth + 1]] = inner.get(path[: depth + 1], 0) + count
        for (pool, around), counts in sorted(inside.items(), key=lambda item: _order(*item[0])):
            self._share_out(pool, around, counts)

    def _prepare_group(self, option: Option, depth: int) -> None:
        """An explicit group gets its part before subnets share it, unless subnets come along."""
        pool, path = option.pool, option.location.path[: depth + 1]
        if depth >= len(option.location.above) or pool.topology.group(path) is None:
            return
        if not self._prefixes(pool, path) and self._own_room(option, depth).largest is None:
            self._ensure(pool, path)

    def _is_shared_out(self, option: Option, depth: int) -> bool:
        """Whether a level is one whose places share what is around them for the first time."""
        pool, path = option.pool, option.location.path
        inside_subnet = depth > len(option.location.above)
        if pool.topology.group(path[: depth + 1]) is not None:
            return False
        if self._inner.get((pool.name, path[:depth])):
            return False
        if inside_subnet:
            return self._own_room(option, depth - 1).largest is not None
        return not self._has_subnets(pool, path[:depth]) and bool(
            self._room(pool, path[:depth]).largest
        )

    def _share_out(self, pool: Pool, around: Path, counts: Mapping[Path, int]) -> None:
        subnet = next((s.partition(":")[2] for s in around if is_subnet_segment(s)), "")
        room = self._rooms[pool.name, pool.family, around, subnet]
        names = {path[-1]: count for path, count in counts.items()}
        assert room.largest is not None  # noqa: S101 - the caller has looked
        network = network_of(self._draft.networks, room.largest)
        longest = (network.node if subnet else network.block)[pool.family]
        for name, prefix in shared_out(self._draft.networks, room, names, longest).items():
            if is_subnet_segment(name):
                self._give_subnet(pool, around, name.partition(":")[2], prefix)
            else:
                self._give_place(pool, (*around, name), prefix, subnet)

    # Further parts

    def widen(self, option: Option) -> bool:
        """Give a node's place empty room: the subnet's own, else a further prefix for the subnet.

        False if there is none. A further prefix costs an entry in every table; see ``assign``.
        """
        return self.assign(option) or self.extend(option)

    def assign(self, option: Option) -> bool:
        """Give a node's place empty room of its subnet; False if there is none."""
        return self._assign(option, len(option.places) - 1)

    def extend(self, option: Option) -> bool:
        """Give a node's subnet a further prefix where the node belongs; False if none is left."""
        pool, location = option.pool, option.location
        if not self._ensure(pool, location.above):
            return False
        own = [space.prefix for space in self._usable_spaces(option)]
        room = self._room(pool, location.above)
        prefix = take_further(self._draft.networks, room, own)
        if prefix is None:
            return False
        self._give_subnet(pool, location.above, location.subnet, prefix)
        return self._assign(option, len(option.places) - 1) if location.below else True

    def adopt(self, option: Option) -> bool:
        """Give a node's place a node prefix of its subnet in which others already have blocks.

        One that belongs to no other place. False if there is none.
        """
        pool, places = option.pool, option.places
        foreign: list[Prefix] = []
        for position, path in enumerate(places):
            last = position == len(places) - 1
            for sibling in self._inner.get((pool.name, path[:-1]), ()):
                if sibling != path or last:
                    foreign += self._prefixes(pool, sibling)
        foreign.sort()
        fixed = [path for path in places if _is_fixed(pool, path)]
        limits = self._prefixes(pool, fixed[-1]) if fixed else pool.ranges
        for space in self._usable_spaces(option) if places else ():
            for part in without(space.prefix, foreign, {space.family: space.node_length}):
                found = first_with_room(space, part)
                if found is not None and any(limit.contains(found) for limit in limits):
                    for path in places:
                        if not any(p.contains(found) for p in self._prefixes(pool, path)):
                            self._note_place(pool, path)
                            self._draft.add_to_place(pool.key(path), found)
                    return True
        return False

    def _assign(self, option: Option, position: int) -> bool:
        """Give the place at a position of the way room of the one around it."""
        if position < 0:
            return False
        pool, path = option.pool, option.places[position]
        group = pool.topology.group(path)
        if _is_fixed(pool, path):
            return False
        room = self._own_room(option, position)
        if room.largest is None and not self._assign(option, position - 1):
            return False
        if room.largest is None:
            return False
        if position < len(option.location.above) and group is None:
            self._take_along(option, position, room)
            return True
        prefix = self._carve(pool, path, room, self._prefixes(pool, path))
        self._give_place(pool, path, prefix, option.location.subnet)
        return True

    def _take_along(self, option: Option, position: int, room: Room) -> None:
        """All that a subnet has goes with it into a place around it that came later."""
        pool, places = option.pool, option.places
        for prefix in list(room):
            room.take(prefix)
        outer = self._prefixes(pool, places[position - 1]) if position else pool.ranges
        given = self._given(pool, places[position][:-1])
        for space, part in self._parts(option, outer):
            for prefix in without(part, given, {space.family: space.node_length}):
                self._give_place(pool, places[position], prefix, option.location.subnet)

    def _ensure(self, pool: Pool, path: Path) -> bool:
        """Whether the room of a place around subnets has something, once it has got more."""
        room = self._room(pool, path)
        if room.largest is not None:
            return True
        if not path:
            return False
        outer = self._room(pool, path[:-1])  # which gives groups what is theirs
        if room.largest is not None or _is_fixed(pool, path):
            return room.largest is not None
        if not self._ensure(pool, path[:-1]):
            return False
        own = self._prefixes(pool, path)
        self._give_place(pool, path, self._carve(pool, path, outer, own), "")
        return room.largest is not None

    def _carve(self, pool: Pool, path: Path, room: Room, own: Sequence[Prefix]) -> Prefix:
        """A part for a place: by its weight where it has one, else a quarter of the largest.

        A quarter leaves room beside it to grow into, and something for those to come: of places
        that come one by one the twentieth gets a 256th of the room, with halves a millionth.
        """
        largest = room.largest
        assert largest is not None  # noqa: S101 - the caller has looked
        length = largest.length + 2
        if pool.topology.group(path) is not None:
            widest = self._widest(pool, path[:-1], largest)
            length = widest + math.ceil(-math.log2(pool.topology.share(path)))
            if own:
                length = max(length, largest.length + 2)
        elif own:
            further = take_further(self._draft.networks, room, own, 2)
            assert further is not None  # noqa: S101 - there is room
            return further
        node_length = network_of(self._draft.networks, largest).node[pool.family]
        return room.carve(max(largest.length, min(length, node_length)))

    def _widest(self, pool: Pool, path: Path, inside: Prefix) -> int:
        """The length of the prefix of a place around another prefix."""
        around = self._prefixes(pool, path) if path else pool.ranges
        if path and is_subnet_segment(path[-1]):
            subnet = path[-1].partition(":")[2]
            return self._draft.space(subnet, inside).prefix.length
        return next((p.length for p in around if p.contains(inside)), inside.length)

    # Rooms

    def _room(self, pool: Pool, path: Path) -> Room:
        """What no subnet has and no inner place, of a place around subnets, or of the pool."""
        key = pool.name, pool.family, path, ""
        if key not in self._rooms:
            ranges = pool.ranges
            around = [p for p in self._prefixes(pool, path) if any(r.contains(p) for r in ranges)]
            around = around if path else ranges
            taken = [p for prefix in around for p in overlapping(self._subnets(pool), prefix)]
            taken += self._given(pool, path)
            room = Room(self._draft.networks, spare_in(self._draft.networks, around, taken))
            self._rooms[key] = room
            self._set_aside(pool, path, room, "")
        return self._rooms[key]

    def _own_room(self, option: Option, position: int) -> Room:
        """Empty parts of a subnet's own prefixes that the place around a place has not given on."""
        pool, places, subnet = option.pool, option.places, option.location.subnet
        around = places[position][:-1]
        key = pool.name, pool.family, around, subnet
        if key not in self._rooms:
            outer = self._prefixes(pool, places[position - 1]) if position else pool.ranges
            given = self._given(pool, around)
            parts = [
                empty
                for space, part in self._parts(option, outer)
                for inner in without(part, given, {space.family: space.node_length})
                for empty in empty_parts(space, inner)
            ]
            room = Room(self._draft.networks, parts)
            self._rooms[key] = room
            self._set_aside(pool, around, room, subnet)
        return self._rooms[key]

    def _set_aside(self, pool: Pool, path: Path, room: Room, subnet: str) -> None:
        """Explicit groups get what is theirs from the beginning, before anything else is given."""
        inside = bool(path) and is_subnet_segment(path[-1])
        for inner in pool.topology.set_aside(path):
            group = pool.topology.group(inner)
            assert group is not None  # noqa: S101 - siblings are groups
            own = self._prefixes(pool, inner)
            for cidr in group.cidrs:
                if cidr.family is pool.family:
                    room.withdraw(cidr)
                    if not subnet and cidr not in own:
                        self._give_place(pool, inner, cidr, subnet)
            length = group.reserve.get(pool.family)
            if length is None or group.cidrs or any(p.length <= length for p in own):
                continue
            if inside is not bool(subnet):
                continue
            if room.largest is not None and room.largest.length <= length:
                self._give_place(pool, inner, room.carve(length), subnet)

    def _usable_spaces(self, option: Option) -> list[Space]:
        ranges = option.pool.ranges
        spaces = self._draft.spaces_of(option.location.subnet, option.pool.family)
        return [space for space in spaces if any(r.contains(space.prefix) for r in ranges)]

    # Giving

    def _give_subnet(self, pool: Pool, around: Path, subnet: str, prefix: Prefix) -> None:
        insort(self._subnets(pool), prefix)
        self._draft.add_prefix(subnet, prefix)
        inside = (*around, subnet_segment(subnet))
        inner = self._rooms.get((pool.name, pool.family, inside, subnet))
        if inner is not None:
            inner.add(prefix)

    def _give_place(self, pool: Pool, path: Path, prefix: Prefix, subnet: str) -> None:
        """Note a further prefix of a place, out of a subnet's own room or out of nobody's."""
        self._note_place(pool, path)
        self._draft.add_to_place(pool.key(path), prefix)
        keys = [path, (*path, subnet_segment(subnet))] if subnet else [path]
        rooms = [self._rooms.get((pool.name, pool.family, key, subnet)) for key in keys]
        for room in rooms:
            if room is None:
                continue
            if subnet:
                parts = empty_parts(self._draft.space(subnet, prefix), prefix)
            else:
                taken = overlapping(self._subnets(pool), prefix)
                parts = spare_in(self._draft.networks, [prefix], taken)
            for part in parts:
                room.add(part)

    def _given(self, pool: Pool, path: Path) -> list[Prefix]:
        """What the places directly inside one have, in order."""
        inner = self._inner.get((pool.name, path), ())
        return sorted(prefix for path in inner for prefix in self._prefixes(pool, path))

    def _note_place(self, pool: Pool, path: Path) -> None:
        if pool.key(path) not in self._draft.places:
            self._inner.setdefault((pool.name, path[:-1]), []).append(path)

    def _prefixes(self, pool: Pool, path: Path) -> list[Prefix]:
        prefixes = self._draft.place(pool.key(path)).prefixes
        return [prefix for prefix in prefixes if prefix.family is pool.family]

    def _subnets(self, pool: Pool) -> list[Prefix]:
        """The prefixes of all subnets in the pool's family, in order."""
        if pool.family not in self._taken:
            self._taken[pool.family] = sorted(self._draft.taken(pool.family))
        return self._taken[pool.family]

    def _has_subnets(self, pool: Pool, path: Path) -> bool:
        around = self._prefixes(pool, path) if path else pool.ranges
        return any(overlapping(self._subnets(pool), prefix) for prefix in around)


def _is_fixed(pool: Pool, path: Path) -> bool:
    """Whether a place is a group with prefixes of its own, which never gets others."""
    group = pool.topology.group(path)
    return group is not None and bool(group.cidrs)


def _order(pool: Pool, path: Path) -> tuple[str, Path]:
    return pool.name, path
