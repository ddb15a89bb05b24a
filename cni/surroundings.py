"""What a node needs to know of its cluster: its own blocks, its neighbours', the networks.

Read from the records of the store; the records of other subnets are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ipam import codec
from ipam.codec import BlockRecord, NodeRecord
from ipam.errors import BadInputError
from ipam.model import Network
from ipam.prefix import Family, Prefix, format_address, parse_address

AGENTS = "/agents/"
_VERSION = 1

Owner = tuple[str, str]
"""A node by name and identity."""

Uplinks = Mapping[Family, int]
"""The addresses of a node on its uplink."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One node's view: blocks of its own, of other nodes of its subnet by name, and networks.

    ``uplinks`` are the addresses that those nodes' agents have said; ``problems`` are records of
    agents that say none, in words.
    """

    subnet: str
    blocks: tuple[Prefix, ...]
    neighbours: Mapping[str, tuple[Prefix, ...]]
    uplinks: Mapping[str, Uplinks]
    networks: tuple[Prefix, ...]
    problems: tuple[str, ...]


def read(items: Iterable[tuple[str, bytes]], node: str, identity: str) -> Surroundings | None:
    """The view of a node from all keys of the store; None if the store does not know it.

    A node of that name with another identity is another node. Raises BadInputError or
    UnavailableError where a record cannot be read.
    """
    nodes: dict[Owner, NodeRecord] = {}
    blocks: dict[Owner, list[Prefix]] = {}
    uplinks: dict[Owner, Uplinks] = {}
    problems: list[str] = []
    networks: list[Prefix] = []
    for key, value in items:
        if key.startswith(AGENTS):
            name = unquote(key.removeprefix(AGENTS))
            try:
                incarnation, addresses = _read_uplinks(value)
                uplinks[name, incarnation] = addresses
            except (ValueError, KeyError, TypeError, AttributeError, BadInputError) as error:
                problems.append(f"the agent of node {name} says no address ({error}): restart it")
        if not key.startswith((codec.NODES, codec.BLOCKS, codec.NETWORKS)):
            continue
        record = codec.decode(key, value)
        if isinstance(record, NodeRecord):
            nodes[record.name, record.identity] = record
        elif isinstance(record, BlockRecord):
            blocks.setdefault((record.node, record.identity), []).append(record.prefix)
        elif isinstance(record, Network):
            networks += record.cidrs
    own = nodes.get((node, identity))
    if own is None:
        return None
    near = [o for o, r in nodes.items() if r.subnet == own.subnet and r.name != node]
    return Surroundings(
        own.subnet,
        tuple(sorted(blocks.get((node, identity), ()))),
        {owner[0]: tuple(sorted(blocks.get(owner, ()))) for owner in near},
        {owner[0]: uplinks[owner] for owner in near if owner in uplinks},
        tuple(sorted(networks)),
        tuple(problems),
    )


def agent_key(node: str) -> str:
    """The key under which a node's agent says where the node is."""
    return AGENTS + quote(node, safe="")


def dump_uplinks(identity: str, uplinks: Uplinks) -> bytes:
    """What an agent writes there."""
    addresses = {str(family): format_address(family, uplinks[family]) for family in sorted(uplinks)}
    fields = {"v": _VERSION, "identity": identity, "addresses": addresses}
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _read_uplinks(value: bytes) -> tuple[str, Uplinks]:
    fields = json.loads(value)
    return str(fields["identity"]), dict(map(parse_address, fields["addresses"].values()))
