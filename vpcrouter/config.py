"""The cluster file: which networks, VPC, nodes and store make up one cluster, and how to plan."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ipam.errors import BadInputError
from ipam.model import Network
from ipam.prefix import Prefix
from vpcrouter.fabric.aws.settings import (
    ENDPOINT,
    EXTERNAL_ID,
    QUEUE,
    REGION,
    ROLE,
    SESSION,
    SHAPES,
    VPC,
    AssumedRole,
    AwsSource,
)
from vpcrouter.fabric.linux.settings import RouterSettings, RouterSubnet
from vpcrouter.network_fields import (
    GROUP_NAME,
    NAME,
    BlockLengths,
    GroupFields,
    Name,
    NetworkFields,
    NodeLengths,
    StaticFields,
    Strict,
    read_networks,
)
from vpcrouter.own_weight import OwnWeight
from vpcrouter.positioned import Document, Where, read_yaml


@dataclass(frozen=True, slots=True)
class FabricSettings:
    """What stands behind the fabric's port: ``source`` says what kind, and where to find it.

    ``quota`` (entries per table and family) is what the operator says about it; ``reserve``
    entries of each table and family are left free. A table keeps to ``soft_limit`` entries while
    the load allows it (None: there is no such limit).
    """

    source: SimulatedSource | AwsSource | LinuxSource
    quota: int | None
    reserve: int
    soft_limit: int | None = None
    node_tag: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """A simulated VPC that starts from ``describe``, a file of EC2 ``describe`` output."""

    describe: Path


@dataclass(frozen=True, slots=True)
class LinuxSource:
    """A router that is a Linux machine: this one."""

    router: RouterSettings


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a pass may delete of a table without asking: up to ``few``, or up to a ``share``."""

    share: float
    few: int


CEILING = Ceiling(0.5, 10)


@dataclass(frozen=True, slots=True)
class Planning:
    """How to plan: ``slack`` is how far above the least possible load a plan may stay (0.05: 5 %).

    ``weights`` says what a block weighs: 1 (equal), by its node's class, or as measured;
    ``capacity`` what a node can carry: 1 (equal), or Gbit/s by its instance type.
    ``own_subnet_weight`` multiplies, in each table, the weight of blocks of subnets that use it
    ("auto": 0 in the table of a single subnet that only nodes use, else 1).
    ``max_load`` is the largest load to accept for the sake of the soft limit; None: any.
    ``ceiling`` is how much a pass may delete before somebody is asked.
    """

    slack: float
    weights: Literal["equal", "class", "measured"]
    capacity: Literal["equal", "instance"]
    own_subnet_weight: OwnWeight
    max_load: float | None
    ceiling: Ceiling


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
    own: OwnWeight = model.planning.own_subnet_weight
    if own == "auto" and isinstance(model.fabric, _LinuxFabric):
        raise document.error(("planning", "own_subnet_weight"), _NOBODY_KNOWS)
    return ClusterFile(
        path=path,
        cluster=model.cluster,
        networks=read_networks(document, model.networks),
        fabric=FabricSettings(
            source=_source(document, model, folder),
            quota=model.fabric.quota,
            reserve=model.fabric.reserve,
            soft_limit=model.fabric.soft_limit,
            node_tag=_node_tag(model),
        ),
        nodes=folder / Path(model.nodes.kubernetes).expanduser(),
        planning=Planning(
            slack=model.planning.slack,
            weights=model.planning.weights,
            capacity=model.planning.capacity,
            own_subnet_weight=own,
            max_load=model.planning.max_load,
            ceiling=Ceiling(model.planning.removals.share, model.planning.removals.few),
        ),
        store=_default_store(model.cluster)
        if model.store is None
        else folder / Path(model.store).expanduser(),
    )


def _source(
    document: Document, model: _Cluster, folder: Path
) -> SimulatedSource | AwsSource | LinuxSource:
    fabric = model.fabric
    if isinstance(fabric, _SimulatedFabric):
        return SimulatedSource(folder / Path(fabric.describe).expanduser())
    if isinstance(fabric, _AwsFabric):
        return AwsSource(
            fabric.region, fabric.vpc, fabric.endpoint, fabric.queue, _role(model.cluster, fabric)
        )
    _check_subnets(document, fabric.subnets)
    namespace = fabric.namespace
    return LinuxSource(
        RouterSettings(
            name=model.cluster,
            namespace=None if namespace is None else str(folder / namespace),
            subnets=tuple(
                RouterSubnet(s.id, s.zone or s.id, s.interface, str(s.table), s.table)
                for s in fabric.subnets
            ),
            limit=fabric.quota,
            local=_local(document, fabric.local),
        )
    )


def _node_tag(model: _Cluster) -> str | None:
    """A Linux router knows no instances, nor their tags."""
    return None if isinstance(model.fabric, _LinuxFabric) else model.fabric.node_tag


def _role(cluster: str, fabric: _AwsFabric) -> AssumedRole | None:
    if fabric.role is None:
        return None
    session = fabric.role.session_name or f"vpcrouter-{cluster}"[:_LONGEST_SESSION]
    return AssumedRole(fabric.role.arn, fabric.role.external_id, session)


def _check_subnets(document: Document, subnets: Sequence[_LinuxSubnet]) -> None:
    """Raises BadInputError where two are the same, or a table is one of the kernel's own."""
    for index, subnet in enumerate(subnets):
        if subnet.table in _KERNEL_TABLES:
            raise document.error(
                ("fabric", "subnets", index, "table"),
                f"table {subnet.table} is the kernel's own: take another number",
            )
    for field in ("id", "interface"):
        seen: set[str] = set()
        for index, subnet in enumerate(subnets):
            value = str(getattr(subnet, field))
            if value in seen:
                raise document.error(
                    ("fabric", "subnets", index, field), f"two subnets have the {field} {value}"
                )
            seen.add(value)


def _local(document: Document, texts: Sequence[str]) -> tuple[Prefix, ...]:
    prefixes: list[Prefix] = []
    for index, text in enumerate(texts):
        try:
            prefixes.append(Prefix.parse(text))
        except BadInputError as error:
            raise document.error(("fabric", "local", index), str(error)) from error
    return tuple(prefixes)


def _default_store(cluster: str) -> Path:
    """A SQLite file under the user's state directory (XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # The specification: a relative path there is invalid and must be ignored.
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "vpcrouter" / f"{cluster}.db"


_NOBODY_KNOWS = (
    "auto needs a cloud that lists all network interfaces, and a Linux router knows those of nodes "
    "only: give a number"
)
_KERNEL_TABLES = range(253, 256)  # default, main, local

# The shape of the file. Networks have a module of their own.

_LONGEST_SESSION = 64
_INTERFACE = r"^[^\s/:]{1,15}$"
_SHAPES = {
    GROUP_NAME: "a name has no control characters",
    NAME: "a name has letters, digits, '.', '_' and '-' only, and starts with no sign",
    _INTERFACE: "an interface has a name like br-a, of at most 15 characters",
    **SHAPES,
}
_PathText = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


class _SimulatedFabric(Strict):
    kind: Literal["simulated"]
    describe: _PathText
    quota: int | None = Field(None, ge=0, le=1_000_000)
    reserve: int = Field(2, ge=0, le=1_000_000)
    soft_limit: int | None = Field(None, ge=0, le=1_000_000)
    node_tag: str | None = Field(None, min_length=1, max_length=128)


class _Role(Strict):
    arn: str = Field(max_length=2048, pattern=ROLE)
    external_id: str | None = Field(None, min_length=2, max_length=1224, pattern=EXTERNAL_ID)
    session_name: str | None = Field(
        None, min_length=2, max_length=_LONGEST_SESSION, pattern=SESSION
    )


class _AwsFabric(Strict):
    kind: Literal["aws"]
    region: str = Field(pattern=REGION)
    vpc: str = Field(pattern=VPC)
    endpoint: str | None = Field(None, pattern=ENDPOINT)
    queue: str | None = Field(None, pattern=QUEUE)
    role: _Role | None = None
    quota: int | None = Field(None, ge=0, le=1_000_000)
    reserve: int = Field(2, ge=0, le=1_000_000)
    soft_limit: int | None = Field(None, ge=0, le=1_000_000)
    node_tag: str | None = Field(None, min_length=1, max_length=128)


class _LinuxSubnet(Strict):
    id: Name
    zone: Name | None = None
    interface: str = Field(pattern=_INTERFACE)
    table: int = Field(ge=1, le=(1 << 32) - 1)


class _LinuxFabric(Strict):
    kind: Literal["linux"]
    namespace: _PathText | None = None
    subnets: list[_LinuxSubnet] = Field(min_length=1)
    local: list[str] = Field(default_factory=list)
    quota: int = Field(ge=0, le=1_000_000)
    reserve: int = Field(2, ge=0, le=1_000_000)
    soft_limit: int | None = Field(None, ge=0, le=1_000_000)


class _Nodes(Strict):
    kubernetes: _PathText


def _own_weight(value: object, number: ValidatorFunctionWrapHandler) -> OwnWeight:
    """A number, or auto. Raises PydanticCustomError for another word."""
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise PydanticCustomError("own_weight", "should be a number or auto")
    return cast("float", number(value))


# A number for pydantic, since what is wrong with a member of a union is reported for each of them.
_OwnWeight = Annotated[float, Field(ge=0, le=1_000_000), WrapValidator(_own_weight)]


class _Removals(Strict):
    share: float = Field(CEILING.share, ge=0, le=1)
    few: int = Field(CEILING.few, ge=0, le=1_000_000)


class _Planning(Strict):
    slack: float = Field(0.05, ge=0, le=100)
    weights: Literal["equal", "class", "measured"] = "equal"
    capacity: Literal["equal", "instance"] = "equal"
    own_subnet_weight: _OwnWeight = 1.0
    max_load: float | None = Field(None, ge=0, le=1e15)
    removals: _Removals = _Removals()


class _Cluster(Strict):
    version: Literal[1]
    cluster: Name
    networks: list[NetworkFields] = Field(min_length=1)
    fabric: Annotated[_SimulatedFabric | _AwsFabric | _LinuxFabric, Field(discriminator="kind")]
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
        "networks": NetworkFields,
        "groups": GroupFields,
        "static": StaticFields,
        "simulated": _SimulatedFabric,
        "aws": _AwsFabric,
        "role": _Role,
        "linux": _LinuxFabric,
        "subnets": _LinuxSubnet,
        "nodes": _Nodes,
        "planning": _Planning,
        "removals": _Removals,
        "block": BlockLengths,
        "node": NodeLengths,
    }
    for part in where[:-1]:
        model = inner.get(part, model) if isinstance(part, str) else model
    return list(model.model_fields)
