"""What a node needs to know of its cluster: its own blocks, its neighbours', the networks.

It follows the records of the store change by change, and keeps nothing of other subnets' nodes. A
record that cannot be read is named, and what was known of its key before stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ipam import codec
from ipam.codec import BlockRecord, NodeRecord
from ipam.errors import BadInputError, UnavailableError
from ipam.model import Network
from ipam.prefix import Family, Prefix, format_address, parse_address

AGENTS = "/agents/"
REPORTS = "/reports/"
_VERSION = 1

Uplinks = Mapping[Family, int]
"""The addresses of a node on its uplink."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One node's view: blocks of its own, of other nodes of its subnet by name, and networks.

    ``uplinks`` are the addresses that those nodes' agents have said; ``problems`` are records that
    cannot be read, in words.
    """

    subnet: str
    blocks: tuple[Prefix, ...]
    neighbours: Mapping[str, tuple[Prefix, ...]]
    uplinks: Mapping[str, Uplinks]
    networks: tuple[Network, ...]
    problems: tuple[str, ...]

    @property
    def ranges(self) -> tuple[Prefix, ...]:
        """The ranges of all networks."""
        return tuple(sorted(cidr for network in self.networks for cidr in network.cidrs))

    @property
    def unrouted(self) -> tuple[Prefix, ...]:
        """Neighbours' blocks to which there is no host route, since their node says no address."""
        return tuple(
            sorted(
                block
                for name, owned in self.neighbours.items()
                for block in owned
                if block.family not in self.uplinks.get(name, {})
            )
        )


class View:
    """The records that one node, by name and identity, looks at."""

    def __init__(self, node: str, identity: str) -> None:
        self._node = node
        self._identity = identity
        self._nodes: dict[str, NodeRecord] = {}
        self._blocks: dict[tuple[str, str], set[Prefix]] = {}
        self._owners: dict[str, BlockRecord] = {}
        self._uplinks: dict[str, tuple[str, Uplinks]] = {}
        self._networks: dict[str, Network] = {}
        self._problems: dict[str, str] = {}

    @property
    def subnet(self) -> str | None:
        """The subnet of this node, None while the store does not know it.

        Where it changes, all nodes have to be replaced: those of another subnet are not known.
        """
        own = self._nodes.get(codec.node_key(self._node))
        return None if own is None or own.identity != self._identity else own.subnet

    def folders(self) -> frozenset[str]:
        """The keys that this view is made from start with these.

        Blocks are in the records of their nodes, but for those of version 1.
        """
        folders = {codec.NODES, codec.NETWORKS}
        if self.subnet is not None:
            folders.add(agents_of(self.subnet))
            if any(record.blocks is None for record in self._nodes.values()):
                folders.add(codec.BLOCKS)
        return frozenset(folders)

    def replace(self, folder: str, items: Iterable[tuple[str, bytes]]) -> None:
        """These, and no others, are the keys with this prefix and their values."""
        own = codec.node_key(self._node)
        present = dict(items)
        for known in (self._nodes, self._owners, self._uplinks, self._networks, self._problems):
            for key in [key for key in known if key.startswith(folder) and key not in present]:
                self.put(key, None)
        # By this node's own record it is known which others are needed.
        for key in sorted(present, key=lambda key: key != own):
            self.put(key, present[key])

    def put(self, key: str, value: bytes | None) -> None:
        """A key has this value now; None: it is gone."""
        self._problems.pop(key, None)
        try:
            if key.startswith(AGENTS):
                self._put_uplinks(key, value)
            else:
                record = None if value is None else codec.decode(key, value)
                self._remove(key)
                self._add(key, record)
        except (BadInputError, UnavailableError) as error:
            self._problems[key] = str(error)

    def look(self) -> Surroundings | None:
        """The view as it is now; None if the store does not know this node.

        A node of that name with another identity is another node.
        """
        own = self._nodes.get(codec.node_key(self._node))
        if own is None or own.identity != self._identity:
            return None
        others = [
            record
            for record in self._nodes.values()
            if record.subnet == own.subnet and record.name != self._node
        ]
        uplinks = {}
        for record in others:
            key = agent_key(own.subnet, record.name)
            identity, addresses = self._uplinks.get(key, ("", {}))
            if identity == record.identity:
                uplinks[record.name] = addresses
        networks = self.networks()
        # A static address is for one pod by its name: no other may get it.
        static = {address.prefix for network in networks for address in network.static}
        return Surroundings(
            own.subnet,
            tuple(block for block in self._owned(own) if block not in static),
            {record.name: self._owned(record) for record in others},
            uplinks,
            networks,
            tuple(problem for _, problem in sorted(self._problems.items())),
        )

    def networks(self) -> tuple[Network, ...]:
        """The networks of the cluster, by name."""
        return tuple(network for _, network in sorted(self._networks.items()))

    def _owned(self, record: NodeRecord) -> tuple[Prefix, ...]:
        if record.blocks is not None:
            return record.blocks
        return tuple(sorted(self._blocks.get((record.name, record.identity), ())))

    def _remove(self, key: str) -> None:
        self._nodes.pop(key, None)
        block = self._owners.pop(key, None)
        if block is not None:
            self._blocks[block.node, block.identity].discard(block.prefix)
        self._networks.pop(key, None)

    def _add(self, key: str, record: object) -> None:
        if isinstance(record, NodeRecord):
            if record.name == self._node or record.subnet == self.subnet:
                self._nodes[key] = record
        elif isinstance(record, BlockRecord):
            self._owners[key] = record
            self._blocks.setdefault((record.node, record.identity), set()).add(record.prefix)
        elif isinstance(record, Network):
            self._networks[key] = record

    def _put_uplinks(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._uplinks.pop(key, None)
            return
        try:
            self._uplinks[key] = _read_uplinks(value)
        except (ValueError, KeyError, TypeError, AttributeError, BadInputError) as error:
            name = unquote(key.rpartition("/")[2])
            raise BadInputError(
                f"the agent of node {name} says no address ({error}): restart it"
            ) from error


def agents_of(subnet: str) -> str:
    """The keys under which agents of a subnet say where their nodes are start with this."""
    return f"{AGENTS}{quote(subnet, safe='')}/"


def agent_key(subnet: str, node: str) -> str:
    """The key under which a node's agent says where the node is."""
    return agents_of(subnet) + quote(node, safe="")


def report_key(node: str, identity: str) -> str:
    """The key of what a node's agent reports."""
    return f"{REPORTS}{quote(node, safe='')}/{quote(identity, safe='')}"


def dump_uplinks(identity: str, uplinks: Uplinks) -> bytes:
    """What an agent writes there."""
    addresses = {str(family): format_address(family, uplinks[family]) for family in sorted(uplinks)}
    fields = {"v": _VERSION, "identity": identity, "addresses": addresses}
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _read_uplinks(value: bytes) -> tuple[str, Uplinks]:
    fields = json.loads(value)
    return str(fields["identity"]), dict(map(parse_address, fields["addresses"].values()))
