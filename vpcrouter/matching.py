"""Nodes as Kubernetes knows them, and which network interface each one has. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import msgspec

from ipam.prefix import Family
from vpcrouter.fabric.port import NetworkInterface
from vpcrouter.problems import Problem

NO_ADDRESS = "has no InternalIP address: it gets no pod addresses until it has one"
SAME_ADDRESS = "shares its address with another node: remove the one that is gone"
NO_INTERFACE = "has no network interface in the VPC: describe the VPC again once it has one"
SAME_INTERFACE = "shares its network interface with another node: remove the one that is gone"

SAME_TAG = "names several instances by its tag: give each instance the name of its own node"
OTHER_ADDRESS = "has the tag of one instance and the address of another: correct the tag"

_INSTANCE_TYPE = "node.kubernetes.io/instance-type"


class KubernetesNode(msgspec.Struct, frozen=True, gc=False):
    """A node as Kubernetes knows it.

    ``instance`` is the cloud's id of its machine (None: the provider id names none), ``addresses``
    are its internal ones with the first of each family first. ``leaving``: it is being drained or
    removed. ``pods``: how many it takes, where it says so.
    """

    name: str
    uid: str | None
    instance: str | None
    addresses: tuple[tuple[Family, str], ...]
    spot: bool
    cordoned: bool
    leaving: bool
    ready: bool
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    pods: int | None = None

    @property
    def identity(self) -> str:
        """What tells it from another node that had its name before."""
        return self.instance or self.uid or self.name

    @property
    def instance_type(self) -> str | None:
        """What kind of machine it is, as the cloud names it."""
        return self.labels.get(_INSTANCE_TYPE)

    @property
    def avoid(self) -> bool:
        """Whether it forwards for others only where nobody else can: it may go soon."""
        return self.spot or self.cordoned or self.leaving

    @property
    def primary_addresses(self) -> Mapping[Family, str]:
        """Its first address of each family."""
        addresses = self.addresses
        if len(addresses) == 1:
            ((family, address),) = addresses
            return {family: address}
        return dict(reversed(addresses))


@dataclass(frozen=True, slots=True)
class Inventory:
    """All nodes by name; those that ``problems`` name have no address of their own.

    ``tag`` is the key of the tag by which instances name their nodes (None: none does).
    """

    nodes: tuple[KubernetesNode, ...]
    problems: tuple[Problem, ...]
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Matched:
    """Which interface each node has, by node name; ``problems`` name those that have none."""

    interfaces: Mapping[str, NetworkInterface]
    problems: tuple[Problem, ...]


def match_interfaces(
    nodes: Iterable[KubernetesNode],
    interfaces: Iterable[NetworkInterface],
    named: Mapping[str, Sequence[str]],
) -> Matched:
    """Find the interface of each node: its instance's primary one, else the one with its address.

    The instance is that of its provider id, else the one that ``named`` has under its name. An
    interface with a node's address that is attached to another instance is not the node's: the
    address was given away again, and packets sent there would reach somebody else.
    """
    known = _Known(interfaces)
    found: dict[str, NetworkInterface] = {}
    problems: list[Problem] = []
    for node in nodes:
        match = known.by_instance.get(node.instance or "") or known.otherwise(node, named)
        if isinstance(match, str):
            problems.append(Problem(match, node.name))
        else:
            found[node.name] = match
    for name in _sharing(found):
        problems.append(Problem(SAME_INTERFACE, name))
        del found[name]
    return Matched(found, tuple(sorted(problems)))


def _sharing(found: Mapping[str, NetworkInterface]) -> list[str]:
    """The nodes that have an interface of another node."""
    takers = Counter([interface.id for interface in found.values()])
    if len(takers) == len(found):
        return []
    return [name for name, interface in found.items() if takers[interface.id] > 1]


def instances_by_name(
    tags: Mapping[str, Mapping[str, str]], key: str | None, gone: Collection[str]
) -> Mapping[str, Sequence[str]]:
    """The instances by what this tag says that their node is called, but those that are gone."""
    found: dict[str, list[str]] = {}
    if key is not None:
        for instance in sorted(tags.keys() - set(gone)):
            name = tags[instance].get(key)
            if name:
                found.setdefault(name, []).append(instance)
    return found


class _Known:
    """The interfaces by what tells whose they are, the primary ones first."""

    def __init__(self, interfaces: Iterable[NetworkInterface]) -> None:
        by_id = sorted(interfaces, key=attrgetter("id"))
        self._ordered = sorted(by_id, key=attrgetter("device_index"))
        self.by_instance = {
            interface.instance: interface  # the first of each is the last that is put
            for interface in reversed(self._ordered)
            if interface.instance is not None
        }

    @cached_property
    def by_address(self) -> Mapping[str, NetworkInterface]:
        """Made when it is asked for: where every instance is known, nobody asks."""
        by_address: dict[str, NetworkInterface] = {}
        for interface in self._ordered:
            for addresses in interface.addresses.values():
                for address in addresses:
                    by_address.setdefault(address, interface)
        return by_address

    def otherwise(
        self, node: KubernetesNode, named: Mapping[str, Sequence[str]]
    ) -> NetworkInterface | str:
        """Where the provider id says nothing: by its tag or its addresses; or why not."""
        tagged = () if node.instance is not None else named.get(node.name, ())
        if tagged:
            return self._by_tag(node, tagged)
        return self._by_address(node, node.instance) or NO_INTERFACE

    def _by_tag(self, node: KubernetesNode, instances: Sequence[str]) -> NetworkInterface | str:
        """By the tag of an instance, which must not contradict its addresses; or why not."""
        if len(instances) > 1:
            return SAME_TAG
        addressed = self._by_address(node, None)
        if addressed is not None and addressed.instance not in (None, instances[0]):
            return OTHER_ADDRESS
        return self.by_instance.get(instances[0]) or addressed or NO_INTERFACE

    def _by_address(self, node: KubernetesNode, instance: str | None) -> NetworkInterface | None:
        for _, address in node.addresses:
            interface = self.by_address.get(address)
            if interface is not None and (
                instance is None or interface.instance in (None, instance)
            ):
                return interface
        return None
