"""A small VPC as EC2 describes it, to start a test from and to break."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import Observation

Document = dict[str, Any]

QUOTA = 10
COUNTED_IPV4 = 4  # of the rows of each table that are there from the start
COUNTED_IPV6 = 1


def vpc_document() -> Document:
    """Two subnets with a table each and three nodes each, and an interface nobody uses."""
    return {
        "Vpcs": [
            {
                "VpcId": "vpc-1",
                "CidrBlock": "10.0.0.0/16",
                "Ipv6CidrBlockAssociationSet": [
                    {
                        "Ipv6CidrBlock": "2001:db8::/56",
                        "Ipv6CidrBlockState": {"State": "associated"},
                    },
                    {
                        "Ipv6CidrBlock": "2001:db8:ff00::/56",
                        "Ipv6CidrBlockState": {"State": "disassociated"},
                    },
                ],
            }
        ],
        "Subnets": [_subnet("a", "10.0.0.0/20"), _subnet("b", "10.0.16.0/20")],
        "RouteTables": [_table("a"), _table("b")],
        "NetworkInterfaces": [
            *(_interface("a", number) for number in range(3)),
            *(_interface("b", number) for number in range(3)),
            {"NetworkInterfaceId": "eni-free", "SubnetId": "subnet-a", "VpcId": "vpc-1"},
        ],
        "Reservations": [
            {"Instances": [{"InstanceId": f"i-{zone}{number}", "State": {"Name": "running"}}]}
            for zone in "ab"
            for number in range(3)
        ],
        "PrefixLists": [
            {
                "PrefixListId": "pl-s3",
                "PrefixListName": "com.amazonaws.eu-central-1.s3",
                "OwnerId": "AWS",
            }
        ],
        "Quotas": [{"ServiceCode": "vpc", "QuotaCode": "L-93826ACB", "Value": float(QUOTA)}],
    }


def _subnet(zone: str, cidr: str) -> Document:
    return {
        "SubnetId": f"subnet-{zone}",
        "VpcId": "vpc-1",
        "AvailabilityZone": f"eu-central-1{zone}",
        "CidrBlock": cidr,
    }


def _table(zone: str) -> Document:
    return {
        "RouteTableId": f"rtb-{zone}",
        "VpcId": "vpc-1",
        "Routes": [
            {
                "DestinationCidrBlock": "10.0.0.0/16",
                "GatewayId": "local",
                "State": "active",
                "Origin": "CreateRouteTable",
            },
            {
                "DestinationIpv6CidrBlock": "2001:db8::/56",
                "GatewayId": "local",
                "State": "active",
                "Origin": "CreateRouteTable",
            },
            {
                "DestinationCidrBlock": "0.0.0.0/0",
                "NatGatewayId": "nat-1",
                "State": "active",
                "Origin": "CreateRoute",
            },
            {
                "DestinationCidrBlock": "10.99.0.0/16",
                "InstanceId": f"i-{zone}2",
                "NetworkInterfaceId": f"eni-{zone}2",
                "State": "active",
                "Origin": "CreateRoute",
            },
            {
                "DestinationPrefixListId": "pl-s3",
                "GatewayId": "vpce-1",
                "State": "active",
                "Origin": "CreateRoute",
            },
            {
                "DestinationCidrBlock": "172.30.0.0/16",
                "GatewayId": "vgw-1",
                "State": "active",
                "Origin": "EnableVgwRoutePropagation",
            },
        ],
        "Associations": [{"Main": False, "SubnetId": f"subnet-{zone}"}],
    }


def _interface(zone: str, number: int) -> Document:
    third = {"a": 0, "b": 16}[zone]
    return {
        "NetworkInterfaceId": f"eni-{zone}{number}",
        "SubnetId": f"subnet-{zone}",
        "VpcId": "vpc-1",
        "PrivateIpAddress": f"10.0.{third}.{number + 4}",
        "SourceDestCheck": True,
        "Attachment": {"InstanceId": f"i-{zone}{number}", "DeviceIndex": 0, "Status": "attached"},
    }


def write_document(folder: Path, document: Mapping[str, Any], name: str = "aws.json") -> Path:
    """Write a document as a file."""
    path = folder / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def observe(folder: Path, document: Mapping[str, Any]) -> Observation:
    """What a document says."""
    return read_describe(write_document(folder, document), None)
