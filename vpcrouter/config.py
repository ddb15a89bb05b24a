"""The cluster file: which networks, VPC, nodes and store make up one cluster, and how to plan."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from ipam.errors import BadInputError
from ipam.model import Network
from ipam.prefix import Family, Prefix, merge
from vpcrouter.positioned import Document, Where, read_yaml

MAX_BLOCK_BITS = 16


@dataclass(frozen=True, slots=True)
class FabricSettings:
    """What stands behind the fabric's port: ``source`` says what kind, and where to find it.

    ``quota`` (entries per table and family) is what the operator says about it; ``reserve``
    entries of each table and family are left free.
    """

    source: SimulatedSource | AwsSource
    quota: int | None
    reserve: int


@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """A simulated VPC that starts from ``describe``, a file of EC2 ``describe`` output."""

    describe: Path


@dataclass(frozen=True, slots=True)
class AwsSource:
    """A VPC of AWS; ``endpoint`` is the URL of another than the region's own, None: that one."""

    region: str
    vpc: str
    endpoint: str | None


@dataclass(frozen=True, slots=True)
class Planning:
    """How to plan: ``slack`` is how far above the least possible load a plan may stay (0.05: 5 %).

    ``weights`` and ``capacity`` equal: every block weighs 1, every node can carry 1.
    ``own_subnet_weight`` multiplies, in each table, the weight of blocks of subnets that use it.
    """

    slack: float
    weights: str
    capacity: str
    own_subnet_weight: float


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """A cluster file; all its paths are usable from the working directory."""

    path: Path
    cluster: str
    networks: tuple[Network, ...]
    fabric: FabricSettings
    nodes: Path
    planning: Planning
    store: Path


def load_cluster(path: Path) -> ClusterFile:
    """Read a cluster file.

    Raises BadInputError with file, line and field where it is not one. The files that it names
    are not opened.
    """
    document = read_yaml(path)
    try:
        model = _Cluster.model_validate(document.value)
    except ValidationError as error:
        raise _first_error(document, error.errors(include_url=False)) from error
    folder = path.parent
    return ClusterFile(
        path=path,
        cluster=model.cluster,
        networks=_networks(document, model.networks),
        fabric=FabricSettings(
            source=_source(model.fabric, folder),
            quota=model.fabric.quota,
            reserve=model.fabric.reserve,
        ),
        nodes=folder / Path(model.nodes.kubernetes).expanduser(),
        planning=Planning(
            slack=model.planning.slack,
            weights=model.planning.weights,
            capacity=model.planning.capacity,
            own_subnet_weight=model.planning.own_subnet_weight,
        ),
        store=_default_store(model.cluster)
        if model.store is None
        else folder / Path(model.store).expanduser(),
    )


def _source(fabric: _SimulatedFabric | _AwsFabric, folder: Path) -> SimulatedSource | AwsSource:
    if isinstance(fabric, _SimulatedFabric):
        return SimulatedSource(folder / Path(fabric.describe).expanduser())
    return AwsSource(fabric.region, fabric.vpc, fabric.endpoint)


def _default_store(cluster: str) -> Path:
    """A SQLite file under the user's state directory (XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # The specification: a relative path there is invalid and must be ignored.
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "vpcrouter" / f"{cluster}.db"


# The shape of the file. What depends on more than one field is checked below.

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_Name = Annotated[str, Field(pattern=_NAME, max_length=63)]
_REGION = r"^[a-z]{2,3}(-[a-z]+)+-[0-9]+$"
_VPC = r"^vpc-[0-9a-z]+$"
_URL = r"^https?://[^/\s]+/?$"
_SHAPES = {
    _NAME: "a name has letters, digits, '.', '_' and '-' only, and starts with no sign",
    _REGION: "a region is named like eu-central-1",
    _VPC: "a VPC is named like vpc-0123456789abcdef0",
    _URL: "an endpoint is a URL like https://ec2.eu-central-1.amazonaws.com",
}
_PathText = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _BlockLengths(_Strict):
    ipv4: int = Field(26, ge=1, le=32)
    ipv6: int = Field(80, ge=1, le=128)


class _NodeLengths(_Strict):
    ipv4: int = Field(24, ge=1, le=32)
    ipv6: int = Field(64, ge=1, le=128)


class _Network(_Strict):
    name: _Name
    cidrs: list[str] = Field(min_length=1)
    block: _BlockLengths = _BlockLengths()
    node: _NodeLengths = _NodeLengths()
    exclude: list[str] = []


class _SimulatedFabric(_Strict):
    kind: Literal["simulated"]
    describe: _PathText
    quota: int | None = Field(None, ge=0, le=1_000_000)
    reserve: int = Field(2, ge=0, le=1_000_000)


class _AwsFabric(_Strict):
    kind: Literal["aws"]
    region: str = Field(pattern=_REGION)
    vpc: str = Field(pattern=_VPC)
    endpoint: str | None = Field(None, pattern=_URL)
    quota: int | None = Field(None, ge=0, le=1_000_000)
    reserve: int = Field(2, ge=0, le=1_000_000)


class _Nodes(_Strict):
    kubernetes: _PathText


class _Planning(_Strict):
    slack: float = Field(0.05, ge=0, le=100)
    weights: Literal["equal"] = "equal"
    capacity: Literal["equal"] = "equal"
    own_subnet_weight: float = Field(1.0, ge=0, le=1_000_000)


class _Cluster(_Strict):
    version: Literal[1]
    cluster: _Name
    networks: list[_Network] = Field(min_length=1)
    fabric: Annotated[_SimulatedFabric | _AwsFabric, Field(discriminator="kind")]
    nodes: _Nodes
    planning: _Planning = _Planning()
    store: _PathText | None = None


def _first_error(document: Document, errors: list[ErrorDetails]) -> BadInputError:
    """The error that stands first in the file, and how many others there are."""
    errors = sorted(errors, key=lambda error: document.line(_place(error)))
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return document.error(_place(errors[0]), _message(errors[0]) + more)


def _place(error: ErrorDetails) -> Where:
    """Where it is in the file; pydantic puts the kind of a fabric into the path as well."""
    where = error["loc"]
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (*where, "kind")
    return (where[0], *where[2:]) if where[:1] == ("fabric",) and len(where) > 1 else where


def _message(error: ErrorDetails) -> str:
    if error["type"] in ("missing", "union_tag_not_found"):
        return "is missing"
    if error["type"] == "union_tag_invalid":
        return f"should be {error['ctx']['expected_tags'].replace(', ', ' or ')}"
    if error["type"] == "extra_forbidden":
        known = _fields_beside(error["loc"])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"unknown field: {hint}"
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] in _SHAPES:
        return _SHAPES[error["ctx"]["pattern"]]
    if error["type"] in ("model_type", "dict_type"):
        return "should be a mapping of fields to values"
    message = error["msg"].replace("Input should", "should", 1)
    return message[:1].lower() + message[1:]


def _fields_beside(where: Where) -> list[str]:
    model: type[BaseModel] = _Cluster
    inner: dict[str, type[BaseModel]] = {
        "networks": _Network,
        "simulated": _SimulatedFabric,
        "aws": _AwsFabric,
        "nodes": _Nodes,
        "planning": _Planning,
        "block": _BlockLengths,
        "node": _NodeLengths,
    }
    for part in where[:-1]:
        model = inner.get(part, model) if isinstance(part, str) else model
    return list(model.model_fields)


# What depends on more than one field.


def _networks(document: Document, models: list[_Network]) -> tuple[Network, ...]:
    names: set[str] = set()
    seen: list[tuple[Prefix, str]] = []
    networks: list[Network] = []
    for index, model in enumerate(models):
        where: Where = ("networks", index)
        if model.name in names:
            raise document.error((*where, "name"), f"two networks are named {model.name}")
        names.add(model.name)
        network = _network(document, where, model)
        for position, cidr in enumerate(network.cidrs):
            for other, owner in seen:
                if cidr.overlaps(other):
                    place = (*where, "cidrs", position)
                    raise document.error(place, f"{cidr} overlaps {other} of network {owner}")
            seen.append((cidr, network.name))
        networks.append(network)
    return tuple(networks)


def _network(document: Document, where: Where, model: _Network) -> Network:
    cidrs = _prefixes(document, (*where, "cidrs"), model.cidrs)
    exclude = _prefixes(document, (*where, "exclude"), model.exclude)
    block = {Family.IPV4: model.block.ipv4, Family.IPV6: model.block.ipv6}
    node = {Family.IPV4: model.node.ipv4, Family.IPV6: model.node.ipv6}
    for family in sorted({cidr.family for cidr in cidrs}):
        _check_lengths(document, (*where, "node", family.value), node[family], block[family])
    for position, cidr in enumerate(cidrs):
        _check_cidr((*where, "cidrs", position), document, cidr, block[cidr.family], exclude)
    for position, prefix in enumerate(exclude):
        _check_exclude((*where, "exclude", position), document, prefix, cidrs)
    return Network(name=model.name, cidrs=cidrs, block=block, node=node, exclude=exclude)


def _check_lengths(document: Document, where: Where, node: int, block: int) -> None:
    if node > block:
        raise document.error(where, f"a node's prefix (/{node}) must hold its block (/{block})")
    if block > node + MAX_BLOCK_BITS:
        raise document.error(
            where,
            f"a node's prefix (/{node}) has too many blocks (/{block}): let the lengths differ by "
            f"at most {MAX_BLOCK_BITS}",
        )


def _prefixes(document: Document, where: Where, texts: list[str]) -> tuple[Prefix, ...]:
    result: list[Prefix] = []
    for position, text in enumerate(texts):
        try:
            result.append(Prefix.parse(text))
        except BadInputError as error:
            raise document.error((*where, position), str(error)) from error
    return tuple(result)


_UNROUTABLE = tuple(
    Prefix.parse(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "fe80::/10",
        "ff00::/8",
    )
)


def _check_cidr(
    where: Where, document: Document, cidr: Prefix, block: int, exclude: tuple[Prefix, ...]
) -> None:
    if cidr.length > block:
        raise document.error(where, f"{cidr} is too small: one block of a node is a /{block}")
    for special in _UNROUTABLE:
        if cidr.overlaps(special):
            raise document.error(where, f"{cidr} holds {special}, which no VPC routes")
    if any(prefix.contains(cidr) for prefix in merge(exclude)):
        raise document.error(where, f"all of {cidr} is excluded")


def _check_exclude(
    where: Where, document: Document, prefix: Prefix, cidrs: tuple[Prefix, ...]
) -> None:
    if any(cidr.contains(prefix) for cidr in cidrs):
        return
    families = {cidr.family for cidr in cidrs}
    if prefix.family not in families:
        raise document.error(where, f"{prefix} is excluded, but the network has no such family")
    raise document.error(where, f"{prefix} is excluded, but lies in none of the network's cidrs")
