"""``vpcrouter aws discover``: what is in a VPC, and a first cluster file for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipam.errors import BadInputError, UnavailableError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import documented, output_option
from vpcrouter.cli.output import complain, counted, few, listing, number, write
from vpcrouter.wire.dump import Json

if TYPE_CHECKING:
    from vpcrouter.fabric.aws.fabric import AwsFabric
    from vpcrouter.fabric.aws.settings import AssumedRole
    from vpcrouter.fabric.firewalls import Firewalls
    from vpcrouter.fabric.peerings import Peering
    from vpcrouter.fabric.port import Observation
    from vpcrouter.survey import SubnetOffer, Survey

_EXAMPLES = """
vpcrouter aws discover --region eu-central-1 --vpc vpc-0123456789abcdef0
vpcrouter aws discover --region eu-central-1 --vpc vpc-0123 --network 100.64.0.0/10 --write c.yaml
"""

_HEADINGS = ("SUBNET", "ZONE", "TABLE", "#INSTANCES", "#FREE IPV4", "#FREE IPV6")


@documented("Show what is in a VPC, and write a first cluster file.", _EXAMPLES)
@click.option("--region", required=True, help="Where the VPC is.")
@click.option("--vpc", required=True, metavar="ID", help="The VPC.")
@click.option("--endpoint", metavar="URL", help="Another endpoint than the region's own.")
@click.option("--role", metavar="ARN", help="Act as this role.")
@click.option("--external-id", metavar="TEXT", help="What the role asks for.")
@click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help="Addresses for pods; repeat."
)
@click.option("--write", "target", metavar="FILE", help="Write a cluster file; never over one.")
@output_option
def command(
    region: str,
    vpc: str,
    endpoint: str | None,
    role: str | None,
    external_id: str | None,
    networks: tuple[str, ...],
    target: str | None,
    output: Output,
) -> ExitCode:
    """Show the subnets of a VPC with their route tables, interfaces and free entries.

    Says what would break an installation as far as it can be seen: networks that overlap the VPC
    or somebody's routes, security groups and network ACLs that do not let the networks through by
    CIDR, and instances with several interfaces.
    """
    from ipam.prefix import Prefix
    from vpcrouter.fabric.aws.fabric import open_aws
    from vpcrouter.fabric.aws.settings import ENDPOINT, REGION, VPC, AwsSource, check_shape
    from vpcrouter.fabric.clock import SystemClock
    from vpcrouter.survey import cluster_file, survey

    if target is not None and not networks:
        raise BadInputError("a cluster file needs networks: give --network CIDR")
    for text, shape in ((region, REGION), (vpc, VPC), (endpoint, ENDPOINT)):
        if text is not None:
            check_shape(text, shape)
    cidrs = [Prefix.parse(text) for text in networks]
    source = AwsSource(region, vpc, endpoint, None, _role(role, external_id))
    fabric = open_aws(source, None, SystemClock())
    seen = fabric.read()
    found = survey(seen, cidrs, _firewalls(fabric), _peerings(fabric))
    if output.is_document:
        write(output.text(_document(seen, found)))
    else:
        offers = _wide(seen, found) if output is Output.WIDE else _listed(found)
        write(_report(seen, found, offers))
    for warning in seen.warnings:
        complain(warning)
    if target is not None:
        _write_new(Path(target), cluster_file(source, cidrs))
        complain(f"{target}: written; name the node list in it, then run vpcrouter plan")
    return ExitCode.UNSERVED if found.problems else ExitCode.DONE


def _role(arn: str | None, external_id: str | None) -> AssumedRole | None:
    from vpcrouter.fabric.aws.settings import EXTERNAL_ID, ROLE, AssumedRole, check_shape

    if arn is None:
        if external_id is not None:
            raise BadInputError("--external-id is for a role: give --role ARN")
        return None
    check_shape(arn, ROLE)
    if external_id is not None:
        check_shape(external_id, EXTERNAL_ID)
    return AssumedRole(arn, external_id, "vpcrouter-discover")


def _listed(found: Survey) -> str:
    return listing(_HEADINGS, map(_cells, found.subnets))


def _wide(seen: Observation, found: Survey) -> str:
    """The same with the subnet's own ranges, and interfaces whose check is on."""
    cidrs = {subnet.id: subnet.cidrs for subnet in seen.subnets}
    checked = Counter(i.subnet for i in seen.interfaces if i.source_dest_check)
    interfaces = Counter(i.subnet for i in seen.interfaces)
    return listing(
        (*_HEADINGS, "#INTERFACES", "#CHECK ON", "CIDRS"),
        (
            (
                *_cells(offer),
                number(interfaces[offer.subnet]),
                number(checked[offer.subnet]),
                few(map(str, cidrs[offer.subnet])),
            )
            for offer in found.subnets
        ),
    )


def _cells(offer: SubnetOffer) -> Sequence[str]:
    counts = map(number, (offer.instances, offer.free_ipv4, offer.free_ipv6))
    return (offer.subnet, offer.zone, offer.table, *counts)


def _firewalls(fabric: AwsFabric) -> Firewalls | None:
    try:
        found, denied = fabric.discovery.firewalls()
        for problem in denied:
            complain(problem)
        return found
    except UnavailableError as error:
        complain(f"{error}; whether packets of pods are let through was not looked at")
        return None


def _peerings(fabric: AwsFabric) -> tuple[Peering, ...]:
    try:
        return fabric.discovery.peerings()
    except UnavailableError as error:
        complain(f"{error}; whether networks overlap the other sides of peerings was not looked at")
        return ()


def _report(seen: Observation, found: Survey, offers: str) -> str:
    lines = [f"VPC {seen.vpc}: {few(map(str, seen.local))}\n", offers]
    lines.append(f"The quota is {seen.quota_source}.\n")
    checked = sum(i.source_dest_check for i in seen.interfaces)
    lines.append(f"{counted(checked, 'interface')} with the source/destination check on.\n")
    lines += [f"Problem: {problem}\n" for problem in found.problems]
    lines += [f"Note: {note}\n" for note in found.notes]
    return "".join(lines)


def _document(seen: Observation, found: Survey) -> dict[str, Json]:
    return {
        "vpc": seen.vpc,
        "cidrs": [str(cidr) for cidr in seen.local],
        "quota_source": seen.quota_source,
        "subnets": [
            {
                "id": s.subnet,
                "zone": s.zone,
                "route_table": s.table,
                "instances": s.instances,
                "free": {"ipv4": s.free_ipv4, "ipv6": s.free_ipv6},
            }
            for s in found.subnets
        ],
        "problems": list(found.problems),
        "notes": list(found.notes),
    }


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInputError(f"{path}: is there already: choose another name") from error
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}") from error
