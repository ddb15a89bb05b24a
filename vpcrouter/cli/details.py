"""What the wide tables say about nodes and prefixes beyond the narrow ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property

from ipam.prefix import Family, Prefix
from vpcrouter.cli.output import few, listing, number
from vpcrouter.cli.source import Look
from vpcrouter.model import Node

UNKNOWN = "-"
"""What a cell holds that nobody can fill, such as identities where only a snapshot is there."""

_HEADINGS = ("NODE", "SUBNET", "ZONE", "INTERFACE", "ADDRESS", "#CAPACITY", "STATE", "IDENTITY")


class Details:
    """Looks up zones, interfaces, identities and groups by name."""

    def __init__(self, look: Look) -> None:
        self._state = look.state
        self._snapshot = look.snapshot
        self._zones = {subnet.id: subnet.zone for subnet in look.snapshot.subnets}
        self._groups: dict[str, list[Prefix]] = {
            share.id: sorted(share.groups)
            for share in (look.state.subnets.values() if look.state else ())
        }

    def zone(self, subnet: str | None) -> str:
        """The zone of a subnet."""
        return self._zones.get(subnet or "", UNKNOWN)

    def node(self, name: str | None) -> Node | None:
        """The node of a name, None if there is none."""
        return self._nodes.get(name or "")

    def interface(self, name: str | None) -> str:
        """The interface of a node."""
        node = self.node(name)
        return UNKNOWN if node is None else node.interface

    def capacity(self, name: str | None) -> str:
        """The capacity of a node."""
        node = self.node(name)
        return UNKNOWN if node is None else number(node.capacity)

    def identity(self, name: str | None) -> str:
        """The instance id or UID of a node that owns addresses."""
        owner = self._state.nodes.get(name or "") if self._state is not None else None
        return UNKNOWN if owner is None else owner.identity

    def group(self, subnet: str | None, prefix: Prefix) -> str:
        """The prefix group in which a prefix of a subnet lies; of a wider one, how many do."""
        groups = self._groups.get(subnet or "", [])
        place = bisect_right(groups, prefix)
        if place and groups[place - 1].contains(prefix):
            return str(groups[place - 1])
        inside = sum(prefix.contains(group) for group in groups)
        return f"{inside:,} groups" if inside else UNKNOWN

    def groups(self, name: str) -> str:
        """The prefix groups in which a node has blocks."""
        if self._state is None or name not in self._state.nodes:
            return UNKNOWN
        owner = self._state.nodes[name]
        found = dict.fromkeys(self.group(owner.subnet, block) for block in owner.blocks)
        return few(found) or UNKNOWN

    def addresses(self, name: str | None) -> str:
        """The addresses of a node's own."""
        node = self.node(name)
        return UNKNOWN if node is None else addresses(node)

    def listing(self, names: Iterable[str | None]) -> str:
        """All about these nodes, each once and in this order; nothing if there are none."""
        nodes = [self._nodes[name] for name in dict.fromkeys(names) if name in self._nodes]
        return listing(_HEADINGS, map(self._cells, nodes)) if nodes else ""

    def _cells(self, node: Node) -> Sequence[str]:
        return (
            node.name,
            node.subnet,
            self.zone(node.subnet),
            node.interface,
            addresses(node),
            number(node.capacity),
            state_of(node),
            self.identity(node.name),
        )

    @cached_property
    def _nodes(self) -> dict[str | None, Node]:
        return {node.name: node for node in self._snapshot.nodes}


def addresses(node: Node) -> str:
    """The addresses of a node's own, in one cell."""
    return ", ".join(node.addresses[family] for family in Family if family in node.addresses)


def state_of(node: Node) -> str:
    """What people have to know about a node, in a word."""
    if not node.healthy:
        return "unhealthy"
    if not node.forwards:
        return "does not forward"
    return "avoid" if node.avoid else "healthy"
