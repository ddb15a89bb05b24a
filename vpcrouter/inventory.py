"""The nodes of a cluster, as `kubectl get nodes -o json` prints them.

There are two readers: by types for lists that are as they should be, which takes a quarter of the
time, and object by object for all others. Both give the same nodes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec

from ipam.errors import BadInputError
from ipam.prefix import Family, canonical_address
from vpcrouter.jsonfile import (
    JsonObject,
    UnlikeError,
    is_plain,
    parse_json,
    parse_typed,
    printable,
    read_content,
)
from vpcrouter.matching import NO_ADDRESS, SAME_ADDRESS, Inventory, KubernetesNode
from vpcrouter.problems import Problem

_WHAT = "it should hold what kubectl get nodes -o json prints"

_KARPENTER, _EKS = "karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType"
_READY = "Ready"

# Taints of nodes that somebody has decided to remove: cluster autoscaler, Karpenter, and AWS's node
# termination handler for spot interruptions, rebalancing and scheduled events.
_LEAVING_TAINTS = frozenset(
    {
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
        "aws-node-termination-handler/spot-itn",
        "aws-node-termination-handler/asg-lifecycle-termination",
        "aws-node-termination-handler/scheduled-maintenance",
    }
)


def read_nodes(path: Path) -> Inventory:
    """The nodes in a file. Raises BadInputError, in one line, where it is no list of nodes."""
    content = read_content(path, _WHAT)
    with suppress(UnlikeError):
        return parse_usual_nodes(content)
    return parse_nodes(parse_json(path, content, _WHAT))


def parse_nodes(file: JsonObject) -> Inventory:
    """The nodes in a list, object by object. Raises BadInputError likewise."""
    kind = file.optional_text("kind")
    if kind not in ("List", "NodeList"):
        raise file.error(f"kind should be List or NodeList, is {kind}; {_WHAT}")
    if not isinstance(file.fields.get("items"), list):
        raise file.error(f"items should be a list of nodes; {_WHAT}")
    metadata = file.child("metadata")
    if metadata is not None and metadata.optional_text("continue") is not None:
        raise file.error("holds one page of several: list the nodes without a limit")
    nodes: dict[str, KubernetesNode] = {}
    for item in file.children("items"):
        node = _node(item)
        if node.name in nodes:
            raise item.error(f"a second node named {node.name}: the list contradicts itself")
        nodes[node.name] = node
    return _inventory(nodes)


def _inventory(nodes: dict[str, KubernetesNode]) -> Inventory:
    ordered = tuple([nodes[name] for name in sorted(nodes)])
    return Inventory(ordered, tuple(sorted(_address_problems(ordered))))


def _node(item: JsonObject) -> KubernetesNode:
    kind = item.optional_text("kind") or "Node"
    if kind != "Node":
        raise item.error(f"kind should be Node, is {kind}; {_WHAT}")
    metadata = _part(item, "metadata")
    spec = item.child("spec") or JsonObject(item.file, f"{item.where}.spec", {})
    status = _part(item, "status")
    labels = _labels(metadata)
    taints = {taint.text("key") for taint in spec.children("taints")}
    ready = [c.text("status") for c in status.children("conditions") if c.text("type") == _READY]
    return KubernetesNode(
        name=metadata.text("name"),
        uid=metadata.optional_text("uid"),
        instance=_instance(spec.optional_text("providerID")),
        addresses=tuple(_addresses(status)),
        spot=_is_spot(labels),
        cordoned=spec.flag("unschedulable", absent=False),
        leaving=not taints.isdisjoint(_LEAVING_TAINTS)
        or metadata.optional_text("deletionTimestamp") is not None,
        ready=ready == ["True"],
        labels=labels,
        pods=_pods(status),
    )


def _labels(metadata: JsonObject) -> dict[str, str]:
    labels = metadata.child("labels")
    if labels is None:
        return {}
    return {name: labels.optional_text(name) or "" for name in labels.fields}


def _is_spot(labels: Mapping[str, str]) -> bool:
    return labels.get(_KARPENTER) == "spot" or labels.get(_EKS) == "SPOT"


def _pods(status: JsonObject) -> int | None:
    """How many pods a node takes: what is allocatable, else its capacity. None: it says none."""
    for name in ("allocatable", "capacity"):
        resources = status.fields.get(name)
        text = resources.get("pods") if isinstance(resources, dict) else None
        pods = _number_of_pods(text) if isinstance(text, str) else None
        if pods is not None:
            return pods
    return None


@lru_cache(maxsize=1024)
def _number_of_pods(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,5}", text, re.ASCII) else None


def _part(item: JsonObject, key: str) -> JsonObject:
    part = item.child(key)
    if part is None:
        raise item.error(f"{key} is missing; {_WHAT}")
    return part


def _instance(provider_id: str | None) -> str | None:
    """``i-0123`` of ``aws:///us-east-1a/i-0123``."""
    last = (provider_id or "").rpartition("/")[2]
    return last if last.startswith("i-") else None


def _addresses(status: JsonObject) -> Iterator[tuple[Family, str]]:
    for item in status.children("addresses"):
        if item.optional_text("type") != "InternalIP":
            continue
        text = item.text("address")
        try:
            yield canonical_address(text)
        except BadInputError as error:
            raise item.error(str(error)) from error


def _address_problems(nodes: Collection[KubernetesNode]) -> Iterator[Problem]:
    yield from [Problem(NO_ADDRESS, node.name) for node in nodes if not node.addresses]
    addresses = [address for node in nodes for _, address in node.addresses]
    if len(set(addresses)) == len(addresses):
        return
    holders: dict[str, str] = {}
    shared: set[str] = set()
    for node in nodes:
        for _, address in node.addresses:
            holder = holders.setdefault(address, node.name)
            if holder != node.name:
                shared.update((holder, node.name))
    yield from (Problem(SAME_ADDRESS, name) for name in shared)


# By types. A text that must be there may not be empty; elsewhere an empty one is as good as none.

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Metadata(msgspec.Struct, gc=False):
    name: _Text
    uid: str | None = None
    labels: dict[str, str | None] | None = None
    deletion: str | None = msgspec.field(default=None, name="deletionTimestamp")


class _Taint(msgspec.Struct, gc=False):
    key: _Text


class _Spec(msgspec.Struct, gc=False):
    provider_id: str | None = msgspec.field(default=None, name="providerID")
    unschedulable: bool | None = None
    taints: list[_Taint] | None = None


class _Address(msgspec.Struct, gc=False):
    type: str | None = None
    address: str | None = None


class _Condition(msgspec.Struct, gc=False):
    type: _Text
    status: str | None = None


class _Resources(msgspec.Struct, gc=False):
    pods: str | None = None


class _Status(msgspec.Struct, gc=False):
    addresses: list[_Address] | None = None
    conditions: list[_Condition] | None = None
    allocatable: _Resources | None = None
    capacity: _Resources | None = None


class _Item(msgspec.Struct, gc=False):
    metadata: _Metadata
    status: _Status
    spec: _Spec | None = None
    kind: Literal["Node", ""] | None = None


class _Page(msgspec.Struct, gc=False):
    after: Literal[""] | None = msgspec.field(default=None, name="continue")


class _List(msgspec.Struct, gc=False):
    kind: Literal["List", "NodeList"]
    items: list[_Item]
    metadata: _Page | None = None


_LIST = msgspec.json.Decoder(_List)
_NO_SPEC = _Spec()


def parse_usual_nodes(content: bytes) -> Inventory:
    """The nodes in a list that is as it should be. Raises UnlikeError for any other."""
    items = parse_typed(_LIST, content).items
    if not is_plain(content):
        for item in items:
            _check_printable(item)
    try:
        nodes = {item.metadata.name: _usual_node(item) for item in items}
    except BadInputError as error:
        raise UnlikeError from error
    if len(nodes) < len(items):
        raise UnlikeError
    return _inventory(nodes)


def _check_printable(item: _Item) -> None:
    metadata, spec, status = item.metadata, item.spec or _NO_SPEC, item.status
    texts = [metadata.name, metadata.uid, metadata.deletion, spec.provider_id]
    texts += [taint.key for taint in spec.taints or ()]
    texts += (metadata.labels or {}).values()
    for address in status.addresses or ():
        texts += (address.type, address.address)
    for condition in status.conditions or ():
        texts += (condition.type, condition.status)
    printable("".join(filter(None, texts)))


def _usual_node(item: _Item) -> KubernetesNode:
    metadata, spec, status = item.metadata, item.spec or _NO_SPEC, item.status
    labels = _usual_labels(metadata.labels or {})
    addresses, conditions = status.addresses or (), status.conditions or ()
    taints = [taint.key for taint in spec.taints] if spec.taints else ()
    return KubernetesNode(
        name=metadata.name,
        uid=metadata.uid or None,
        instance=_instance(spec.provider_id),
        addresses=tuple([_internal(a.address) for a in addresses if a.type == "InternalIP"]),
        spot=_is_spot(labels),
        cordoned=spec.unschedulable or False,
        leaving=bool(metadata.deletion) or not _LEAVING_TAINTS.isdisjoint(taints),
        ready=[_known(c.status) for c in conditions if c.type == _READY] == ["True"],
        labels=labels,
        pods=_usual_pods(status.allocatable) or _usual_pods(status.capacity),
    )


def _usual_labels(labels: dict[str, str | None]) -> Mapping[str, str]:
    if None in labels.values():
        return {name: text or "" for name, text in labels.items()}
    return cast("dict[str, str]", labels)


def _internal(address: str | None) -> tuple[Family, str]:
    return canonical_address(_known(address))


def _known(text: str | None) -> str:
    if not text:
        raise UnlikeError
    return text


def _usual_pods(resources: _Resources | None) -> int | None:
    text = resources.pods if resources is not None else None
    return None if text is None else _number_of_pods(text)
