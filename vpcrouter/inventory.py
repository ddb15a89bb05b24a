"""The nodes of a cluster, as `kubectl get nodes -o json` prints them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipam.errors import BadInputError
from ipam.prefix import Family, format_address, parse_address
from vpcrouter.jsonfile import JsonObject, read_json
from vpcrouter.matching import NO_ADDRESS, SAME_ADDRESS, Inventory, KubernetesNode
from vpcrouter.problems import Problem

_WHAT = "it should hold what kubectl get nodes -o json prints"

_SPOT_LABELS = (("karpenter.sh/capacity-type", "spot"), ("eks.amazonaws.com/capacityType", "SPOT"))
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
    file = read_json(path, _WHAT)
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
    ordered = tuple(nodes[name] for name in sorted(nodes))
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
        spot=any(labels.get(k) == v for k, v in _SPOT_LABELS),
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


def _pods(status: JsonObject) -> int | None:
    """How many pods a node takes: what is allocatable, else its capacity. None: it says none."""
    for name in ("allocatable", "capacity"):
        resources = status.fields.get(name)
        text = resources.get("pods") if isinstance(resources, dict) else None
        if isinstance(text, str) and re.fullmatch(r"[1-9][0-9]{0,5}", text, re.ASCII):
            return int(text)
    return None


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
        try:
            family, number = parse_address(item.text("address"))
        except BadInputError as error:
            raise item.error(str(error)) from error
        yield family, format_address(family, number)


def _address_problems(nodes: Iterable[KubernetesNode]) -> Iterator[Problem]:
    holders: dict[str, list[str]] = {}
    for node in nodes:
        if not node.addresses:
            yield Problem(NO_ADDRESS, node.name)
        for address in {address for _, address in node.addresses}:
            holders.setdefault(address, []).append(node.name)
    shared = {name for names in holders.values() if len(names) > 1 for name in names}
    yield from (Problem(SAME_ADDRESS, name) for name in shared)
