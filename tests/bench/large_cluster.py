"""A cluster of any size as files, in the shape of what `kubectl` and `aws ec2` print.

The same size always gives the same files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vpcrouter.cluster import Cluster

Document = dict[str, Any]

_ZONES = "abcdef"
_TYPES = ("m5.8xlarge", "m5.16xlarge", "r5.8xlarge", "g5.24xlarge")


@dataclass(frozen=True, slots=True)
class _Machine:
    serial: int
    zone: str
    address: str

    @property
    def name(self) -> str:
        return f"ip-{self.address.replace('.', '-')}.ec2.internal"

    @property
    def instance(self) -> str:
        return f"i-{_digits(f'instance {self.serial}')}"


def write_large_cluster(folder: Path, nodes: int, quota: int) -> Path:
    """Write node list, VPC and cluster file, and let all nodes join; returns the cluster file.

    Six subnets of a /16 and a table each; pods are in 10.0.0.0/8, a /26 for each node.
    """
    machines = list(_machines(nodes))
    items = [_node(machine) for machine in machines]
    _write(folder / "nodes.json", {"apiVersion": "v1", "kind": "NodeList", "items": items})
    _write(folder / "aws.json", _described(machines, quota))
    cluster = folder / "cluster.yaml"
    cluster.write_text(
        "version: 1\n"
        "cluster: large\n"
        "networks: [{name: pods, cidrs: [10.0.0.0/8], node: {ipv4: 26}}]\n"
        "fabric: {kind: simulated, describe: aws.json}\n"
        "nodes: {kubernetes: nodes.json}\n"
        "store: store.db\n",
        encoding="utf-8",
    )
    opened = Cluster.open(cluster)
    opened.joined()
    opened.close()
    return cluster


def _write(path: Path, document: Document) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _machines(nodes: int) -> Iterator[_Machine]:
    for serial in range(nodes):
        number, zone = divmod(serial, len(_ZONES))
        third, fourth = divmod(number + 4, 256)
        yield _Machine(serial, _ZONES[zone], f"100.{64 + zone}.{third}.{fourth}")


def _described(machines: list[_Machine], quota: int) -> Document:
    cidrs = [f"100.{64 + number}.0.0/16" for number in range(len(_ZONES))]
    return {
        "Vpcs": [
            {
                "VpcId": "vpc-0cafe",
                "CidrBlock": cidrs[0],
                "CidrBlockAssociationSet": [
                    {"CidrBlock": cidr, "CidrBlockState": {"State": "associated"}} for cidr in cidrs
                ],
            }
        ],
        "Subnets": [
            {
                "SubnetId": f"subnet-0{zone}",
                "VpcId": "vpc-0cafe",
                "AvailabilityZone": f"us-east-1{zone}",
                "CidrBlock": cidr,
            }
            for zone, cidr in zip(_ZONES, cidrs, strict=True)
        ],
        "RouteTables": [_table(zone, cidrs) for zone in _ZONES],
        "NetworkInterfaces": [_interface(machine) for machine in machines],
        "Reservations": [_reservation(machine) for machine in machines],
        "PrefixLists": [],
        "Quotas": [
            {
                "ServiceCode": "vpc",
                "QuotaCode": "L-93826ACB",
                "QuotaName": "Routes per route table",
                "Value": float(quota),
            }
        ],
    }


def _table(zone: str, cidrs: list[str]) -> Document:
    local = [
        {
            "DestinationCidrBlock": cidr,
            "GatewayId": "local",
            "State": "active",
            "Origin": "CreateRouteTable",
        }
        for cidr in cidrs
    ]
    table = f"rtb-0{zone}"
    return {
        "RouteTableId": table,
        "VpcId": "vpc-0cafe",
        "Routes": local,
        "Associations": [{"Main": False, "RouteTableId": table, "SubnetId": f"subnet-0{zone}"}],
    }


def _interface(machine: _Machine) -> Document:
    return {
        "NetworkInterfaceId": f"eni-{_digits(f'interface {machine.serial}')}",
        "SubnetId": f"subnet-0{machine.zone}",
        "VpcId": "vpc-0cafe",
        "AvailabilityZone": f"us-east-1{machine.zone}",
        "PrivateIpAddress": machine.address,
        "SourceDestCheck": False,
        "Status": "in-use",
        "Attachment": {"InstanceId": machine.instance, "DeviceIndex": 0, "Status": "attached"},
    }


def _reservation(machine: _Machine) -> Document:
    return {
        "ReservationId": f"r-{_digits(f'reservation {machine.serial}')}",
        "OwnerId": "111122223333",
        "Instances": [
            {
                "InstanceId": machine.instance,
                "InstanceType": _TYPES[machine.serial % len(_TYPES)],
                "SubnetId": f"subnet-0{machine.zone}",
                "PrivateIpAddress": machine.address,
                "State": {"Name": "running"},
                "Placement": {"AvailabilityZone": f"us-east-1{machine.zone}"},
            }
        ],
    }


def _node(machine: _Machine) -> Document:
    spot = machine.serial % 5 == 4
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": machine.name,
            "labels": {
                "kubernetes.io/hostname": machine.name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": _TYPES[machine.serial % len(_TYPES)],
                "topology.kubernetes.io/region": "us-east-1",
                "topology.kubernetes.io/zone": f"us-east-1{machine.zone}",
                "karpenter.sh/capacity-type": "spot" if spot else "on-demand",
            },
        },
        "spec": {"providerID": f"aws:///us-east-1{machine.zone}/{machine.instance}"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "Hostname", "address": machine.name},
            ],
            "capacity": {"cpu": "32", "memory": "262144Mi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _digits(text: str) -> str:
    """What the id of a thing has in place of a random number."""
    return sha256(text.encode()).hexdigest()[:17]
