"""Addresses as keys and values of a store, and back: one versioned JSON object per thing.

Keys: ``/meta``, ``/networks/NAME``, ``/subnets/ID``, ``/places/NETWORK/PATH``, ``/nodes/NAME``,
``/former/NAME/IDENTITY`` and ``/blocks/CIDR``; names are percent-encoded, so that no name is
another's prefix. A block's value names its owner and the attempt that created it, so whoever
created a block can prove it by reading it back. Each kind of record has its own version, raised
when fields come or change their meaning; older ones stay readable here, and are written anew with
the next change of their object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from msgspec import Struct

from ipam.errors import BadInputError, UnavailableError
from ipam.model import Network, Place, PlaceKey, SubnetShare
from ipam.prefix import Family, Prefix
from ipam.topology import PLAIN, Labels
from ipam.topology_codec import (
    read_labels,
    read_static,
    read_texts,
    read_topology,
    static_fields,
    topology_fields,
)

VERSIONS = {
    "meta": 1,
    "networks": 2,
    "subnets": 1,
    "places": 1,
    "nodes": 2,
    "former": 2,
    "blocks": 2,
}
"""By folder: the newest version that is known, and written."""

META = "/meta"
NETWORKS = "/networks/"
SUBNETS = "/subnets/"
PLACES = "/places/"
NODES = "/nodes/"
FORMER = "/former/"
BLOCKS = "/blocks/"
IMPORTING = "/importing"
"""There while an import takes more than one transaction: what is there is not whole."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Whose store this is."""

    cluster: str


class NodeRecord(Struct, frozen=True, gc=False):
    """A node and its blocks, which have records of their own: those decide.

    ``token`` is of the attempt that last wrote it. ``blocks`` is None where the record is of
    version 1, which did not name them.
    """

    name: str
    identity: str
    subnet: str
    token: str
    blocks: tuple[Prefix, ...] | None = None
    labels: Labels = ()


class BlockRecord(Struct, frozen=True, gc=False):
    """A block and its owner; ``token`` is of the attempt that created it, empty in version 1."""

    prefix: Prefix
    node: str
    identity: str
    token: str = ""


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

_AS_IT_IS = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch

Record = Meta | Network | SubnetShare | Place | NodeRecord | BlockRecord


def encoded(name: str) -> str:
    """A name as a part of a key: percent-encoded where it has to be, which is seldom."""
    return name if _AS_IT_IS(name) else quote(name, safe="")


def network_key(name: str) -> str:
    """The key of a network."""
    return NETWORKS + encoded(name)


def subnet_key(subnet: str) -> str:
    """The key of a subnet."""
    return SUBNETS + encoded(subnet)


def place_key(key: PlaceKey) -> str:
    """The key of a place."""
    network, path = key
    return PLACES + "/".join(encoded(part) for part in (network, *path))


def node_key(name: str) -> str:
    """The key of a node."""
    return NODES + encoded(name)


def former_key(name: str, identity: str) -> str:
    """The key of a node whose name has come back with another identity."""
    return f"{FORMER}{encoded(name)}/{encoded(identity)}"


def block_key(prefix: Prefix) -> str:
    """The key of a block."""
    return f"{BLOCKS}{prefix}"


def encode(record: Record) -> bytes:
    """The value of a record; the same record always gives the same bytes."""
    return _ENCODER.encode(_fields(record)).encode()


def decode(key: str, value: bytes) -> Record:
    """The record under a key.

    Raises UnavailableError for one of a newer version, BadInputError where there is no record.
    """
    try:
        fields = json.loads(value)
        check_version(key, fields["v"], VERSIONS.get(_folder(key), 1))
        return _record(key, fields)
    except (ValueError, KeyError, TypeError, AttributeError, BadInputError) as error:
        raise BadInputError(
            f"key {key} of the store holds no such record ({error}): restore it from a backup"
        ) from error


def check_version(key: str, version: object, known: int) -> None:
    """Raises UnavailableError where a value is of a newer version, TypeError where it has none."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise TypeError("v is no version")
    if version > known:
        raise UnavailableError(
            f"key {key} of the store is of a newer version ({version}, known is {known}): "
            "upgrade vpcrouter"
        )


def _folder(key: str) -> str:
    return key[1:].partition("/")[0]


def _fields(record: Record) -> dict[str, object]:
    if isinstance(record, BlockRecord):
        return {
            "v": 2,
            "node": record.node,
            "identity": record.identity,
            "token": record.token,
        }
    if isinstance(record, NodeRecord):
        fields = {"identity": record.identity, "subnet": record.subnet, "token": record.token}
        if record.blocks is None:
            return {"v": 1, **fields}
        labels = {"labels": dict(record.labels)} if record.labels else {}
        return {"v": 2, **fields, **labels, "blocks": _texts(record.blocks)}
    if isinstance(record, SubnetShare):
        return {"v": 1, "prefixes": _texts(record.prefixes), "groups": _texts(record.groups)}
    if isinstance(record, Place):
        return {"v": 1, "prefixes": _texts(record.prefixes)}
    if isinstance(record, Network):
        return _network_fields(record)
    return {"v": 1, "cluster": record.cluster}


def _network_fields(network: Network) -> dict[str, object]:
    fields: dict[str, object] = {
        "cidrs": _texts(network.cidrs),
        "block": {str(family): length for family, length in network.block.items()},
        "node": {str(family): length for family, length in network.node.items()},
        "exclude": _texts(network.exclude),
    }
    more = {
        **topology_fields(network.topology),
        **({"tenants": list(network.tenants)} if network.tenants else {}),
        **({"static": static_fields(network.static)} if network.static else {}),
        **({"closed": _texts(network.closed)} if network.closed else {}),
    }
    return {"v": 2 if more else 1, **fields, **more}


def _record(key: str, fields: Mapping[str, object]) -> Record:
    folder, _, name = key[1:].partition("/")
    if folder == "blocks":
        return BlockRecord(
            Prefix.parse(name),
            _text(fields, "node"),
            _text(fields, "identity"),
            _text(fields, "token") if fields["v"] != 1 else "",
        )
    if folder in ("nodes", "former"):
        return NodeRecord(
            unquote(name.partition("/")[0]),
            _text(fields, "identity"),
            _text(fields, "subnet"),
            _text(fields, "token"),
            _prefixes(fields, "blocks") if fields["v"] != 1 else None,
            read_labels(fields.get("labels", {})),
        )
    if folder == "subnets":
        return SubnetShare(
            unquote(name), _prefixes(fields, "prefixes"), _prefixes(fields, "groups")
        )
    if folder == "places":
        network, *path = (unquote(part) for part in name.split("/"))
        return Place(network, tuple(path), _prefixes(fields, "prefixes"))
    if folder == "networks":
        return Network(
            unquote(name),
            _prefixes(fields, "cidrs"),
            _lengths(fields, "block"),
            _lengths(fields, "node"),
            _prefixes(fields, "exclude"),
            read_topology(fields) if fields["v"] != 1 else PLAIN,
            read_texts(fields.get("tenants", [])),
            read_static(fields.get("static", {})),
            _prefixes(fields, "closed") if "closed" in fields else (),
        )
    if key == META:
        return Meta(_text(fields, "cluster"))
    raise KeyError(f"{folder} is no folder of the store")


def _texts(prefixes: tuple[Prefix, ...]) -> list[str]:
    return [str(prefix) for prefix in prefixes]


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    return value


def _prefixes(fields: Mapping[str, object], name: str) -> tuple[Prefix, ...]:
    value = fields[name]
    if not isinstance(value, list):
        raise TypeError(f"{name} is not a list")
    return tuple(Prefix.parse(text) for text in value)


def _lengths(fields: Mapping[str, object], name: str) -> dict[Family, int]:
    value = fields[name]
    if not isinstance(value, dict) or not all(isinstance(n, int) for n in value.values()):
        raise TypeError(f"{name} is not a mapping of families to lengths")
    return {Family(family): length for family, length in value.items()}
