"""Answers as EC2's Query API writes them: XML, made from what its JSON looks like. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

# Names that differ from those of the JSON in more than their first letter.
_NAMES = {
    "Associations": "associationSet",
    "BlockDeviceMappings": "blockDeviceMapping",
    "Entries": "entrySet",
    "Groups": "groupSet",
    "Instances": "instancesSet",
    "NetworkAcls": "networkAclSet",
    "UserIdGroupPairs": "groups",
    "Ipv4Prefixes": "ipv4PrefixSet",
    "Ipv6Addresses": "ipv6AddressesSet",
    "Ipv6Prefixes": "ipv6PrefixSet",
    "NetworkInterfaces": "networkInterfaceSet",
    "PrefixLists": "prefixListSet",
    "PrivateIpAddresses": "privateIpAddressesSet",
    "PropagatingVgws": "propagatingVgwSet",
    "PublicDnsName": "dnsName",
    "PublicIpAddress": "ipAddress",
    "Reservations": "reservationSet",
    "RouteTables": "routeTableSet",
    "Routes": "routeSet",
    "SecurityGroups": "groupSet",
    "StateTransitionReason": "reason",
    "Subnets": "subnetSet",
    "Tags": "tagSet",
    "VpcPeeringConnections": "vpcPeeringConnectionSet",
    "Vpcs": "vpcSet",
}


def answer(action: str, request: str, members: Mapping[str, object]) -> str:
    """What an action answers; ``request`` is the request's id."""
    body = "".join(_members({"RequestId": request, **members}))
    return f'{_HEAD}<{action}Response xmlns="{NAMESPACE}">{body}</{action}Response>'


def refusal(code: str, message: str, request: str) -> str:
    """What any action answers instead."""
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    return (
        f"{_HEAD}<Response><Errors><Error>{error}</Error></Errors>"
        f"<RequestID>{request}</RequestID></Response>"
    )


_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _members(members: Mapping[str, object]) -> Iterator[str]:
    for key, value in members.items():
        if value is not None:
            name = _name(key, value)
            yield f"<{name}>{_content(value)}</{name}>"


def _name(key: str, value: object) -> str:
    if key == "State" and isinstance(value, Mapping):
        return "instanceState"
    if key == "SecurityGroups" and isinstance(value, list) and _are_whole(value):
        return "securityGroupInfo"
    return _NAMES.get(key, key[:1].lower() + key[1:])


def _are_whole(groups: list[object]) -> bool:
    """Whether security groups are described, and not only named (or none are, by their call)."""
    return all(isinstance(group, Mapping) and "IpPermissions" in group for group in groups)


def _content(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(_members(value))
    if isinstance(value, list | tuple):
        return "".join(f"<item>{_content(item)}</item>" for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))
