"""Whose blocks may be taken back: what cloud, node list and leases say about every owner. Pure.

Time says nothing: an owner that nobody has seen for long may have pods that run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ipam.model import Node as Owner
from ipam.model import State
from ipam.prefix import Prefix
from vpcrouter.fabric.port import InstanceState, Observation
from vpcrouter.matching import Inventory, KubernetesNode
from vpcrouter.membership import compare

Identity = tuple[str, str]
"""A node by name and identity."""

_RUNS = (InstanceState.PENDING, InstanceState.RUNNING)


@dataclass(frozen=True, slots=True)
class Judged:
    """An owner of addresses, why it is gone for certain, and why it may be alive.

    Both are whole sentences, empty where nothing says so. Where both are, only its operator knows.
    """

    owner: Owner
    gone: str
    alive: str

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self.owner.name, self.owner.identity

    def __str__(self) -> str:
        return f"{self.owner.name} ({self.owner.identity})"


def judge(
    observation: Observation, inventory: Inventory, state: State, leases: Collection[Identity]
) -> tuple[Judged, ...]:
    """All owners, by name and identity; ``leases`` are of those whose agent answers."""
    gone = {(o.name, o.identity) for o in compare(observation, inventory, state).gone}
    listed = {(node.name, node.identity): node for node in inventory.nodes}
    judged = []
    for owner in sorted(state.owners(), key=lambda owner: (owner.name, owner.identity)):
        who = (owner.name, owner.identity)
        alive = _alive(observation, owner, listed, who in leases)
        judged.append(Judged(owner, _gone(observation, owner) if who in gone else "", alive))
    return tuple(judged)


def _gone(observation: Observation, owner: Owner) -> str:
    state = observation.instances.get(owner.identity)
    if state is None:
        return f"the cloud does not know its instance {owner.identity} any more"
    return f"the cloud says that its instance {owner.identity} is {state}"


def _alive(
    observation: Observation,
    owner: Owner,
    listed: Mapping[Identity, KubernetesNode],
    holds_lease: bool,
) -> str:
    node = listed.get((owner.name, owner.identity))
    reasons = []
    if holds_lease:
        reasons.append("its agent holds a lease")
    if node is not None:
        reasons.append("it is ready" if node.ready else "it is in the node list")
    if observation.instances.get(owner.identity) in _RUNS:
        reasons.append("its instance runs")
    return ", ".join(reasons)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be taken back: whole nodes, and single blocks of others."""

    nodes: tuple[Judged, ...]
    blocks: Mapping[Identity, tuple[Prefix, ...]]
    owners: tuple[Judged, ...]

    @property
    def count(self) -> int:
        """How many blocks and static addresses that is."""
        whole = sum(len(judged.owner.owned) for judged in self.nodes)
        return whole + sum(map(len, self.blocks.values()))


def choose(judged: Iterable[Judged], names: Collection[str], cidrs: Collection[Prefix]) -> Wanted:
    """The owners of these names, and the blocks inside these prefixes.

    A name stands for the node that is there. A former one is named with its identity, as in
    ``node-7 (i-0a1)``, and by its name alone where nobody else has it.
    """
    judged = tuple(judged)
    count: dict[str, int] = {}
    for one in judged:
        count[one.owner.name] = count.get(one.owner.name, 0) + 1
    nodes = tuple(
        one
        for one in judged
        if str(one) in names or (one.owner.name in names and count[one.owner.name] == 1)
    )
    taken = {one.identity for one in nodes}
    blocks = {
        one.identity: tuple(b for b in one.owner.owned if any(c.contains(b) for c in cidrs))
        for one in judged
        if one.identity not in taken
    }
    blocks = {who: found for who, found in blocks.items() if found}
    owners = (*nodes, *(one for one in judged if one.identity in blocks))
    return Wanted(nodes, blocks, owners)


def whole(nodes: Iterable[Judged]) -> Wanted:
    """All that these nodes own."""
    nodes = tuple(nodes)
    return Wanted(nodes, {}, nodes)


def ceiling(owners: int) -> int:
    """Of so many owners, how many may lose something at once before somebody is asked."""
    return max(10, owners // 10)
