"""``vpcrouter topology import``: a topology of Romana as a cluster file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from ipam.errors import BadInputError
from ipam.model import Network
from ipam.romana import Imported, read_romana
from ipam.topology import NamedGroup
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import dump_yaml
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write
from vpcrouter.cli.source import STANDARD_INPUT
from vpcrouter.positioned import MAX_BYTES
from vpcrouter.wire.dump import Json

_EXAMPLES = """
vpcrouter topology import romana.json > cluster.yaml
vpcrouter topology import romana.json --cluster prod --region eu-central-1 --vpc vpc-0123
"""
_HEAD = """\
# Made from a topology of Romana. Its groups are kept one for one; groups beside each other that
# take the same nodes get them in turn, by load.
"""


@documented("Print the cluster file for a topology of Romana.", _EXAMPLES)
@click.argument("file", metavar="FILE")
@click.option("--cluster", default="romana", show_default=True, help="The name of the cluster.")
@click.option("--region", help="Where its VPC is; without it the file names a simulated one.")
@click.option("--vpc", metavar="ID", help="Its VPC.")
def command(file: str, cluster: str, region: str | None, vpc: str | None) -> ExitCode:
    """Print a cluster file with the networks and groups of a topology file of Romana.

    Nothing is dropped: what has no equal here is refused by name, with exit code 2. What such a
    file does not say (where nodes and the VPC are found) is printed as it is most often.
    """
    if (region is None) != (vpc is None):
        raise click.UsageError("--region and --vpc belong together: give both")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", cluster):
        raise click.BadParameter(
            f"{cluster!r}: a name has letters, digits, '.', '_' and '-' only",
            param_hint="'--cluster'",
        )
    fabric: dict[str, Json] = {"kind": "simulated", "describe": "aws.json"}
    if region is not None:
        fabric = {"kind": "aws", "region": region, "vpc": vpc}
    write(cluster_file(read_romana(_read(file), file), cluster, fabric, file))
    return ExitCode.DONE


def cluster_file(imported: Imported, cluster: str, fabric: Mapping[str, Json], source: str) -> str:
    """The text of the cluster file; raises BadInputError where it would be too large for one."""
    document = {
        "version": 1,
        "cluster": cluster,
        "networks": [_network(network) for network in imported.networks],
        "fabric": fabric,
        "nodes": {"kubernetes": "nodes.json"},
    }
    text = _HEAD + "".join(_hosts(imported)) + dump_yaml(document)
    if len(text.encode()) > MAX_BYTES:
        raise BadInputError(
            f"{source}: makes a cluster file of more than {MAX_BYTES:,} bytes: divide it by labels "
            "instead of listing so many groups"
        )
    return text


def _hosts(imported: Imported) -> Iterator[str]:
    """The addresses of hosts, as remarks: here a node is known by its name."""
    if imported.hosts:
        yield "# Addresses of its hosts, which are not needed here:\n"
    for name, address in imported.hosts.items():
        yield f"#   {name} {address}\n"


def _network(network: Network) -> dict[str, Json]:
    (cidr,) = network.cidrs
    fields: dict[str, Json] = {
        "name": network.name,
        "cidrs": [str(cidr)],
        "block": {cidr.family.value: network.block[cidr.family]},
        "node": {cidr.family.value: network.node[cidr.family]},
    }
    if network.tenants:
        fields["tenants"] = list(network.tenants)
    return {**fields, "groups": [_group(group) for group in network.topology.groups]}


def _group(group: NamedGroup) -> dict[str, Json]:
    fields: dict[str, Json] = {"name": group.name}
    if group.hosts:
        fields["hosts"] = list(group.hosts)
    if group.labels:
        fields["labels"] = dict(group.labels)
    if group.groups:
        fields["groups"] = [_group(inner) for inner in group.groups]
    return fields


def _read(name: str) -> str:
    try:
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name}: is not UTF-8: save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BadInputError(f"{name}: cannot be read: {reason}: name a topology file") from error
