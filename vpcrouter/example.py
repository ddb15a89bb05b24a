"""A made-up cluster as files: a cluster file, EC2 `describe` output and a Kubernetes node list.

The demonstration runs on it, and so do the examples in the documentation. All ids and addresses
are invented, and the same every time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ipam.prefix import Family, Prefix, format_address

Json = Mapping[str, "Json"] | Sequence["Json"] | str | float | bool

_REGION = "eu-central-1"
_VPC = "vpc-0de40"
_VPC_CIDR = Prefix.parse("10.40.0.0/16")
_SUBNET_LENGTH = 19
_RESERVED = 4  # addresses at the start of a subnet that AWS keeps
_SPOT_EVERY = 5
_INSTANCE_TYPES = ("m6i.2xlarge", "m6i.4xlarge", "r6i.4xlarge", "c6i.8xlarge")


@dataclass(frozen=True, slots=True)
class Example:
    """What a made-up cluster is like.

    ``zones`` are numbers of nodes, each zone with one subnet and one route table; ``quota`` is
    what a table takes; ``store`` the cluster file's (empty: left to its default).
    """

    name: str
    zones: tuple[int, ...]
    quota: int
    store: str = ""


DEMO = Example("demo", (640, 520, 340), 50, store="demo.db")
"""1,500 nodes in three zones under a quota of 50, with the store beside them."""

SMALL = Example("example", (6, 4, 2), 12)
"""A dozen nodes: few enough to read every entry."""


def write_example(folder: Path, example: Example) -> Path:
    """Write the files of a made-up cluster into a folder; returns the cluster file.

    Raises OSError where they cannot be written.
    """
    cluster = folder / "cluster.yaml"
    (folder / "aws.json").write_text(_dump(describe_document(example)), encoding="utf-8")
    (folder / "nodes.json").write_text(_dump(nodes_document(example)), encoding="utf-8")
    cluster.write_text(cluster_text(example), encoding="utf-8")
    return cluster


def cluster_text(example: Example) -> str:
    """The cluster file."""
    store = f"store: {example.store}\n" if example.store else ""
    return f"""\
version: 1
cluster: {example.name}
networks: [{{name: pods, cidrs: [100.64.0.0/10]}}]
fabric: {{kind: simulated, describe: aws.json}}
nodes: {{kubernetes: nodes.json}}
{store}"""


def describe_document(example: Example) -> dict[str, Json]:
    """What the EC2 and Service Quotas calls would answer."""
    machines = list(_machines(example))
    zones = range(len(example.zones))
    return {
        "Vpcs": [{"VpcId": _VPC, "CidrBlock": str(_VPC_CIDR)}],
        "Subnets": [
            {
                "SubnetId": _subnet(zone),
                "VpcId": _VPC,
                "AvailabilityZone": _zone(zone),
                "CidrBlock": str(_cidr(zone)),
            }
            for zone in zones
        ],
        "RouteTables": [_table(zone) for zone in zones],
        "NetworkInterfaces": [_interface(machine) for machine in machines],
        "Reservations": [_reservation(machine) for machine in machines],
        "PrefixLists": [
            {
                "PrefixListId": "pl-0de40",
                "PrefixListName": f"com.amazonaws.{_REGION}.s3",
                "OwnerId": "AWS",
            }
        ],
        "Quotas": [
            {
                "ServiceCode": "vpc",
                "QuotaCode": "L-93826ACB",
                "QuotaName": "Routes per route table",
                "Value": float(example.quota),
            }
        ],
    }


def nodes_document(example: Example) -> dict[str, Json]:
    """What `kubectl get nodes -o json` would print."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [_node(machine) for machine in _machines(example)],
    }


@dataclass(frozen=True, slots=True)
class _Machine:
    zone: int
    number: int  # in its zone
    serial: int  # in the cluster

    @property
    def address(self) -> str:
        return format_address(Family.IPV4, _cidr(self.zone).value + _RESERVED + self.number)

    @property
    def name(self) -> str:
        return f"node-{'abcdef'[self.zone]}{self.number + 1:03}"

    @property
    def instance(self) -> str:
        return f"i-{_hash(f'instance {self.serial}')}"

    @property
    def type(self) -> str:
        return _INSTANCE_TYPES[self.serial % len(_INSTANCE_TYPES)]


def _machines(example: Example) -> Iterator[_Machine]:
    serial = 0
    for zone, count in enumerate(example.zones):
        for number in range(count):
            yield _Machine(zone, number, serial)
            serial += 1


def _zone(zone: int) -> str:
    return _REGION + "abcdef"[zone]


def _subnet(zone: int) -> str:
    return f"subnet-0{'abcdef'[zone]}"


def _cidr(zone: int) -> Prefix:
    size = 1 << (32 - _SUBNET_LENGTH)
    return Prefix(Family.IPV4, _VPC_CIDR.value + zone * size, _SUBNET_LENGTH)


def _table(zone: int) -> dict[str, Json]:
    """A route table with what an ordinary one holds: four entries that are not ours."""
    table = f"rtb-0{'abcdef'[zone]}"
    foreign: list[dict[str, Json]] = [
        {"DestinationCidrBlock": str(_VPC_CIDR), "GatewayId": "local"},
        {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": f"nat-0{'abcdef'[zone]}"},
        {"DestinationCidrBlock": "10.99.0.0/16", "VpcPeeringConnectionId": "pcx-0de40"},
        {"DestinationPrefixListId": "pl-0de40", "GatewayId": "vpce-0de40"},
    ]
    origins = ("CreateRouteTable", "CreateRoute", "CreateRoute", "CreateRoute")
    return {
        "RouteTableId": table,
        "VpcId": _VPC,
        "Routes": [
            {**row, "State": "active", "Origin": origin}
            for row, origin in zip(foreign, origins, strict=True)
        ],
        "Associations": [{"Main": False, "RouteTableId": table, "SubnetId": _subnet(zone)}],
    }


def _interface(machine: _Machine) -> dict[str, Json]:
    return {
        "NetworkInterfaceId": f"eni-{_hash(f'interface {machine.serial}')}",
        "SubnetId": _subnet(machine.zone),
        "VpcId": _VPC,
        "AvailabilityZone": _zone(machine.zone),
        "PrivateIpAddress": machine.address,
        "SourceDestCheck": False,
        "Status": "in-use",
        "Attachment": {"InstanceId": machine.instance, "DeviceIndex": 0, "Status": "attached"},
    }


def _reservation(machine: _Machine) -> dict[str, Json]:
    return {
        "ReservationId": f"r-{_hash(f'reservation {machine.serial}')}",
        "OwnerId": "111122223333",
        "Instances": [
            {
                "InstanceId": machine.instance,
                "InstanceType": machine.type,
                "SubnetId": _subnet(machine.zone),
                "PrivateIpAddress": machine.address,
                "State": {"Name": "running"},
                "Placement": {"AvailabilityZone": _zone(machine.zone)},
            }
        ],
    }


def _node(machine: _Machine) -> dict[str, Json]:
    spot = machine.serial % _SPOT_EVERY == _SPOT_EVERY - 1
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": machine.name,
            "uid": _uid(machine.serial),
            "labels": {
                "kubernetes.io/hostname": machine.name,
                "node.kubernetes.io/instance-type": machine.type,
                "topology.kubernetes.io/region": _REGION,
                "topology.kubernetes.io/zone": _zone(machine.zone),
                "karpenter.sh/capacity-type": "spot" if spot else "on-demand",
            },
        },
        "spec": {"providerID": f"aws:///{_zone(machine.zone)}/{machine.instance}"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "Hostname", "address": machine.name},
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:17]


def _uid(serial: int) -> str:
    digits = sha256(f"uid {serial}".encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _dump(document: Mapping[str, Json]) -> str:
    """JSON with a line for each object in the lists at its top, so that differences read well."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n".join(f"  {json.dumps(item)}" for item in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{" + ",\n".join(parts) + "}\n"
