"""``vpcrouter lab up``: make a lab."""

from __future__ import annotations

import time

import click

from ipam.prefix import Family
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import applying, last_line, name_option, progress
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import counted, write

_EXAMPLES = """
vpcrouter lab up --zones 3 --nodes 8 --pods 4 --quota 12
vpcrouter lab up --zones 2 --nodes 4 --ipv6
"""


@documented("Make a lab: nodes, pods, addresses and route tables.", _EXAMPLES)
@click.option("--zones", default=3, show_default=True, help="How many zones.")
@click.option("--nodes", default=8, show_default=True, help="How many nodes each zone has.")
@click.option("--pods", default=4, show_default=True, help="How many pods each node has.")
@click.option(
    "--quota",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    help="How many entries a route table takes.",
)
@click.option("--ipv6", is_flag=True, help="Pods have IPv6 addresses besides IPv4.")
@name_option
def command(zones: int, nodes: int, pods: int, quota: int, ipv6: bool, name: str) -> ExitCode:
    """Make a cluster in network namespaces: a VPC router, nodes with their agents, and pods.

    Each zone is a subnet with a route table of its own. Addresses are given out, the tables are
    planned and changed, and then pods are started as a container runtime does it. Where this is
    interrupted, 'vpcrouter lab down' removes what there is.
    """
    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.layout import Size

    families = tuple(Family) if ipv6 else (Family.IPV4,)
    begin = time.monotonic()
    with progress() as tell:
        lab = Lab.begin(name, Size(zones, nodes, pods, quota, families), progress=tell)
        shown: list[str] = []
        lab.build(applying(shown.append))
    layout = lab.record.layout
    write(
        f"{counted(len(layout.pods), 'pod')} on {counted(len(layout.machines), 'node')} in "
        f"{counted(zones, 'zone')} after {time.monotonic() - begin:.1f} s. "
        f"{last_line(shown[0])}\n"
        f"The cluster file is {lab.record.cluster_file}.\n"
    )
    return ExitCode.DONE
