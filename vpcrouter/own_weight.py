"""What the blocks of a table's own subnet weigh in it, where the cluster file says ``auto``. Pure.

Nodes of one subnet reach each other by host routes and not through the table. So where nobody else
sends through a table, nothing in it goes to the blocks of its subnet: they weigh 0. They keep their
full weight where others may send, which is where the table serves a second subnet too, or any
network interface in its subnet is not that of a node: a load balancer's, a NAT gateway's, an
endpoint's, another machine's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from ipam.model import Node as Owner
from vpcrouter.fabric.port import InstanceState, NetworkInterface, Observation
from vpcrouter.membership import Member
from vpcrouter.model import RouteTable

OwnWeight: TypeAlias = float | Literal["auto"]

ALONE, SHARED = 0.0, 1.0

# What a new instance has in common with the nodes that it is going to be one of: without these,
# every node that is added would change all weights until it is listed.
GROUP_TAGS = ("aws:autoscaling:groupName", "karpenter.sh/nodepool")


def with_own_weights(
    tables: Iterable[RouteTable],
    setting: OwnWeight,
    observation: Observation,
    members: Iterable[Member],
    owners: Iterable[Owner],
) -> tuple[RouteTable, ...]:
    """The tables with the weight that is set; nodes are the members and whoever has addresses."""
    if setting != "auto":
        return tuple(replace(table, own_subnet_weight=setting) for table in tables)
    machines = {m.interface.instance for m in members if m.interface.instance is not None}
    alone = of_nodes_alone(observation, machines.union(owner.identity for owner in owners))
    return tuple(
        replace(table, own_subnet_weight=ALONE if table.id in alone else SHARED) for table in tables
    )


def of_nodes_alone(observation: Observation, machines: Collection[str]) -> frozenset[str]:
    """The tables through which only nodes of a single subnet send, given the nodes' instances.

    An interface that is attached to nothing counts as somebody else's, since those of load
    balancers and gateways look the same; one of a machine that is stopped or gone does not count.
    """
    table_of = {subnet.id: subnet.table for subnet in observation.subnets}
    nodes = {*machines, *_nodes_to_be(observation, machines)}
    users: dict[str, set[str]] = {}
    shared: set[str] = set()
    for interface in observation.interfaces:
        if interface.subnet not in table_of or _is_silent(observation, interface):
            continue
        table = table_of[interface.subnet]
        users.setdefault(table, set()).add(interface.subnet)
        if interface.instance not in nodes:
            shared.add(table)
    return frozenset(t for t, subnets in users.items() if len(subnets) == 1 and t not in shared)


def _is_silent(observation: Observation, interface: NetworkInterface) -> bool:
    state = observation.instances.get(interface.instance or "")
    return state is not None and (state.is_gone or state is InstanceState.STOPPED)


def _nodes_to_be(observation: Observation, machines: Collection[str]) -> set[str]:
    """Instances of a group that nodes come from."""
    groups = {group for name in machines for group in _groups(observation.tags.get(name, {}))}
    return {name for name, tags in observation.tags.items() if not groups.isdisjoint(_groups(tags))}


def _groups(tags: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(key, tags[key]) for key in GROUP_TAGS if key in tags}
