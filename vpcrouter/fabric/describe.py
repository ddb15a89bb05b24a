"""What EC2's and Service Quotas' calls answer, as one JSON file -> an Observation.

The file holds, as the calls print them, Vpcs, Subnets, RouteTables, NetworkInterfaces,
Reservations, PrefixLists and Quotas. Everything of other VPCs is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from vpcrouter.fabric.machines import CarefulMachines, Machines, usual_machines
from vpcrouter.fabric.port import (
    Observation,
    Origin,
    PrefixList,
    Row,
    RowState,
    Table,
    VpcSubnet,
)
from vpcrouter.fabric.prefix_lists import parse_prefix_lists
from vpcrouter.jsonfile import JsonObject, UnlikeError, parse_json, read_content

ROUTES_QUOTA = "L-93826ACB"
DEFAULT_QUOTA = 500

_WHAT = "it should hold what aws ec2 describe-vpcs, describe-subnets and so on print"

# In the order in which they are looked for; a row to an interface names its instance too.
_TARGETS = (
    "NetworkInterfaceId",
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
    "OdbNetworkArn",
    "InstanceId",
)
_ORIGINS = {
    "CreateRouteTable": Origin.LOCAL,
    "CreateRoute": Origin.STATIC,
    "EnableVgwRoutePropagation": Origin.PROPAGATED,
    "Advertisement": Origin.PROPAGATED,  # by a route server
}


def read_describe(path: Path, quota: int | None) -> Observation:
    """The VPC in a file; ``quota`` overrides the entries that it says a table takes.

    Raises BadInputError, in one line, where the file is none or contradicts itself.
    """
    content = read_content(path, _WHAT)
    with suppress(UnlikeError):
        return parse_usual_describe(path, content, quota)
    return parse_describe(parse_json(path, content, _WHAT), quota)


def parse_usual_describe(path: Path, content: bytes, quota: int | None) -> Observation:
    """The same, where all interfaces and instances are as they should be.

    Raises UnlikeError for any other file, whatever is wrong with it.
    """
    file, machines = usual_machines(path, content)
    try:
        return _observation(file, machines, quota)
    except BadInputError as error:
        raise UnlikeError from error


def parse_describe(file: JsonObject, quota: int | None) -> Observation:
    """The VPC in what a file, or the calls themselves, said. Raises BadInputError likewise."""
    return _observation(file, CarefulMachines(file), quota)


def _observation(file: JsonObject, machines: Machines, quota: int | None) -> Observation:
    for key in ("NextToken", "nextToken"):
        if file.optional_text(key) is not None:
            raise file.error(f"holds one page of several ({key}): describe without paging")
    vpc = _choose_vpc(file, machines)
    subnet_objects = [o for o in file.children("Subnets") if o.text("VpcId") == vpc.text("VpcId")]
    tables = _of_vpc(file, "RouteTables", vpc)
    subnets = _subnets(file, subnet_objects, tables)
    applied, warnings = _quota(file, quota)
    return Observation(
        vpc=vpc.text("VpcId"),
        local=_vpc_cidrs(vpc),
        subnets=subnets,
        tables=_tables(tables, parse_prefix_lists(file)),
        interfaces=machines.interfaces(vpc.text("VpcId"), {subnet.id for subnet in subnets}),
        instances=machines.instances(),
        quota=applied,
        warnings=warnings,
        tags=machines.tags(),
    )


def parse_tables(file: JsonObject) -> tuple[Table, ...]:
    """The tables alone: of RouteTables and PrefixLists. Raises BadInputError."""
    return _tables(file.children("RouteTables"), parse_prefix_lists(file))


def _of_vpc(file: JsonObject, key: str, vpc: JsonObject) -> list[JsonObject]:
    wanted = vpc.text("VpcId")
    return [o for o in file.children(key) if o.optional_text("VpcId") in (wanted, None)]


def _choose_vpc(file: JsonObject, machines: Machines) -> JsonObject:
    """The only VPC, or the only one with interfaces."""
    vpcs = {vpc.text("VpcId"): vpc for vpc in file.children("Vpcs")}
    if not vpcs:
        raise file.error(f"Vpcs is missing or empty; {_WHAT}")
    if len(vpcs) > 1:
        candidates = sorted(vpcs.keys() & machines.vpcs())
        if len(candidates) != 1:
            names = ", ".join(sorted(vpcs)[:5])
            raise file.error(f"Vpcs: {len(vpcs)} VPCs ({names}): keep the cluster's own")
        return vpcs[candidates[0]]
    return next(iter(vpcs.values()))


def _associated(parent: JsonObject, key: str, state: str, cidr: str) -> Iterable[Prefix]:
    """The CIDRs of an association set that are in force."""
    for item in parent.children(key):
        status = item.child(state)
        if status is None or status.optional_text("State") in ("associated", None):
            prefix = item.optional_prefix(cidr)
            if prefix is not None:
                yield prefix


def _vpc_cidrs(vpc: JsonObject) -> tuple[Prefix, ...]:
    main = vpc.optional_prefix("CidrBlock")
    found = {main} if main else set()
    found.update(_associated(vpc, "CidrBlockAssociationSet", "CidrBlockState", "CidrBlock"))
    found.update(
        _associated(vpc, "Ipv6CidrBlockAssociationSet", "Ipv6CidrBlockState", "Ipv6CidrBlock")
    )
    return tuple(sorted(found))


def _subnets(
    file: JsonObject, objects: list[JsonObject], tables: list[JsonObject]
) -> tuple[VpcSubnet, ...]:
    main, explicit = _associations(tables)
    subnets: dict[str, VpcSubnet] = {}
    for item in objects:
        name = item.text("SubnetId")
        table = explicit.get(name, main)
        if table is None:
            raise item.error(f"{name} has no route table: include the VPC's main one")
        if name in subnets:
            raise item.error(f"{name} is there twice")
        cidr = item.optional_prefix("CidrBlock")
        cidrs = {cidr} if cidr else set()
        cidrs.update(
            _associated(item, "Ipv6CidrBlockAssociationSet", "Ipv6CidrBlockState", "Ipv6CidrBlock")
        )
        if not cidrs:
            raise item.error("CidrBlock is missing")
        zone = item.text("AvailabilityZone")
        subnets[name] = VpcSubnet(name, zone, tuple(sorted(cidrs)), table)
    if not subnets:
        raise file.error(f"Subnets is missing or has none of the VPC; {_WHAT}")
    return tuple(subnets[name] for name in sorted(subnets))


def _associations(tables: list[JsonObject]) -> tuple[str | None, Mapping[str, str]]:
    """The main table, which every subnet uses that has none of its own, and who has one."""
    main: str | None = None
    explicit: dict[str, str] = {}
    for table in tables:
        name = table.text("RouteTableId")
        for item in table.children("Associations"):
            state = item.child("AssociationState")
            if state and state.optional_text("State") in ("disassociating", "disassociated"):
                continue
            if item.flag("Main", absent=False):
                if main not in (None, name):
                    raise item.error(f"{main} and {name} are both the main table")
                main = name
                continue
            subnet = item.optional_text("SubnetId")
            if subnet is None:
                continue  # of a gateway: what comes in from outside, no subnet uses it
            if explicit.setdefault(subnet, name) != name:
                raise item.error(f"{subnet} uses {explicit[subnet]} and {name}: it can use one")
    return main, explicit


def _tables(objects: list[JsonObject], prefix_lists: Mapping[str, PrefixList]) -> tuple[Table, ...]:
    tables: dict[str, Table] = {}
    for item in objects:
        name = item.text("RouteTableId")
        if name in tables:
            raise item.error(f"{name} is there twice")
        rows = tuple(_row(route, prefix_lists) for route in item.children("Routes"))
        seen: set[tuple[Prefix | PrefixList, bool]] = set()
        for row in rows:
            key = (row.destination, row.origin is Origin.PROPAGATED)
            if key in seen:
                raise item.error(f"{row.destination} is there twice")
            seen.add(key)
        tables[name] = Table(name, rows)
    return tuple(tables[name] for name in sorted(tables))


def _row(route: JsonObject, prefix_lists: Mapping[str, PrefixList]) -> Row:
    target_key = next((key for key in _TARGETS if route.optional_text(key)), None)
    target = route.text(target_key) if target_key else "none"
    origin = Origin.LOCAL if target == "local" else Origin.STATIC
    origin_text = route.optional_text("Origin")
    if origin_text is not None:
        if origin_text not in _ORIGINS:
            known = ", ".join(_ORIGINS)
            raise route.error(f"Origin is {origin_text}: known are {known}")
        origin = _ORIGINS[origin_text]
    state = route.optional_text("State") or RowState.ACTIVE.value
    if state not in (RowState.ACTIVE.value, RowState.BLACKHOLE.value, "filtered"):
        raise route.error(f"State is {state}: known are active and blackhole")
    return Row(
        destination=_destination(route, prefix_lists),
        target=target,
        to_interface=target_key == "NetworkInterfaceId",
        origin=origin,
        state=RowState.BLACKHOLE if state == RowState.BLACKHOLE.value else RowState.ACTIVE,
    )


def _destination(route: JsonObject, prefix_lists: Mapping[str, PrefixList]) -> Prefix | PrefixList:
    for key, family in (
        ("DestinationCidrBlock", Family.IPV4),
        ("DestinationIpv6CidrBlock", Family.IPV6),
    ):
        prefix = route.optional_prefix(key)
        if prefix is not None:
            if prefix.family is not family:
                raise route.error(f"{key} is {prefix}, which is not {family.value}")
            return prefix
    name = route.optional_text("DestinationPrefixListId")
    if name is None:
        raise route.error("has no destination")
    if name not in prefix_lists:
        raise route.error(
            f"{name} is not in PrefixLists, so nobody knows how many entries it counts for: "
            "add what describe-managed-prefix-lists says about it"
        )
    return prefix_lists[name]


def _quota(file: JsonObject, override: int | None) -> tuple[Mapping[Family, int], tuple[str, ...]]:
    """Entries per table; IPv4 and IPv6 have the same number, each for itself."""
    warnings: tuple[str, ...] = ()
    value = override
    if value is None:
        for item in file.children("Quotas"):
            if item.optional_text("QuotaCode") == ROUTES_QUOTA:
                value = item.whole_number("Value")
    if value is None:
        value = DEFAULT_QUOTA
        warnings = (
            f"{file.file}: Quotas has no {ROUTES_QUOTA}: assuming {DEFAULT_QUOTA} entries a table; "
            "set fabric.quota if your account has another number",
        )
    return dict.fromkeys(Family, value), warnings
