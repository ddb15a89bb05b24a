"""Reading a VPC: every describing call filtered and paged, and asked again when it can be old.

The answers are put together in the shape of a describe file, and parsed as one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ipam.errors import BadInputError
from vpcrouter.fabric.aws.asking import Asker, DeniedError
from vpcrouter.fabric.aws.clients import Clients
from vpcrouter.fabric.aws.quota import Quota, applied_quota
from vpcrouter.fabric.describe import parse_describe, parse_tables
from vpcrouter.fabric.firewalls import Firewalls, parse_firewalls
from vpcrouter.fabric.peerings import Peering, parse_peerings
from vpcrouter.fabric.port import (
    Clock,
    FabricUnavailableError,
    Heard,
    InstanceState,
    Observation,
    Table,
)
from vpcrouter.jsonfile import JsonObject

Item = dict[str, Any]

_AGES = {
    "Vpcs": 300.0,
    "Subnets": 300.0,
    "RouteTables": 0.0,
    "NetworkInterfaces": 120.0,
    "Reservations": 60.0,
    "Quotas": 3600.0,
}
"""For how many seconds an answer is good: how soon what it says can change."""

_SECONDS_PER_PAGE = {"NetworkInterfaces": 24.0, "Reservations": 12.0}
"""What takes many pages is good for longer, so that looking again and again stays cheap."""

_ASK_AGAIN_SECONDS = 60.0

_LAG_SECONDS = 120.0
"""For so long a read may not show yet what was heard of."""

_NOTICE_SECONDS = 600.0
"""A spot instance is taken away two minutes after its notice; some stay a little longer."""

_BATCH = 100
_UNKNOWN_WEIGHT = 100  # above every weight that AWS has published


@dataclass(frozen=True, slots=True)
class _Answer:
    items: list[Item]
    at: float
    good_for: float


class Discovery:
    """Reads one VPC. ``quota`` is what the operator says that a table takes, None: nothing."""

    def __init__(self, clients: Clients, vpc: str, quota: int | None, clock: Clock) -> None:
        self._clients = clients
        self._vpc = vpc
        self._stated = quota
        self._clock = clock
        self.place = f"AWS {clients.region}"
        self.asker = Asker(clock, self.place)
        self._answers: dict[str, _Answer] = {}
        self._lists: dict[str, Item] = {}
        self._quota: tuple[Quota, float] | None = None
        self._expected: dict[str, float] = {}
        self._heard: dict[str, tuple[Heard, float]] = {}

    def observe(self) -> Observation:
        """The VPC now. Raises FabricUnavailableError, also where answers contradict each other."""
        warnings: list[str] = []
        document = self._document(warnings)
        quota = self.quota()
        if quota.warning:
            warnings.append(quota.warning)
        try:
            seen = parse_describe(JsonObject(self.place, "", document), quota.entries)
        except BadInputError as error:
            # Pages are read one after another: something came or went in between.
            self._answers.clear()
            text = f"{error}: the VPC was changed meanwhile, perhaps: try again"
            raise FabricUnavailableError("", text) from error
        instances, leaving = self._with_heard(seen.instances)
        return replace(
            seen,
            instances=instances,
            leaving=leaving,
            warnings=(*seen.warnings, *warnings),
            quota_source=quota.source,
        )

    def hear(self, heard: Heard) -> None:
        """Something has happened to an instance just now."""
        self._heard[heard.instance] = (heard, self._clock.now())

    def _with_heard(
        self, instances: Mapping[str, InstanceState]
    ) -> tuple[Mapping[str, InstanceState], frozenset[str]]:
        """The states with what was heard since they were read; and who is about to go."""
        now = self._clock.now()
        answer = self._answers.get("Reservations")
        read = answer.at if answer is not None else now
        self._heard = {
            name: (heard, at)
            for name, (heard, at) in self._heard.items()
            if now - at <= (_NOTICE_SECONDS if heard.state is None else _LAG_SECONDS)
        }
        told = {
            name: heard.state
            for name, (heard, at) in self._heard.items()
            if heard.state is not None and name in instances and at + _LAG_SECONDS > read
        }
        leaving = frozenset(n for n, (heard, _) in self._heard.items() if heard.state is None)
        return {**instances, **told}, leaving

    def table(self, name: str) -> Table | None:
        """One route table now; None where there is none. Raises FabricUnavailableError."""
        filters = [{"Name": "route-table-id", "Values": [name]}]
        tables = self._pages("describe_route_tables", "RouteTables", filters, 100)
        document: Item = {"RouteTables": tables, "PrefixLists": self._prefix_lists(tables, [])}
        try:
            parsed = parse_tables(JsonObject(self.place, "", document))
        except BadInputError as error:
            raise FabricUnavailableError("", str(error)) from error
        return parsed[0] if parsed else None

    def firewalls(self) -> tuple[Firewalls, tuple[str, ...]]:
        """What lets packets in and out, as it is now, and what of that nobody may look at.

        Raises FabricUnavailableError where it is not answered.
        """
        of_vpc = [{"Name": "vpc-id", "Values": [self._vpc]}]
        interfaces = self._kept("NetworkInterfaces", "describe_network_interfaces", of_vpc, 1000)
        denied: list[str] = []
        groups: list[Item] = []
        acls: list[Item] = []
        try:
            groups = self._pages("describe_security_groups", "SecurityGroups", of_vpc, 1000)
        except DeniedError as error:
            denied.append(f"{error}; whether security groups let pods through was not looked at")
            interfaces = []
        try:
            acls = self._pages("describe_network_acls", "NetworkAcls", of_vpc, 1000)
        except DeniedError as error:
            denied.append(f"{error}; whether network ACLs let pods through was not looked at")
        return parse_firewalls(groups, acls, interfaces), tuple(denied)

    def peerings(self) -> tuple[Peering, ...]:
        """Who the VPC has peerings with, as it is now. Raises FabricUnavailableError."""
        found: list[Item] = []
        for side in ("requester", "accepter"):
            filters = [{"Name": f"{side}-vpc-info.vpc-id", "Values": [self._vpc]}]
            method = "describe_vpc_peering_connections"
            found += self._pages(method, "VpcPeeringConnections", filters, 1000)
        return parse_peerings(self._vpc, found)

    def quota(self) -> Quota:
        """What a table takes, and how that is known."""
        now = self._clock.now()
        if self._quota is None or now - self._quota[1] > _AGES["Quotas"]:
            self._quota = (applied_quota(self._clients, self.asker, self._stated), now)
        return self._quota[0]

    def changed(self, key: str) -> None:
        """Something of this kind was changed here: what was read of it is old."""
        self._answers.pop(key, None)

    def expect(self, instances: Collection[str]) -> None:
        """There should be these instances: ask for the interfaces of those that are not known."""
        answer = self._answers.get("NetworkInterfaces")
        if answer is None:
            return
        now = self._clock.now()
        known = {item.get("Attachment", {}).get("InstanceId") for item in answer.items}
        asked = {name for name, at in self._expected.items() if now - at < _ASK_AGAIN_SECONDS}
        missing = sorted(set(instances) - known - asked)
        self._expected = {name: self._expected[name] for name in asked}
        for batch in _batches(missing):
            filters = [
                {"Name": "vpc-id", "Values": [self._vpc]},
                {"Name": "attachment.instance-id", "Values": batch},
            ]
            found = self._pages("describe_network_interfaces", "NetworkInterfaces", filters, 1000)
            names = {item["NetworkInterfaceId"] for item in found}
            others = [item for item in answer.items if item["NetworkInterfaceId"] not in names]
            answer.items[:] = [*others, *found]
            self._expected.update(dict.fromkeys(batch, now))

    def _document(self, warnings: list[str]) -> Item:
        of_vpc = [{"Name": "vpc-id", "Values": [self._vpc]}]
        subnets = self._kept("Subnets", "describe_subnets", of_vpc, 1000)
        tables = self._kept("RouteTables", "describe_route_tables", of_vpc, 100)
        document: Item = {
            "Subnets": subnets,
            "RouteTables": tables,
            "NetworkInterfaces": self._kept(
                "NetworkInterfaces", "describe_network_interfaces", of_vpc, 1000
            ),
            "PrefixLists": self._prefix_lists(tables, warnings),
        }
        try:
            document["Vpcs"] = self._kept("Vpcs", "describe_vpcs", of_vpc, 1000)
        except DeniedError as error:
            warnings.append(f"{error}; its own CIDRs are taken from the local routes")
            document["Vpcs"] = [_vpc_of(self._vpc, tables)]
        if not document["Vpcs"] or not subnets:
            what = "has no subnet" if document["Vpcs"] else "is unknown"
            remedy = "check region, VPC and account in the cluster file"
            raise FabricUnavailableError("", f"{self.place}: {self._vpc} {what}: {remedy}")
        try:
            document["Reservations"] = self._kept(
                "Reservations", "describe_instances", of_vpc, 1000
            )
        except DeniedError as error:
            warnings.append(f"{error}; until then nodes without an instance keep their addresses")
        return document

    def _kept(
        self, key: str, method: str, filters: Sequence[Mapping[str, Any]], size: int
    ) -> list[Item]:
        now = self._clock.now()
        answer = self._answers.get(key)
        if answer is None or now - answer.at >= answer.good_for:
            before = self.asker.calls
            items = self._pages(method, key, filters, size)
            pages = self.asker.calls - before
            good_for = max(_AGES[key], pages * _SECONDS_PER_PAGE.get(key, 0.0))
            answer = _Answer(items, now, good_for)
            self._answers[key] = answer
        return answer.items

    def _pages(
        self, method: str, key: str, filters: Sequence[Mapping[str, Any]], size: int
    ) -> list[Item]:
        """All pages of a call, each asked for until it is answered."""
        call: Callable[..., Mapping[str, Any]] = getattr(self._clients.ec2, method)
        action = "ec2:" + "".join(part.capitalize() for part in method.split("_"))
        found: list[Item] = []
        asked = functools.partial(call, Filters=filters, MaxResults=size)
        while True:
            answer = self.asker.ask(action, asked)
            if key not in answer:  # an empty list would be there
                text = f"{self.place}: {action} answered without {key}"
                raise FabricUnavailableError("", f"{text}: check the endpoint in the cluster file")
            found += answer[key]
            token = answer.get("NextToken")
            if not token:
                return found
            asked = functools.partial(call, Filters=filters, MaxResults=size, NextToken=token)

    def _prefix_lists(self, tables: Sequence[Item], warnings: list[str]) -> list[Item]:
        """The prefix lists to which routes lead; each is asked for once."""
        routes = [route for table in tables for route in table.get("Routes", [])]
        targets = {
            route["DestinationPrefixListId"]: str(route.get("GatewayId", ""))
            for route in routes
            if route.get("DestinationPrefixListId")
        }
        missing = sorted(targets.keys() - self._lists.keys())
        try:
            for batch in _batches(missing):
                filters = [{"Name": "prefix-list-id", "Values": batch}]
                method = "describe_managed_prefix_lists"
                for item in self._pages(method, "PrefixLists", filters, _BATCH):
                    self._lists[item["PrefixListId"]] = item
        except DeniedError as error:
            warnings.append(f"{error}; prefix lists count as {_UNKNOWN_WEIGHT} entries until then")
        return [self._lists.get(name) or _guess(name, targets[name]) for name in sorted(targets)]


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _BATCH):
        yield list(names[start : start + _BATCH])


def _guess(name: str, target: str) -> Item:
    """A prefix list of which only its id is known. Gateway endpoints are S3's or DynamoDB's."""
    weight = 1 if target.startswith("vpce-") else _UNKNOWN_WEIGHT
    return {"PrefixListId": name, "PrefixListName": "unknown", "MaxEntries": weight}


def _vpc_of(name: str, tables: Sequence[Item]) -> Item:
    """The VPC as its local routes show it."""
    local = [r for t in tables for r in t.get("Routes", []) if r.get("GatewayId") == "local"]
    ipv4 = {r["DestinationCidrBlock"] for r in local if r.get("DestinationCidrBlock")}
    ipv6 = {r["DestinationIpv6CidrBlock"] for r in local if r.get("DestinationIpv6CidrBlock")}
    return {
        "VpcId": name,
        "CidrBlockAssociationSet": [{"CidrBlock": cidr} for cidr in sorted(ipv4)],
        "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": cidr} for cidr in sorted(ipv6)],
    }
