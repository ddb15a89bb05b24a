"""What a VPC offers to a cluster that is to be, and what stands in its way. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix
from vpcrouter.fabric.aws.settings import AwsSource
from vpcrouter.fabric.firewalls import Firewalls, obstacles
from vpcrouter.fabric.peerings import Peering
from vpcrouter.fabric.port import Observation, Origin, PrefixList

_NAMED = 3


@dataclass(frozen=True, slots=True)
class SubnetOffer:
    """A subnet with its table: instances in it, and entries that the table could still take."""

    subnet: str
    zone: str
    table: str
    instances: int
    free_ipv4: int
    free_ipv6: int


@dataclass(frozen=True, slots=True)
class Survey:
    """``problems`` would break the installation, ``notes`` are worth knowing."""

    subnets: tuple[SubnetOffer, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def survey(
    seen: Observation,
    networks: Sequence[Prefix],
    walls: Firewalls | None,
    peerings: Sequence[Peering],
) -> Survey:
    """Look at a VPC for a cluster with these networks; no ``walls``: they could not be seen."""
    tables = {table.id: table for table in seen.tables}
    attached = {
        (i.instance, i.subnet) for i in seen.interfaces if i.instance and not i.device_index
    }
    instances = Counter(subnet for _, subnet in attached)

    def free(table: str, family: Family) -> int:
        return max(0, seen.quota[family] - tables[table].counted(family))

    offers = tuple(
        SubnetOffer(
            subnet.id,
            subnet.zone,
            subnet.table,
            instances[subnet.id],
            free(subnet.table, Family.IPV4),
            free(subnet.table, Family.IPV6),
        )
        for subnet in seen.subnets
    )
    problems = [
        *_problems(seen, networks),
        *_peers_in_the_way(peerings, networks),
        *(obstacles(walls, networks) if walls else ()),
    ]
    notes = (*_notes(seen, networks), *_unread(peerings))
    return Survey(offers, tuple(problems), notes)


def _problems(seen: Observation, networks: Sequence[Prefix]) -> Iterator[str]:
    for position, network in enumerate(networks):
        for local in seen.local:
            if network.overlaps(local):
                yield f"{network} overlaps {local}, which is the VPC's own: exclude it"
        for other in networks[:position]:
            if network.overlaps(other):
                yield f"{network} overlaps {other}: networks must be apart"
        yield from _routes_in_the_way(seen, network)


def _routes_in_the_way(seen: Observation, network: Prefix) -> Iterator[str]:
    """Routes inside the network; wider ones, such as the default route, do no harm."""
    for table in seen.tables:
        for row in table.rows:
            destination = row.destination
            inside = destination.prefixes if isinstance(destination, PrefixList) else (destination,)
            if row.origin is not Origin.LOCAL and any(network.contains(p) for p in inside):
                yield (
                    f"{table.id} has a route for {destination} to {row.target}, inside {network}: "
                    "exclude it from the network, or remove it"
                )


def _peers_in_the_way(peerings: Sequence[Peering], networks: Sequence[Prefix]) -> Iterator[str]:
    """A peering reaches all of its other side as soon as somebody adds a route to it."""
    for network in networks:
        for peering in peerings:
            for cidr in peering.cidrs:
                if network.overlaps(cidr):
                    yield (
                        f"{network} overlaps {cidr} of {peering.peer}, at the other side of "
                        f"{peering.id}: exclude it, or what is there cannot be reached"
                    )


def _unread(peerings: Sequence[Peering]) -> Iterator[str]:
    for peering in peerings:
        for text in peering.unread:
            yield (
                f"{peering.id}: {text!r} of {peering.peer}, at its other side, is no CIDR: whether "
                "networks overlap it was not looked at"
            )


def _notes(seen: Observation, networks: Sequence[Prefix]) -> Iterator[str]:
    counts = Counter(i.instance for i in seen.interfaces if i.instance)
    several = sorted(name for name, count in counts.items() if count > 1 and name)
    if several:
        yield (
            f"{_few(several)}: several interfaces; pods are reached over the "
            "one that has the node's address"
        )
    for network in networks:
        yield from _wider_routes(seen, network)
    inhabited = {i.subnet for i in seen.interfaces if i.instance and not i.device_index}
    without = sorted({s.table for s in seen.subnets} - _tables_of(seen, inhabited))
    if without:
        yield (
            f"{_few(without)}: no instance in their subnets; they get entries as well, so that "
            "pods can be reached from there, such as by load balancers"
        )


def _tables_of(seen: Observation, subnets: Collection[str]) -> set[str]:
    return {subnet.table for subnet in seen.subnets if subnet.id in subnets}


def _wider_routes(seen: Observation, network: Prefix) -> Iterator[str]:
    """What is reached over a route around the network is hidden by it, as far as they overlap."""
    for table in seen.tables:
        for row in table.rows:
            around = row.destination
            if (
                isinstance(around, Prefix)
                and row.origin is not Origin.LOCAL
                and around.length
                and around.contains(network)
                and around != network
            ):
                yield (
                    f"{table.id} has a route for {around} to {row.target}, around {network}: what "
                    "is behind it is not reached at addresses of the network"
                )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def cluster_file(source: AwsSource, networks: Sequence[Prefix]) -> str:
    """A first cluster file, as text."""
    cidrs = ", ".join(f'"{cidr}"' for cidr in networks)
    lines = [f"  kind: aws\n  region: {source.region}\n  vpc: {source.vpc}\n"]
    if source.endpoint:
        lines.append(f'  endpoint: "{source.endpoint}"\n')
    if source.role is not None:
        given = source.role.external_id
        external_id = "" if given is None else f', external_id: "{given}"'
        lines.append(f'  role: {{arn: "{source.role.arn}"{external_id}}}\n')
    return (
        "version: 1\n"
        f"cluster: {source.vpc}\n"
        f"networks: [{{name: pods, cidrs: [{cidrs}]}}]\n"
        f"fabric:\n{''.join(lines)}"
        "nodes: {kubernetes: nodes.json}  # kubectl get nodes -o json > nodes.json\n"
    )
