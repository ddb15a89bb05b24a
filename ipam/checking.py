"""Everything that contradicts itself in the records of a store. Pure.

``Ledger`` refuses a store at the first contradiction; this names all of them, each with what to do
about it, for whoever has to put a store in order that was edited by hand, half restored from a
backup, or used for two clusters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ipam import claim_records, codec
from ipam.codec import BlockRecord, Meta, NodeRecord, Record
from ipam.errors import BadInputError, UnavailableError
from ipam.model import Network, Node, Owner, Place, SubnetShare, check_groups, empty_space
from ipam.network import check_network
from ipam.networks import check_change
from ipam.prefix import Prefix

Reader = Callable[[str, bytes], object]
"""Reads a value under a key; raises BadInputError or UnavailableError where it is none."""


_RESTORE = "restore it from a backup"
_REMOVE = "remove this record if nobody uses the block, else restore the other from a backup"


@dataclass(frozen=True, slots=True, order=True)
class Contradiction:
    """What is wrong with one record, and what to do."""

    key: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}: {self.remedy}"


def check(
    items: Iterable[tuple[str, bytes]],
    cluster: str | None,
    networks: Sequence[Network],
    readers: Mapping[str, Reader],
) -> tuple[Contradiction, ...]:
    """All contradictions among the records, in the order of their keys.

    ``cluster`` and ``networks`` are those of the cluster file; None and empty where there is none.
    ``readers`` know the records of others, by folder.
    """
    found: list[Contradiction] = []
    records = _Records()
    for key, value in items:
        try:
            _read(records, key, value, readers)
        except (BadInputError, UnavailableError) as error:
            message = str(error).removeprefix(f"key {key} of the store ")
            found.append(Contradiction(key, *_split(message)))
    wanted = tuple(networks)
    found += _meta(records, cluster)
    found += _networks(records)
    found += _layout(records)
    found += _owners(records)
    found += _blocks(records)
    found += _changed(records, wanted) if wanted else ()
    return tuple(sorted(set(found)))


@dataclass(slots=True)
class _Records:
    """The records by what they are, under their keys."""

    keys: set[str] = field(default_factory=set)
    meta: Meta | None = None
    networks: dict[str, Network] = field(default_factory=dict)
    shares: dict[str, SubnetShare] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    blocks: dict[str, BlockRecord] = field(default_factory=dict)

    def put(self, key: str, record: Record) -> None:
        """Sort a record in."""
        match record:
            case Meta():
                self.meta = record
            case Network():
                self.networks[key] = record
            case SubnetShare():
                self.shares[key] = record
            case Place():
                self.places[key] = record
            case NodeRecord():
                self.nodes[key] = record
            case BlockRecord():
                self.blocks[key] = record

    def network(self, prefix: Prefix) -> Network | None:
        """The network around a prefix."""
        for network in self.networks.values():
            if any(cidr.contains(prefix) for cidr in network.cidrs):
                return network
        return None


_OURS = (
    *(codec.META, codec.NETWORKS, codec.SUBNETS, codec.PLACES),
    *(codec.NODES, codec.FORMER, codec.BLOCKS),
)


def _read(records: _Records, key: str, value: bytes, readers: Mapping[str, Reader]) -> None:
    records.keys.add(key)
    if key.startswith(_OURS):
        record = codec.decode(key, value)
        records.put(key, record)
        _check_key(key, record)
    elif key.startswith(claim_records.CLAIMS):
        claim_records.decode_claim(key, value)
    elif key.startswith(claim_records.REFUSALS):
        claim_records.decode_refusal(key, value)
    elif key == codec.IMPORTING:
        raise BadInputError("an import was interrupted: import the same file again")
    elif not key.startswith((claim_records.ALIVE, claim_records.ALLOCATOR)):
        folder = key[: key.find("/", 1) + 1]
        if folder not in readers:
            raise BadInputError("is no record that is known here: remove it, or upgrade vpcrouter")
        readers[folder](key, value)


def _check_key(key: str, record: Record) -> None:
    """A record under the key of another would be read and never be found."""
    if isinstance(record, NodeRecord):
        former = codec.former_key(record.name, record.identity)
        right = former if key.startswith(codec.FORMER) else codec.node_key(record.name)
    elif isinstance(record, BlockRecord):
        right = codec.block_key(record.prefix)
    else:
        return
    if key != right:
        raise BadInputError(f"its key should be {right}: {_RESTORE}")


def _meta(records: _Records, cluster: str | None) -> Iterator[Contradiction]:
    ours = records.networks or records.shares or records.nodes or records.blocks
    if records.meta is None:
        if ours and codec.META not in records.keys and codec.IMPORTING not in records.keys:
            yield Contradiction(codec.META, "is missing, though there are addresses", _RESTORE)
    elif cluster is not None and records.meta.cluster != cluster:
        yield Contradiction(
            codec.META,
            f"the store belongs to cluster {records.meta.cluster}, not to {cluster}",
            "name a `store` of its own in the cluster file",
        )


def _networks(records: _Records) -> Iterator[Contradiction]:
    for key, network in records.networks.items():
        try:
            check_network(network)
        except BadInputError as error:
            yield Contradiction(key, *_split(str(error)))
    cidrs = [(cidr, key) for key, network in records.networks.items() for cidr in network.cidrs]
    for (inner, key), (outer, other) in _nested(cidrs):
        name = records.networks[other].name
        yield Contradiction(key, f"{inner} overlaps {outer} of network {name}", _RESTORE)


def _layout(records: _Records) -> Iterator[Contradiction]:
    given = [(prefix, key) for key, share in records.shares.items() for prefix in share.prefixes]
    for (inner, key), (outer, other) in _nested(given):
        if key != other:
            holder = records.shares[other].id
            yield Contradiction(key, f"{inner} overlaps {outer} of subnet {holder}", _RESTORE)
    for key, share in records.shares.items():
        outside = [prefix for prefix in share.prefixes if records.network(prefix) is None]
        for prefix in outside:
            yield Contradiction(key, f"{prefix} is in no network", _RESTORE)
        if not outside:
            try:
                around = records.networks.values()
                check_groups(share, [empty_space(around, p) for p in sorted(share.prefixes)])
            except (BadInputError, ValueError) as error:
                yield Contradiction(key, *_split(str(error)))
    names = {network.name for network in records.networks.values()}
    for key, place in records.places.items():
        if place.network not in names:
            problem = f"is a place of network {place.network}, which is not there"
            yield Contradiction(key, problem, _RESTORE)


def _owners(records: _Records) -> Iterator[Contradiction]:
    owned: defaultdict[Owner, set[Prefix]] = defaultdict(set)
    for block in records.blocks.values():
        owned[block.node, block.identity].add(block.prefix)
    keys: dict[Owner, str] = {}
    subnets = {share.id for share in records.shares.values()}
    for key, node in records.nodes.items():
        owner = (node.name, node.identity)
        other = keys.setdefault(owner, key)
        if other != key:
            problem = f"node {node.name} is both there and a former one with the same identity"
            yield Contradiction(key, problem, f"remove this record or {other}")
        has = owned.get(owner, set())
        if has and node.subnet not in subnets:
            problem = f"node {node.name} is in subnet {node.subnet}, which is not there"
            yield Contradiction(key, problem, _RESTORE)
        named = has if node.blocks is None else set(node.blocks)
        for prefix in sorted(named - has):
            problem = f"block {prefix} of node {node.name} is missing"
            yield Contradiction(codec.block_key(prefix), problem, _RESTORE)
        for prefix in sorted(has - named):
            problem = f"is not named in the record of its node {node.name}"
            yield Contradiction(codec.block_key(prefix), problem, _REMOVE)
    for owner in sorted(owned.keys() - keys.keys()):
        for prefix in sorted(owned[owner]):
            problem = f"belongs to node {owner[0]} ({owner[1]}), which is not there"
            yield Contradiction(codec.block_key(prefix), problem, _REMOVE)


def _blocks(records: _Records) -> Iterator[Contradiction]:
    homes = {(node.name, node.identity): node.subnet for node in records.nodes.values()}
    prefixes = {share.id: share.prefixes for share in records.shares.values()}
    for key, block in records.blocks.items():
        problem = _misplaced(records, block.prefix)
        if problem is None:
            subnet = homes.get((block.node, block.identity))
            own = prefixes.get(subnet or "")
            if own is not None and not any(prefix.contains(block.prefix) for prefix in own):
                problem = f"is outside the prefixes of subnet {subnet} of its node {block.node}"
        if problem is not None:
            yield Contradiction(key, problem, _REMOVE)
    given = [(block.prefix, key) for key, block in records.blocks.items()]
    for (_, key), (outer, other) in _nested(given):
        problem = f"overlaps {outer} of node {records.blocks[other].node}"
        yield Contradiction(key, problem, "remove the record of whoever does not use it")


def _misplaced(records: _Records, block: Prefix) -> str | None:
    """What is wrong with a block whoever owns it."""
    network = records.network(block)
    if network is None:
        return "is in no network"
    if any(address.prefix == block for address in network.static):
        return None
    if network.block.get(block.family) != block.length:
        return f"is not a block of network {network.name}"
    withheld = [prefix for prefix in network.withheld if prefix.overlaps(block)]
    return f"overlaps {withheld[0]}, which is never given out" if withheld else None


def _changed(records: _Records, wanted: Sequence[Network]) -> Iterator[Contradiction]:
    """What the networks of the cluster file do not allow any more."""
    recorded = tuple(records.networks.values())
    if not recorded or sorted(recorded, key=_name) == sorted(wanted, key=_name):
        return
    blocks: defaultdict[Owner, list[Prefix]] = defaultdict(list)
    for block in records.blocks.values():
        blocks[block.node, block.identity].append(block.prefix)
    parts: list[tuple[str, list[SubnetShare], list[Node]]] = [
        (key, [share], []) for key, share in records.shares.items()
    ]
    for key, node in records.nodes.items():
        own = tuple(sorted(blocks[node.name, node.identity]))
        parts.append((key, [], [Node(node.name, node.identity, node.subnet, own)]))
    for key, shares, nodes in parts:
        try:
            check_change(recorded, wanted, shares, nodes)
        except BadInputError as error:
            yield Contradiction(key, *_split(str(error)))


def _name(network: Network) -> str:
    return network.name


Of = TypeVar("Of")


def _nested(
    given: Iterable[tuple[Prefix, Of]],
) -> Iterator[tuple[tuple[Prefix, Of], tuple[Prefix, Of]]]:
    """Every prefix that lies in another one, with the widest that it lies in."""
    widest: tuple[Prefix, Of] | None = None
    for one in sorted(given, key=lambda pair: pair[0]):
        if widest is not None and widest[0].contains(one[0]):
            yield one, widest
        else:
            widest = one


def _split(message: str) -> tuple[str, str]:
    """The problem of an error message, and its remedy: what stands behind the last colon."""
    problem, _, remedy = message.rpartition(": ")
    return (problem, remedy) if problem else (message, _RESTORE)
