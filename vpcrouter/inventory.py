"""The nodes of a cluster, as `kubectl get nodes -o json` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ipam.errors import BadInputError
from ipam.prefix import Family, format_address, parse_address
from vpcrouter.fabric.port import NetworkInterface
from vpcrouter.jsonfile import JsonObject, read_json
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

NO_ADDRESS = "has no InternalIP address: it gets no pod addresses until it has one"
SAME_ADDRESS = "shares its address with another node: remove the one that is gone"
NO_INTERFACE = "has no network interface in the VPC: describe the VPC again once it has one"
SAME_INTERFACE = "shares its network interface with another node: remove the one that is gone"


@dataclass(frozen=True, slots=True)
class KubernetesNode:
    """A node as Kubernetes knows it.

    ``instance`` is the cloud's id of its machine (None: the provider id names none), ``addresses``
    are its internal ones with the first of each family first. ``leaving``: it is being drained or
    removed.
    """

    name: str
    uid: str | None
    instance: str | None
    addresses: tuple[tuple[Family, str], ...]
    spot: bool
    cordoned: bool
    leaving: bool
    ready: bool

    @property
    def identity(self) -> str:
        """What tells it from another node that had its name before."""
        return self.instance or self.uid or self.name

    @property
    def avoid(self) -> bool:
        """Whether it forwards for others only where nobody else can: it may go soon."""
        return self.spot or self.cordoned or self.leaving

    @property
    def primary_addresses(self) -> Mapping[Family, str]:
        """Its first address of each family."""
        return dict(reversed(self.addresses))


@dataclass(frozen=True, slots=True)
class Inventory:
    """All nodes by name; those that ``problems`` name have no address of their own."""

    nodes: tuple[KubernetesNode, ...]
    problems: tuple[Problem, ...]


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
    labels = metadata.child("labels")
    taints = {taint.text("key") for taint in spec.children("taints")}
    ready = [c.text("status") for c in status.children("conditions") if c.text("type") == _READY]
    return KubernetesNode(
        name=metadata.text("name"),
        uid=metadata.optional_text("uid"),
        instance=_instance(spec.optional_text("providerID")),
        addresses=tuple(_addresses(status)),
        spot=labels is not None and any(labels.fields.get(k) == v for k, v in _SPOT_LABELS),
        cordoned=spec.flag("unschedulable", absent=False),
        leaving=not taints.isdisjoint(_LEAVING_TAINTS)
        or metadata.optional_text("deletionTimestamp") is not None,
        ready=ready == ["True"],
    )


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


@dataclass(frozen=True, slots=True)
class Matched:
    """Which interface each node has, by node name; ``problems`` name those that have none."""

    interfaces: Mapping[str, NetworkInterface]
    problems: tuple[Problem, ...]


def match_interfaces(
    nodes: Iterable[KubernetesNode], interfaces: Iterable[NetworkInterface]
) -> Matched:
    """Find the interface of each node: its instance's primary one, else the one with its address.

    An interface with a node's address that is attached to another instance is not the node's: the
    address was given away again, and packets sent there would reach somebody else.
    """
    by_instance: dict[str, NetworkInterface] = {}
    by_address: dict[str, NetworkInterface] = {}
    for interface in sorted(interfaces, key=lambda i: (i.device_index, i.id)):
        if interface.instance is not None:
            by_instance.setdefault(interface.instance, interface)
        for addresses in interface.addresses.values():
            for address in addresses:
                by_address.setdefault(address, interface)
    found: dict[str, NetworkInterface] = {}
    takers: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for node in nodes:
        match = by_instance.get(node.instance or "") or _by_address(node, by_address)
        if match is None:
            problems.append(Problem(NO_INTERFACE, node.name))
        else:
            found[node.name] = match
            takers.setdefault(match.id, []).append(node.name)
    for names in takers.values():
        if len(names) > 1:
            problems += [Problem(SAME_INTERFACE, name) for name in names]
            for name in names:
                del found[name]
    return Matched(found, tuple(sorted(problems)))


def _by_address(
    node: KubernetesNode, by_address: Mapping[str, NetworkInterface]
) -> NetworkInterface | None:
    for _, address in node.addresses:
        interface = by_address.get(address)
        if interface is not None and (
            node.instance is None or interface.instance in (None, node.instance)
        ):
            return interface
    return None
