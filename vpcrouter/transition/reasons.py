"""Why a step is made, in a few words for the operator."""

from __future__ import annotations

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.reachability.ground import Ground
from vpcrouter.reachability.matching import Destinations


class Reasons:
    """Reasons for the steps towards one target in one family."""

    def __init__(self, ground: Ground, target: Destinations) -> None:
        self._ground = ground
        self._target = target

    def create(self, destination: Prefix, interface: str) -> str:
        """Why the target has an entry that the table has not."""
        family = destination.family
        for tree, _, _ in self._ground.trees_over(family, destination.value, destination.last):
            if destination.contains(tree.prefix):
                return f"cover of subnet {tree.subnet}"
        mine, others = self._caught(destination, interface)
        if not others:
            return f"{self._name(interface)}'s own blocks"
        return f"new group of {mine + others} blocks through {self._name(interface)}"

    def replace(self, destination: Prefix, present: str, wanted: str) -> str:
        """Why an entry changes its next hop."""
        fault = self._fault(destination, present)
        if fault is not None:
            return fault
        node = self._ground.node(present)
        if node is not None and self._caught(destination, present)[1]:
            if not self._ground.nodes[node].forwards:
                return f"{self._name(present)} does not forward"
            if self._ground.nodes[node].avoid:
                return f"{self._name(present)} is to be avoided"
        return f"{self._name(wanted)} takes over from {self._name(present)}"

    def delete(self, present: Destinations, destination: Prefix) -> str:
        """Why an entry goes."""
        interface = present.interface(destination)
        fault = None if interface is None else self._fault(destination, interface)
        if fault is not None:
            return fault
        family = destination.family
        if not any(self._ground.trees_over(family, destination.value, destination.last)):
            return "no subnet has blocks there"
        cover = self._target.cover(destination)
        if cover is None:
            return "more specific entries take over"
        return f"merged into its cover {cover}"

    def lend(self, freed: Prefix, interface: str) -> str:
        """Why an entry has a next hop for a while that is not the target's."""
        return f"{self._name(interface)} takes over for a while, to make room with {freed}"

    def vacate(self, cover: Prefix | None) -> str:
        """Why an entry that the target has is deleted for a while."""
        return f"for a while, to make room: its cover {cover} takes over"

    def _caught(self, destination: Prefix, interface: str) -> tuple[int, int]:
        """How many blocks the target's entry catches: its next hop's own, and others'."""
        node = self._ground.node(interface)
        owners = self._ground.owners[destination.family]
        mine = others = 0
        for first, last in self._target.piece(destination):
            rows = owners.rows(first, last)
            own = 0 if node is None else owners.count(rows, node)
            mine, others = mine + own, others + len(rows) - own
        return mine, others

    def _fault(self, destination: Prefix, interface: str) -> str | None:
        """Why this interface cannot be the next hop there at all."""
        node = self._ground.node(interface)
        if node is None:
            return f"stale: interface {interface} is no node's"
        if self._ground.is_dead(interface):
            return f"{self._name(interface)} is not healthy"
        family = destination.family
        subnets = [
            tree.subnet
            for tree, _, _ in self._ground.trees_over(family, destination.value, destination.last)
        ]
        if subnets and all(self._ground.role(node, each) is Role.NOTHING for each in subnets):
            return f"{self._name(interface)} is not in subnet {subnets[0]}"
        return None

    def _name(self, interface: str) -> str:
        node = self._ground.node(interface)
        return interface if node is None else self._ground.nodes[node].name
