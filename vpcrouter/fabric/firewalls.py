"""What lets packets of pods in and out: security groups and network ACLs, as EC2 describes them.

Pods have addresses that are no interface's own. So only rules that name CIDRs match them: those
that refer to a security group never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipam.errors import BadInputError
from ipam.prefix import Prefix, merge

_EVERY_PROTOCOL = "-1"
_CIDRS = (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"))
_DIRECTIONS = ((False, "in from"), (True, "out to"))

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """What it lets in and out whatever the protocol, by CIDR."""

    id: str
    ingress: tuple[Prefix, ...]
    egress: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class AclRule:
    """One rule of a network ACL; the lowest number that matches decides."""

    number: int
    egress: bool
    allows: bool
    every_protocol: bool
    cidr: Prefix


@dataclass(frozen=True, slots=True)
class NetworkAcl:
    """The rules for packets in and out of some subnets."""

    id: str
    subnets: tuple[str, ...]
    rules: tuple[AclRule, ...]


@dataclass(frozen=True, slots=True)
class Firewalls:
    """Groups by id, ACLs, and the groups of each interface of an instance."""

    groups: Mapping[str, SecurityGroup]
    acls: tuple[NetworkAcl, ...]
    of_interface: Mapping[str, tuple[str, ...]]


def parse_firewalls(
    groups: Iterable[Item], acls: Iterable[Item], interfaces: Iterable[Item]
) -> Firewalls:
    """From what the describing calls answer."""
    return Firewalls(
        groups={item["GroupId"]: _group(item) for item in groups},
        acls=tuple(map(_acl, acls)),
        of_interface={
            item["NetworkInterfaceId"]: tuple(g["GroupId"] for g in item.get("Groups", []))
            for item in interfaces
            if item.get("Attachment", {}).get("InstanceId")
        },
    )


def obstacles(walls: Firewalls, networks: Sequence[Prefix]) -> Iterator[str]:
    """What does not let the addresses of these networks through, in a line each."""
    for network in networks:
        for egress, words in _DIRECTIONS:
            yield from _closed_groups(walls, network, words, egress=egress)
            for acl in walls.acls:
                if acl.subnets and not _acl_allows(acl, network, egress=egress):
                    yield (
                        f"{acl.id} of {_few(acl.subnets)} does not let everything {words} "
                        f"{network}: allow it, for all protocols, below the rules that deny it"
                    )


def _closed_groups(walls: Firewalls, network: Prefix, words: str, *, egress: bool) -> Iterator[str]:
    """An interface needs one of its groups to allow it; closed ones are named by their groups."""
    closed: dict[tuple[str, ...], int] = {}
    for names in walls.of_interface.values():
        known = [walls.groups[name] for name in names if name in walls.groups]
        rules = [p for group in known for p in (group.egress if egress else group.ingress)]
        if known and not any(prefix.contains(network) for prefix in merge(rules)):
            closed[names] = closed.get(names, 0) + 1
    for names, count in sorted(closed.items()):
        yield (
            f"{_few(names)} (of {count:,} interfaces of instances): no rule lets everything "
            f"{words} {network}: allow it by CIDR, a reference to a group does not match pods"
        )


def _acl_allows(acl: NetworkAcl, network: Prefix, *, egress: bool) -> bool:
    for rule in sorted(acl.rules, key=lambda rule: rule.number):
        if rule.egress is not egress or not rule.cidr.overlaps(network):
            continue
        if not rule.allows:
            return False
        if rule.every_protocol and rule.cidr.contains(network):
            return True
    return False


def _group(item: Item) -> SecurityGroup:
    ingress = tuple(_open_cidrs(item.get("IpPermissions", [])))
    egress = tuple(_open_cidrs(item.get("IpPermissionsEgress", [])))
    return SecurityGroup(item["GroupId"], ingress, egress)


def _open_cidrs(permissions: Iterable[Item]) -> Iterator[Prefix]:
    for permission in permissions:
        if permission.get("IpProtocol") == _EVERY_PROTOCOL:
            for ranges, key in _CIDRS:
                for item in permission.get(ranges, []):
                    yield from _prefix(item.get(key))


def _acl(item: Item) -> NetworkAcl:
    rules = [
        AclRule(
            entry["RuleNumber"],
            entry["Egress"],
            entry["RuleAction"] == "allow",
            entry.get("Protocol") == _EVERY_PROTOCOL,
            cidr,
        )
        for entry in item.get("Entries", [])
        for cidr in _prefix(entry.get("CidrBlock") or entry.get("Ipv6CidrBlock"))
    ]
    subnets = tuple(sorted(a["SubnetId"] for a in item.get("Associations", [])))
    return NetworkAcl(item["NetworkAclId"], subnets, tuple(rules))


def _prefix(text: str | None) -> Iterator[Prefix]:
    """A rule whose CIDR cannot be read matches nothing."""
    try:
        if text:
            yield Prefix.parse(text)
    except BadInputError:
        return


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
