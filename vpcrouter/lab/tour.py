"""What of a lab is worth being looked at: a forwarder, and who is behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, parse_address
from vpcrouter.cluster import Cluster
from vpcrouter.fabric.port import Table
from vpcrouter.lab.lab import Lab
from vpcrouter.lab.trace import trace


@dataclass(frozen=True, slots=True)
class Way:
    """The names of two pods, and of the node between them that forwards and owns neither."""

    source: str
    target: str
    forwarder: str


def find_way(lab: Lab) -> Way:
    """A way over a forwarder, by what the route tables hold and by a packet that was followed.

    Raises BadInputError where no node forwards.
    """
    pods = [one for one in lab.pods() if not one.cut_off]
    names = {
        machine.address(family): machine.name
        for machine in lab.record.layout.machines
        for family in Family
    }
    source = pods[0]
    cluster = Cluster.open(lab.record.cluster_file)
    try:
        tables = cluster.fabric.read().tables
    finally:
        cluster.close()
    (table,) = [t for t in tables if t.id == str(source.pod.machine.zone.table)]
    for target in pods:
        if target.pod.machine.zone == source.pod.machine.zone:
            continue
        if _hops(table, target.addresses[0], names) == {target.pod.machine.name}:
            continue  # straight to the owner
        for hop in trace(lab.record.space(source.pod.name), target.addresses[0])[2:-1]:
            if names.get(hop) not in (None, target.pod.machine.name):
                return Way(source.pod.name, target.pod.name, names[hop])
    raise BadInputError("no node forwards for another: make a lab with more nodes, or less quota")


def _hops(table: Table, address: str, names: Mapping[str, str]) -> set[str]:
    """The nodes to which a table's rows for an address lead, of whatever length."""
    family, number = parse_address(address)
    return {
        names.get(row.target, "")
        for row in table.rows
        if isinstance(row.destination, Prefix)
        and row.family is family
        and row.destination.holds(number)
    }
