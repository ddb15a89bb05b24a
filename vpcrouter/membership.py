"""Who belongs to the cluster: the node list, the VPC and the store compared. Pure.

What is in the node list with an interface may have addresses. What has addresses keeps them until
the cloud says that its instance is gone: nothing is taken away because it is missing in a list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct, structs

from ipam.model import Claim, Network, State
from ipam.model import Node as Owner
from ipam.topology import Labels
from vpcrouter.fabric.port import InstanceState, NetworkInterface, Observation
from vpcrouter.matching import Inventory, KubernetesNode, instances_by_name, match_interfaces
from vpcrouter.problems import Problem

NOT_LISTED = "is not in the node list: it keeps its addresses until its instance is terminated"
RENAMED = "has addresses of a former instance: that one keeps them until it is terminated"
MANY_VANISHED = (
    "is neither in the node list nor in the VPC, like most nodes: nothing is released, since the "
    "description of the VPC may be incomplete"
)

# Owners whose instance is not described any more (EC2 forgets an instance about an hour after its
# end) are taken for gone, but not where most of them vanish at once: then what is missing is more
# likely a part of the description.
_FEW = 10
_SHARE = 0.5

_RUNS = (InstanceState.RUNNING, InstanceState.PENDING)


class Member(Struct, frozen=True, gc=False):
    """A node that can have addresses, with its interface."""

    node: KubernetesNode
    interface: NetworkInterface
    runs: bool

    @property
    def healthy(self) -> bool:
        """Whether it may be a next hop."""
        return self.node.ready and self.runs

    def owns(self, owner: Owner) -> bool:
        """Whether it is this owner of addresses, in the same place as before."""
        return (
            owner.name == self.node.name
            and owner.identity == self.node.identity
            and owner.subnet == self.interface.subnet
        )


@dataclass(frozen=True, slots=True)
class Membership:
    """What follows from a comparison.

    ``members`` are by name; ``claims`` theirs. ``gone`` are owners whose blocks are to be released.
    ``problems`` name nodes that cannot be served, ``notes`` owners of addresses that are not there.
    """

    members: Mapping[str, Member]
    claims: tuple[Claim, ...]
    gone: tuple[Owner, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]


def compare(observation: Observation, inventory: Inventory, state: State) -> Membership:
    """Compare node list, VPC and store."""
    excluded = {problem.name for problem in inventory.problems}
    candidates = [node for node in inventory.nodes if node.name not in excluded]
    named: Mapping[str, Sequence[str]] = {}
    if inventory.tag is not None:
        gone = {name for name, state in observation.instances.items() if state.is_gone}
        named = instances_by_name(observation.tags, inventory.tag, gone)
    matched = match_interfaces(candidates, observation.interfaces, named)
    members = _members(observation, candidates, matched.interfaces)
    claims = claims_of(members, state.networks)
    absent, notes = _absent(observation, inventory, members, state)
    problems = tuple(sorted((*inventory.problems, *matched.problems)))
    return Membership(members, claims, absent, problems, notes)


def claims_of(members: Mapping[str, Member], networks: Iterable[Network]) -> tuple[Claim, ...]:
    """What the members would ask of these networks, with the labels that their levels ask for."""
    asked = {label for network in networks for label in network.topology.labels}
    return tuple(
        [
            Claim(name, member.interface.subnet, member.node.identity, _labels(member.node, asked))
            for name, member in members.items()
        ]
    )


def _labels(node: KubernetesNode, asked: Collection[str]) -> Labels:
    """Those labels of a node that a topology asks for."""
    if not asked:
        return ()
    return tuple((name, node.labels[name]) for name in sorted(asked) if node.labels.get(name))


def _members(
    observation: Observation,
    nodes: Iterable[KubernetesNode],
    interfaces: Mapping[str, NetworkInterface],
) -> dict[str, Member]:
    """The nodes that have an interface; they run as far as the cloud says.

    It says nothing about a hung one. A node is leaving where its instance is about to be taken.
    """
    members = {}
    leaving = observation.leaving
    stopped = {name for name, state in observation.instances.items() if state not in _RUNS}
    for node in nodes:
        interface = interfaces.get(node.name)
        if interface is None:
            continue
        instance = interface.instance or ""
        if instance in leaving:
            node = structs.replace(node, leaving=True)  # noqa: PLW2901
        members[node.name] = Member(node, interface, instance not in stopped)
    return members


def _absent(
    observation: Observation, inventory: Inventory, members: Mapping[str, Member], state: State
) -> tuple[tuple[Owner, ...], tuple[Problem, ...]]:
    """Owners that the node list does not have: those that are gone, and notes on the others."""
    owners = list(state.owners())
    others = [owner for owner in owners if not _is_member(owner, members)]
    if not others:
        return (), ()
    listed = {node.name: node.identity for node in inventory.nodes}
    absent = [owner for owner in others if listed.get(owner.name) != owner.identity]
    ended = {o for o in absent if _has_ended(observation, o)}
    there = _described_instances(observation)
    vanished = {o for o in absent if there and _is_instance(o) and o.identity not in there}
    suspicious = len(vanished) > _FEW and len(vanished) > _SHARE * len(owners)
    gone = ended if suspicious else ended | vanished
    notes = [
        Problem(_why(owner, listed, suspicious=suspicious and owner in vanished), owner.name)
        for owner in absent
        if owner not in gone
    ]
    return tuple(sorted(gone, key=_order)), tuple(sorted(notes))


def _is_member(owner: Owner, members: Mapping[str, Member]) -> bool:
    member = members.get(owner.name)
    return member is not None and member.node.identity == owner.identity


def _why(owner: Owner, listed: Iterable[str], *, suspicious: bool) -> str:
    if suspicious:
        return MANY_VANISHED
    return RENAMED if owner.name in listed else NOT_LISTED


def _has_ended(observation: Observation, owner: Owner) -> bool:
    instance = observation.instances.get(owner.identity)
    return instance is not None and instance.is_gone


def _is_instance(owner: Owner) -> bool:
    return owner.identity.startswith("i-")


def _described_instances(observation: Observation) -> set[str]:
    """Every instance that the VPC has a trace of; none where instances are not described at all."""
    attached = {i.instance for i in observation.interfaces if i.instance is not None}
    return attached | observation.instances.keys() if observation.instances else set()


def _order(owner: Owner) -> tuple[str, str]:
    return owner.name, owner.identity
