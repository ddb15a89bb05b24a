"""A state in the making: what placement changes step by step before it becomes a new State.

The draft shares everything that it does not change with the state that it came from, which stays
as it was.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import replace

from ipam.model import Node, Owner, Place, PlaceKey, State, SubnetShare, empty_space
from ipam.overlay import Overlay
from ipam.prefix import Family, Prefix
from ipam.space import Space
from ipam.topology import subnet_segment


class Draft:
    """A private, changeable copy of a state.

    ``subnets`` and ``spaces`` are as they were for subnets that have not been touched. Owners are
    changed by methods only, which note whose names were touched.
    """

    def __init__(self, state: State) -> None:
        self.networks = state.networks
        self.families = state.families
        self.subnets = dict(state.subnets)
        self._nodes: Overlay[str, Node] | None = None
        self._former: Overlay[Owner, Node] | None = None
        self._names: set[str] = set()
        self.spaces = dict(state.spaces)
        self.places = dict(state.places)
        self._base = state
        self._open: dict[str, _Subnet] = {}
        self._prefixes: dict[Family, int] = {}

    def state(self) -> State:
        """The new state; the draft must not be used any more."""
        for name, subnet in self._open.items():
            self.subnets[name] = subnet.share(self.subnets.get(name))
            self.spaces[name] = tuple(subnet.spaces)
        return replace(
            self._base,
            subnets=dict(sorted(self.subnets.items())),
            nodes=self._base.nodes if self._nodes is None else self._nodes.flat(),
            former=self._base.former if self._former is None else self._former.flat(),
            spaces=self.spaces,
            places=self.places,
            lineage=self._base.lineage.followed(self._names),
        )

    # Subnets and their prefixes

    @property
    def subnet_names(self) -> list[str]:
        """The subnets that are known."""
        return [*self.subnets, *(name for name in self._open if name not in self.subnets)]

    def add_prefix(self, subnet: str, prefix: Prefix) -> None:
        """Give a subnet a further prefix, which is a group of its own."""
        touched = self._touched(subnet)
        touched.add(empty_space(self.networks, prefix))
        insort(touched.groups[prefix.family], prefix)
        if prefix.family in self._prefixes:
            self._prefixes[prefix.family] += 1

    def drop_prefix(self, subnet: str, prefix: Prefix) -> None:
        """Take a prefix in which nothing is given out from a subnet, and from places inside it."""
        segment = subnet_segment(subnet)
        for key, place in list(self.places.items()):
            if segment in place.path and any(map(prefix.contains, place.prefixes)):
                kept = tuple(part for part in place.prefixes if not prefix.contains(part))
                if kept:
                    self.places[key] = replace(place, prefixes=kept)
                else:
                    del self.places[key]
        touched = self._touched(subnet)
        touched.remove(prefix)
        groups = touched.groups[prefix.family]
        touched.groups[prefix.family] = [g for g in groups if not prefix.contains(g)]
        self._prefixes.clear()

    def count_prefixes(self, family: Family) -> int:
        """How many prefixes all subnets have together."""
        if family not in self._prefixes:
            self._prefixes[family] = sum(
                len(self.spaces_of(subnet, family)) for subnet in self.subnet_names
            )
        return self._prefixes[family]

    def taken(self, family: Family) -> list[Prefix]:
        """The prefixes of all subnets."""
        return [
            space.prefix for subnet in self.subnet_names for space in self.spaces_of(subnet, family)
        ]

    def spaces_of(self, subnet: str, family: Family) -> list[Space]:
        """The spaces of a subnet in one family, in order."""
        touched = self._open.get(subnet)
        spaces: Collection[Space] = (
            touched.spaces if touched is not None else self.spaces.get(subnet, ())
        )
        return [space for space in spaces if space.family is family]

    def space(self, subnet: str, prefix: Prefix) -> Space:
        """The space of a subnet around a prefix; raises ValueError if there is none."""
        return self._touched(subnet).around(prefix)

    # Groups

    def groups(self, subnet: str, family: Family) -> list[Prefix]:
        """The groups of a subnet in one family, in order."""
        touched = self._open.get(subnet)
        if touched is not None:
            return list(touched.groups[family])
        share = self.subnets.get(subnet)
        groups = share.groups if share is not None else ()
        return [group for group in groups if group.family is family]

    def set_groups(self, subnet: str, family: Family, groups: list[Prefix]) -> None:
        """Divide the address space of a subnet in one family into other groups."""
        self._touched(subnet).groups[family] = groups

    # Places

    def place(self, key: PlaceKey) -> Place:
        """A place as it is now, without prefixes if it is not known."""
        return self.places.get(key) or Place(*key, ())

    def add_to_place(self, key: PlaceKey, prefix: Prefix) -> None:
        """Give a place a further prefix."""
        place = self.place(key)
        self.places[key] = replace(place, prefixes=tuple(sorted((*place.prefixes, prefix))))

    # Blocks

    def give(self, subnet: str, block: Prefix) -> None:
        """Mark a block of a subnet as given out."""
        self.put_space(subnet, self.space(subnet, block).given(block))

    def release(self, subnet: str, block: Prefix) -> None:
        """Mark a block of a subnet as free."""
        self.put_space(subnet, self.space(subnet, block).released(block))

    def put_space(self, subnet: str, changed: Space) -> None:
        """Put a changed space in the place of the one of that prefix."""
        self._touched(subnet).put(changed)

    def take(self, node: Node) -> None:
        """Mark all blocks of a node as given out; raises ValueError where one already is."""
        for block in node.blocks:
            self.give(node.subnet, block)

    def free(self, node: Node) -> None:
        """Mark all blocks of a node as free."""
        for block in node.blocks:
            self.release(node.subnet, block)

    # Owners

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes that are there."""
        return self._base.nodes if self._nodes is None else self._nodes

    @property
    def former(self) -> Mapping[Owner, Node]:
        """Nodes whose name has come back with another identity."""
        return self._base.former if self._former is None else self._former

    @property
    def touched_names(self) -> Set[str]:
        """Whose names were touched."""
        return self._names

    def owners(self) -> Iterator[Node]:
        """Everybody who owns something."""
        yield from self.nodes.values()
        yield from self.former.values()

    def put_node(self, node: Node) -> None:
        """Make this the node of its name, whatever that was."""
        self._own_nodes(node.name).put(node.name, node)

    def put_former(self, node: Node) -> None:
        """Make this the former node of its name and identity, whatever that was."""
        self._own_former(node.name).put((node.name, node.identity), node)

    def put_owner(self, node: Node) -> None:
        """Put an owner in the place of the one of its name and identity, there or former."""
        if (node.name, node.identity) in self.former:
            self.put_former(node)
        else:
            self.put_node(node)

    def remove_node(self, name: str) -> None:
        """Forget a node and free its blocks; no change if it is not known."""
        node = self.nodes.get(name)
        if node is not None:
            self._own_nodes(name).remove(name)
            self.free(node)

    def remove_former(self, name: str, identity: str) -> None:
        """Forget a former node and free its blocks; no change if it is not known."""
        node = self.former.get((name, identity))
        if node is not None:
            self._own_former(name).remove((name, identity))
            self.free(node)

    def supersede(self, node: Node) -> None:
        """Add a node, whose blocks are taken; one of that name becomes a former one."""
        earlier = self.nodes.get(node.name)
        if earlier is not None:
            self.put_former(earlier)
        if (node.name, node.identity) in self.former:
            self._own_former(node.name).remove((node.name, node.identity))
        self.put_node(node)

    def _own_nodes(self, name: str) -> Overlay[str, Node]:
        """The nodes to change, of which the one of a name is about to be."""
        self._names.add(name)
        if self._nodes is None:
            self._nodes = Overlay(self._base.nodes)
        return self._nodes

    def _own_former(self, name: str) -> Overlay[Owner, Node]:
        self._names.add(name)
        if self._former is None:
            self._former = Overlay(self._base.former)
        return self._former

    def _touched(self, subnet: str) -> _Subnet:
        if subnet not in self._open:
            share = self.subnets.get(subnet, SubnetShare(subnet, (), ()))
            self._open[subnet] = _Subnet(share, self.spaces.get(subnet, ()))
        return self._open[subnet]


class _Subnet:
    """The changeable parts of one subnet: its spaces in order, its groups by family in order."""

    def __init__(self, share: SubnetShare, spaces: Iterable[Space]) -> None:
        self.id = share.id
        self.spaces = list(spaces)
        self._prefixes = [space.prefix for space in self.spaces]
        self.groups = {f: [g for g in share.groups if g.family is f] for f in Family}

    def share(self, before: SubnetShare | None) -> SubnetShare:
        """What it has now; the same object as before if that is the same."""
        groups = tuple(group for family in Family for group in self.groups[family])
        share = SubnetShare(self.id, tuple(self._prefixes), groups)
        return before if before is not None and share == before else share

    def around(self, prefix: Prefix) -> Space:
        """The space around a prefix; raises ValueError if there is none."""
        position = bisect_right(self._prefixes, prefix) - 1
        if position >= 0 and self._prefixes[position].contains(prefix):
            return self.spaces[position]
        raise ValueError(f"{prefix} is outside the prefixes of subnet {self.id}")

    def put(self, space: Space) -> None:
        """Put a space in the place of the one of the same prefix."""
        self.spaces[bisect_left(self._prefixes, space.prefix)] = space

    def add(self, space: Space) -> None:
        """Add the space of a further prefix."""
        position = bisect_left(self._prefixes, space.prefix)
        self._prefixes.insert(position, space.prefix)
        self.spaces.insert(position, space)

    def remove(self, prefix: Prefix) -> None:
        """Forget the space of a prefix."""
        position = bisect_left(self._prefixes, prefix)
        del self._prefixes[position], self.spaces[position]
