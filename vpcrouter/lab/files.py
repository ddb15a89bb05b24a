"""The files of a lab that the commands read: its cluster file and its node list."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ipam.errors import UnavailableError
from vpcrouter.lab.layout import BLOCKS, NODES, PODS, ROUTER, Machine
from vpcrouter.lab.record import Record


@dataclass(frozen=True, slots=True)
class Health:
    """What was found out about the nodes, by name.

    ``reached`` answer a probe from the router; ``served`` have an agent that holds its lease;
    ``behind`` are those whose host routes do not reflect all blocks that they might have to
    forward for, and why. A node forwards for others while it is reached, served and not behind;
    one that is reached alone only where its subnet has nobody else.
    """

    reached: Collection[str]
    served: Collection[str]
    behind: Mapping[str, str] = field(default_factory=dict)

    def may_forward(self, name: str) -> bool:
        """Whether a node that is reached is as good a forwarder as any."""
        return name in self.served and name not in self.behind


def write_cluster_file(record: Record) -> None:
    """Write the cluster file. Raises UnavailableError."""
    size = record.layout.size
    subnets = "".join(
        f"    - {{id: {zone.name}, interface: {zone.bridge}, table: {zone.table}}}\n"
        for zone in record.layout.zones
    )
    block = ", ".join(f"{family}: {BLOCKS[family]}" for family in size.families)
    node = ", ".join(f"{family}: {NODES[family]}" for family in size.families)
    cidrs = ", ".join(f'"{PODS[family]}"' for family in size.families)
    text = f"""\
version: 1
cluster: {record.name}
networks: [{{name: pods, cidrs: [{cidrs}], block: {{{block}}}, node: {{{node}}}}}]
fabric:
  kind: linux
  namespace: {record.space(ROUTER)}
  quota: {size.quota}
  subnets:
{subnets}nodes: {{kubernetes: {record.node_list.name}}}
store: {record.store.name}
"""
    _write(record.cluster_file, text)


def write_node_list(record: Record, health: Health) -> None:
    """Write the nodes as Kubernetes would list them. Raises UnavailableError."""
    items = [_node(record, machine, health) for machine in record.layout.machines]
    document = {"apiVersion": "v1", "kind": "List", "items": items}
    _write(record.node_list, json.dumps(document, indent=1) + "\n")


def _node(record: Record, machine: Machine, health: Health) -> Mapping[str, object]:
    ready = "True" if machine.name in health.reached else "Unknown"
    return {
        "kind": "Node",
        "metadata": {"name": machine.name, "uid": machine.uid},
        "spec": {} if health.may_forward(machine.name) else {"unschedulable": True},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": machine.address(family)}
                for family in record.layout.size.families
            ],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
