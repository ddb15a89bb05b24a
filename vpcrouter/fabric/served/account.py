"""What the served account holds: a describe file, with what has changed in its VPC since.

Everything is given as the calls give it, by the names of their JSON. What the file does not say
though the calls always do (which VPC something is in) is filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ipam.prefix import Family, Prefix
from vpcrouter.fabric.describe import parse_describe
from vpcrouter.fabric.port import (
    Clock,
    InstanceState,
    NetworkInterface,
    Observation,
    Origin,
    PrefixList,
    Row,
)
from vpcrouter.fabric.prefix_lists import parse_prefix_lists
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import TableStorage
from vpcrouter.jsonfile import JsonObject, read_json

Item = dict[str, Any]

NO_OWNER = "000000000000"
"""The account's number where the file does not say it."""

_WHAT = "it should hold what aws ec2 describe-vpcs, describe-subnets and so on print"
_CIDR_KEYS = {Family.IPV4: "DestinationCidrBlock", Family.IPV6: "DestinationIpv6CidrBlock"}


class Account:
    """The answers to describing calls. ``vpc`` is the one VPC in which something can change.

    ``queue`` holds the messages of its queue by their handles, oldest first.
    """

    def __init__(self, file: JsonObject, vpc: SimulatedVpc, start: Observation) -> None:
        self.vpc = vpc
        self.queue: dict[str, str] = {}
        self._sent = 0
        self._file = file.fields
        self._start = start
        self._families = {name: p.family for name, p in parse_prefix_lists(file).items()}
        self._zones = {subnet.id: subnet.zone for subnet in start.subnets}
        in_vpc = {"VpcId": start.vpc}
        self._tables = {t["RouteTableId"]: {**in_vpc, **t} for t in self._items("RouteTables")}
        self._interfaces = {
            i["NetworkInterfaceId"]: {**in_vpc, **i} for i in self._items("NetworkInterfaces")
        }

    @classmethod
    def open(
        cls,
        path: Path,
        storage: Callable[[str], TableStorage],
        clock: Clock,
        behaviour: Behaviour,
    ) -> Account:
        """The account of a describe file; ``storage`` is asked for by the VPC's id.

        Raises BadInputError where it is no describe file.
        """
        file = read_json(path, _WHAT)
        start = parse_describe(file, None)
        return cls(file, SimulatedVpc(start, storage(start.vpc), clock, behaviour), start)

    @property
    def name(self) -> str:
        """The id of the VPC."""
        return self._start.vpc

    @property
    def owner(self) -> str:
        """The account's number."""
        owners = (item.get("OwnerId") for item in self._items("Vpcs"))
        return next((owner for owner in owners if owner), NO_OWNER)

    def send(self, body: str) -> None:
        """Put a message into the queue, as EventBridge would."""
        self._sent += 1
        self.queue[f"message-{self._sent}"] = body

    def vpcs(self) -> list[Item]:
        """The VPCs."""
        return self._items("Vpcs")

    def subnets(self) -> list[Item]:
        """The subnets."""
        return self._items("Subnets")

    def route_tables(self) -> list[Item]:
        """The route tables, those of the VPC with the rows that they show now."""
        seen = self.vpc.describe()
        holders = {i.id: i.instance for i in seen.interfaces}
        rows = {table.id: table.rows for table in seen.tables}
        found = []
        for item in self._items("RouteTables"):
            changes: Item = {}
            if item["RouteTableId"] in rows:
                former = {_route_key(route): route for route in item.get("Routes", [])}
                routes = [_route(row, former, holders) for row in rows[item["RouteTableId"]]]
                changes = {"VpcId": self._start.vpc, "Routes": routes}
            found.append({**item, **changes})
        return found

    def interfaces(self) -> list[Item]:
        """The network interfaces."""
        seen = self.vpc.describe()
        start = {interface.id: interface for interface in self._start.interfaces}
        items = {item["NetworkInterfaceId"]: item for item in self._items("NetworkInterfaces")}
        found = [items[name] for name in items if name not in start]  # of other VPCs
        for interface in seen.interfaces:
            item = items.get(interface.id)
            if item is None or _differs(start.get(interface.id), interface):
                item = _interface(interface, self._zones.get(interface.subnet))
            check = interface.source_dest_check
            found.append({**item, "VpcId": self._start.vpc, "SourceDestCheck": check})
        return found

    def table(self, name: str) -> Item | None:
        """A route table as it was described, without looking at its rows; None: there is none."""
        return self._tables.get(name)

    def interface(self, name: str) -> Item | None:
        """A network interface; None where there is none."""
        found = self._interfaces.get(name)
        if found is not None:
            return found
        return next((i for i in self.interfaces() if i["NetworkInterfaceId"] == name), None)

    def reservations(self) -> list[Item]:
        """The instances, each in its reservation; one that has ended is in no VPC."""
        seen = self.vpc.describe()
        here = {i.instance for i in seen.interfaces} | self._instances_of_subnets()
        found = []
        listed: set[str] = set()
        for item in self._items("Reservations"):
            instances = [
                _instance(instance, seen.instances, here, self._start.vpc)
                for instance in item.get("Instances", [])
            ]
            listed.update(instance["InstanceId"] for instance in instances)
            found.append({**item, "Instances": instances})
        for name in sorted(seen.instances.keys() - listed):
            instance = _instance({"InstanceId": name}, seen.instances, here, self._start.vpc)
            found.append({"ReservationId": f"r-of-{name}", "Instances": [instance]})
        return found

    def security_groups(self) -> list[Item]:
        """The security groups."""
        return self._items("SecurityGroups")

    def network_acls(self) -> list[Item]:
        """The network ACLs."""
        return self._items("NetworkAcls")

    def peerings(self) -> list[Item]:
        """The peerings with other VPCs."""
        return self._items("VpcPeeringConnections")

    def prefix_lists(self) -> list[Item]:
        """The prefix lists without their contents."""
        return [
            {
                "AddressFamily": {"ipv4": "IPv4", "ipv6": "IPv6"}[
                    self._families[item["PrefixListId"]]
                ],
                **{key: value for key, value in item.items() if key not in ("Cidrs", "Entries")},
            }
            for item in self._items("PrefixLists")
        ]

    def prefix_list_entries(self, name: str) -> list[Item] | None:
        """The contents of a prefix list; None where there is no such list."""
        for item in self._items("PrefixLists"):
            if item["PrefixListId"] == name:
                cidrs = [{"Cidr": cidr} for cidr in item.get("Cidrs", [])]
                return cidrs + list(item.get("Entries", []))
        return None

    def quota(self) -> int | None:
        """The entries that a table takes; None where the file does not say."""
        if not self._items("Quotas"):
            return None
        return self.vpc.describe().quota[Family.IPV4]

    def _items(self, key: str) -> list[Item]:
        value = self._file.get(key)
        return list(value) if isinstance(value, list) else []

    def _instances_of_subnets(self) -> set[str]:
        instances = (i for item in self._items("Reservations") for i in item.get("Instances", []))
        return {i["InstanceId"] for i in instances if i.get("SubnetId") in self._zones}


def _route_key(route: Mapping[str, Any]) -> tuple[object, bool]:
    propagated = route.get("Origin") in ("EnableVgwRoutePropagation", "Advertisement")
    for key in _CIDR_KEYS.values():
        if route.get(key):
            return Prefix.parse(route[key]), propagated
    return route.get("DestinationPrefixListId"), propagated


def _route(
    row: Row, former: Mapping[tuple[object, bool], Item], holders: Mapping[str, str | None]
) -> Item:
    """A row as EC2 shows it: as it was described, if it still leads where it did then."""
    destination = row.destination
    name = destination.id if isinstance(destination, PrefixList) else destination
    before = former.get((name, row.origin is Origin.PROPAGATED))
    if before is not None and row.target in before.values():
        return {**before, "State": row.state.value}
    if not isinstance(destination, Prefix):
        raise TypeError(f"{destination}: only rows with a CIDR change")
    item = {_CIDR_KEYS[destination.family]: str(destination), "NetworkInterfaceId": row.target}
    instance = holders.get(row.target)
    if instance is not None:
        item["InstanceId"] = instance
    return {**item, "Origin": "CreateRoute", "State": row.state.value}


def _differs(before: NetworkInterface | None, now: NetworkInterface) -> bool:
    """Whether more than the check is other than it was described."""
    if before is None:
        return True
    parts = [(i.subnet, i.addresses, i.instance, i.device_index, i.settled) for i in (before, now)]
    return parts[0] != parts[1]


def _interface(interface: NetworkInterface, zone: str | None) -> Item:
    ipv4 = interface.addresses.get(Family.IPV4, ())
    item: Item = {
        "NetworkInterfaceId": interface.id,
        "SubnetId": interface.subnet,
        "AvailabilityZone": zone,
        "Status": "in-use" if interface.instance else "available",
        "PrivateIpAddress": next(iter(ipv4), None),
        "PrivateIpAddresses": [
            {"PrivateIpAddress": text, "Primary": text == ipv4[0]} for text in ipv4
        ],
        "Ipv6Addresses": [
            {"Ipv6Address": text} for text in interface.addresses.get(Family.IPV6, ())
        ],
    }
    if interface.instance is not None:
        item["Attachment"] = {
            "InstanceId": interface.instance,
            "DeviceIndex": interface.device_index,
            "Status": "attached" if interface.settled else "attaching",
        }
    return item


def _instance(
    item: Item, states: Mapping[str, InstanceState], here: Iterable[str | None], vpc: str
) -> Item:
    name = item["InstanceId"]
    state = states.get(name, InstanceState.RUNNING)
    place = {"VpcId": vpc} if name in here and state is not InstanceState.TERMINATED else {}
    return {**place, **item, "State": {**item.get("State", {}), "Name": state.value}}
