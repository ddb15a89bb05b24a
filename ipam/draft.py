"""A state in the making: what placement changes step by step before it becomes a new State.

The draft copies the tables of names once and shares everything else with the state that it came
from, which stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ipam import shares
from ipam.model import Node, State, SubnetShare, empty_space
from ipam.prefix import Family, Prefix
from ipam.space import Space


class Draft:
    """A private, changeable copy of a state."""

    def __init__(self, state: State) -> None:
        self.networks = state.networks
        self.families = state.families
        self.subnets = dict(state.subnets)
        self.nodes = dict(state.nodes)
        self.former = dict(state.former)
        self.spaces = dict(state.spaces)
        self._base = state

    def state(self) -> State:
        """The new state; the draft must not be used any more."""
        return replace(
            self._base,
            subnets=self.subnets,
            nodes=self.nodes,
            former=self.former,
            spaces=self.spaces,
        )

    # Subnets and their prefixes

    def add_subnets(self, joining: Mapping[str, int]) -> None:
        """Make the subnets known that so many nodes join, each with a prefix per family.

        As long as there are some: a subnet may have to do without.
        """
        new = {name: nodes for name, nodes in joining.items() if name not in self.subnets}
        for family in self.families:
            if not self._taken(family):
                first = shares.first_shares(self.networks, family, new)
                for name, prefix in first.items():
                    self._add_prefix(name, prefix)
            else:
                for name in sorted(new):
                    self.add_prefix(name, family)

    def add_prefix(self, subnet: str, family: Family) -> Prefix | None:
        """Give a subnet a further prefix, which is a group of its own; None if nothing is spare."""
        own = [space.prefix for space in self.spaces_of(subnet, family)]
        prefix = shares.further_share(self.networks, self._taken(family), family, own)
        if prefix is not None:
            self._add_prefix(subnet, prefix)
        return prefix

    def _add_prefix(self, subnet: str, prefix: Prefix) -> None:
        share = self.subnets.get(subnet, SubnetShare(subnet, (), ()))
        self.subnets[subnet] = replace(
            share,
            prefixes=tuple(sorted((*share.prefixes, prefix))),
            groups=tuple(sorted((*share.groups, prefix))),
        )
        space = empty_space(self.networks, prefix)
        known = self.spaces.get(subnet, ())
        self.spaces[subnet] = tuple(sorted((*known, space), key=lambda space: space.prefix))

    def _taken(self, family: Family) -> list[Prefix]:
        return [
            prefix
            for share in self.subnets.values()
            for prefix in share.prefixes
            if prefix.family is family
        ]

    def spaces_of(self, subnet: str, family: Family) -> list[Space]:
        """The spaces of a subnet in one family."""
        return [space for space in self.spaces.get(subnet, ()) if space.family is family]

    def space(self, subnet: str, prefix: Prefix) -> Space:
        """The space of a subnet around a prefix; raises ValueError if there is none."""
        for space in self.spaces.get(subnet, ()):
            if space.prefix.contains(prefix):
                return space
        raise ValueError(f"{prefix} is outside the prefixes of subnet {subnet}")

    # Groups

    def groups(self, subnet: str, family: Family) -> list[Prefix]:
        """The groups of a subnet in one family, in order."""
        share = self.subnets.get(subnet)
        groups = share.groups if share is not None else ()
        return [group for group in groups if group.family is family]

    def set_groups(self, subnet: str, family: Family, groups: list[Prefix]) -> None:
        """Divide the address space of a subnet in one family into other groups."""
        share = self.subnets[subnet]
        others = (group for group in share.groups if group.family is not family)
        self.subnets[subnet] = replace(share, groups=tuple(sorted((*others, *groups))))

    # Blocks

    def give(self, subnet: str, block: Prefix) -> None:
        """Mark a block of a subnet as given out."""
        self.put_space(subnet, self.space(subnet, block).given(block))

    def release(self, subnet: str, block: Prefix) -> None:
        """Mark a block of a subnet as free."""
        self.put_space(subnet, self.space(subnet, block).released(block))

    def put_space(self, subnet: str, changed: Space) -> None:
        """Put a changed space in the place of the one of that prefix."""
        self.spaces[subnet] = tuple(
            changed if space.prefix == changed.prefix else space for space in self.spaces[subnet]
        )

    def take(self, node: Node) -> None:
        """Mark all blocks of a node as given out; raises ValueError where one already is."""
        for block in node.blocks:
            self.give(node.subnet, block)

    def free(self, node: Node) -> None:
        """Mark all blocks of a node as free."""
        for block in node.blocks:
            self.release(node.subnet, block)

    # Owners

    def remove_node(self, name: str) -> None:
        """Forget a node and free its blocks; no change if it is not known."""
        node = self.nodes.pop(name, None)
        if node is not None:
            self.free(node)

    def remove_former(self, name: str, identity: str) -> None:
        """Forget a former node and free its blocks; no change if it is not known."""
        node = self.former.pop((name, identity), None)
        if node is not None:
            self.free(node)

    def supersede(self, node: Node) -> None:
        """Add a node, whose blocks are taken; one of that name becomes a former one."""
        earlier = self.nodes.get(node.name)
        if earlier is not None:
            self.former[earlier.name, earlier.identity] = earlier
        self.former.pop((node.name, node.identity), None)
        self.nodes[node.name] = node
