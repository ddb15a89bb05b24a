"""EC2's describing calls: which exist, by what they filter, and how they page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vpcrouter.fabric.codes import Code, Ec2Error
from vpcrouter.fabric.served.account import Account, Item
from vpcrouter.fabric.served.parameters import Parameters

COMBINATION = "InvalidParameterCombination"


@dataclass(frozen=True, slots=True)
class Listing:
    """One describing call.

    ``ids`` is the parameter with ids, ``missing`` the code for one that does not exist, ``most``
    the largest page; ``filters`` say where in an item what a filter looks at stands.
    """

    member: str
    items: Callable[[Account], list[Item]]
    ids: str
    id: str
    missing: str
    smallest: int
    most: int
    filters: Mapping[str, str]


LISTINGS = {
    "DescribeVpcs": Listing(
        "Vpcs", Account.vpcs, "VpcId", "VpcId", "InvalidVpcID.NotFound", 5, 1000,
        {"vpc-id": "VpcId"},
    ),
    "DescribeSubnets": Listing(
        "Subnets", Account.subnets, "SubnetId", "SubnetId", "InvalidSubnetID.NotFound", 5, 1000,
        {"vpc-id": "VpcId", "subnet-id": "SubnetId"},
    ),
    "DescribeRouteTables": Listing(
        "RouteTables", Account.route_tables, "RouteTableId", "RouteTableId",
        Code.TABLE_NOT_FOUND, 5, 100,
        {
            "vpc-id": "VpcId",
            "route-table-id": "RouteTableId",
            "association.subnet-id": "Associations.SubnetId",
        },
    ),
    "DescribeNetworkInterfaces": Listing(
        "NetworkInterfaces", Account.interfaces, "NetworkInterfaceId", "NetworkInterfaceId",
        Code.INTERFACE_NOT_FOUND, 5, 1000,
        {
            "vpc-id": "VpcId",
            "subnet-id": "SubnetId",
            "network-interface-id": "NetworkInterfaceId",
            "attachment.instance-id": "Attachment.InstanceId",
            "private-ip-address": "PrivateIpAddress",
        },
    ),
    "DescribeInstances": Listing(
        "Reservations", Account.reservations, "InstanceId", "Instances.InstanceId",
        "InvalidInstanceID.NotFound", 5, 1000,
        {
            "vpc-id": "Instances.VpcId",
            "subnet-id": "Instances.SubnetId",
            "instance-id": "Instances.InstanceId",
            "instance-state-name": "Instances.State.Name",
        },
    ),
    "DescribeSecurityGroups": Listing(
        "SecurityGroups", Account.security_groups, "GroupId", "GroupId", "InvalidGroup.NotFound",
        5, 1000, {"vpc-id": "VpcId", "group-id": "GroupId"},
    ),
    "DescribeNetworkAcls": Listing(
        "NetworkAcls", Account.network_acls, "NetworkAclId", "NetworkAclId",
        "InvalidNetworkAclID.NotFound", 5, 1000,
        {"vpc-id": "VpcId", "association.subnet-id": "Associations.SubnetId"},
    ),
    "DescribeVpcPeeringConnections": Listing(
        "VpcPeeringConnections", Account.peerings, "VpcPeeringConnectionId",
        "VpcPeeringConnectionId", "InvalidVpcPeeringConnectionID.NotFound", 5, 1000,
        {
            "requester-vpc-info.vpc-id": "RequesterVpcInfo.VpcId",
            "accepter-vpc-info.vpc-id": "AccepterVpcInfo.VpcId",
            "status-code": "Status.Code",
        },
    ),
    "DescribeManagedPrefixLists": Listing(
        "PrefixLists", Account.prefix_lists, "PrefixListId", "PrefixListId",
        "InvalidPrefixListID.NotFound", 1, 100,
        {
            "prefix-list-id": "PrefixListId",
            "prefix-list-name": "PrefixListName",
            "owner-id": "OwnerId",
        },
    ),
}  # fmt: skip


def list_items(account: Account, listing: Listing, parameters: Parameters) -> Mapping[str, Any]:
    """The page that was asked for. Raises Ec2Error."""
    ids = parameters.texts(listing.ids)
    filters = parameters.filters(listing.filters)
    size, start = page_asked_for(parameters, listing.smallest, listing.most)
    parameters.end()
    if ids and size is not None:
        raise Ec2Error(COMBINATION, f"The parameter {listing.ids} cannot be used with MaxResults")
    items = listing.items(account)
    if ids:
        existing = {value for item in items for value in values_at(item, listing.id)}
        unknown = [name for name in ids if name not in existing]
        if unknown:
            raise Ec2Error(listing.missing, f"The ID '{unknown[0]}' does not exist")
        items = [item for item in items if not set(ids).isdisjoint(values_at(item, listing.id))]
    for name, wanted in filters.items():
        place = listing.filters[name]
        items = [item for item in items if not set(wanted).isdisjoint(values_at(item, place))]
    return page(listing.member, items, size or listing.most, start)


def page_asked_for(parameters: Parameters, smallest: int, most: int) -> tuple[int | None, int]:
    """The size of a page, None where none was asked for, and where it starts."""
    token = parameters.optional("NextToken")
    size = parameters.number("MaxResults", smallest, most)
    if not token:
        return size, 0
    try:
        start = int(base64.b64decode(token, validate=True).decode("ascii").removeprefix("from:"))
    except (binascii.Error, ValueError) as error:
        raise Ec2Error("InvalidNextToken", f"The token '{token}' is invalid") from error
    return size, start


def page(member: str, items: list[Item], size: int, start: int) -> Mapping[str, Any]:
    """One page of the items, with a token for the next one, if there is any."""
    end = start + size
    token = base64.b64encode(f"from:{end}".encode()).decode() if end < len(items) else None
    return {member: items[start:end], "NextToken": token}


def values_at(item: Mapping[str, Any], place: str) -> Iterator[str]:
    """The texts at a place in an item, through lists: ``Associations.SubnetId``."""
    found: Iterable[Any] = [item]
    for key in place.split("."):
        nested = [part.get(key) for part in found]
        found = [
            part for one in nested for part in (one if isinstance(one, list) else [one]) if part
        ]
    return (value for value in found if isinstance(value, str))
