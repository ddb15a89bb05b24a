"""What a node needs to know of its cluster: its own blocks, its neighbours', the networks.

It follows the records of the store change by change; those of other subnets only cost their place.
A record that cannot be read is named, and what was known of its key before stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ipam import codec
from ipam.codec import BlockRecord, NodeRecord
from ipam.errors import BadInputError, UnavailableError
from ipam.model import Network
from ipam.prefix import Family, Prefix, format_address, parse_address

AGENTS = "/agents/"
REPORTS = "/reports/"
FOLDERS = (codec.NODES, codec.BLOCKS, codec.NETWORKS, AGENTS)
"""The keys that a view is made from start with these."""

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
        self._subnets: dict[str, set[str]] = {}
        self._blocks: dict[tuple[str, str], set[Prefix]] = {}
        self._owners: dict[str, BlockRecord] = {}
        self._uplinks: dict[str, tuple[str, Uplinks]] = {}
        self._networks: dict[str, Network] = {}
        self._problems: dict[str, str] = {}

    def forget(self, folder: str) -> None:
        """Take everything under this prefix for gone, before it is put anew."""
        for known in (self._nodes, self._owners, self._uplinks, self._networks, self._problems):
            for key in [key for key in known if key.startswith(folder)]:
                self.put(key, None)

    def put(self, key: str, value: bytes | None) -> None:
        """A key has this value now; None: it is gone."""
        self._problems.pop(key, None)
        try:
            if key.startswith(AGENTS):
                self._put_uplinks(key, value)
            elif key.startswith(FOLDERS):
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
        near = [self._nodes[key] for key in self._subnets[own.subnet]]
        others = [record for record in near if record.name != self._node]
        uplinks = {}
        for record in others:
            identity, addresses = self._uplinks.get(agent_key(record.name), ("", {}))
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
        node = self._nodes.pop(key, None)
        if node is not None:
            self._subnets[node.subnet].discard(key)
        block = self._owners.pop(key, None)
        if block is not None:
            self._blocks[block.node, block.identity].discard(block.prefix)
        self._networks.pop(key, None)

    def _add(self, key: str, record: object) -> None:
        if isinstance(record, NodeRecord):
            self._nodes[key] = record
            self._subnets.setdefault(record.subnet, set()).add(key)
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
            name = unquote(key.removeprefix(AGENTS))
            raise BadInputError(
                f"the agent of node {name} says no address ({error}): restart it"
            ) from error


def agent_key(node: str) -> str:
    """The key under which a node's agent says where the node is."""
    return AGENTS + quote(node, safe="")


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
