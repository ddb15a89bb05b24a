"""``vpcrouter static grant``: the addresses of a name for a node."""

from __future__ import annotations

from functools import partial

import click

from ipam.errors import ExhaustedError
from ipam.static import grant_static
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import write
from vpcrouter.cli.source import opened

_EXAMPLES = """
vpcrouter static grant web/gateway node-7 -f cluster.yaml
"""


@documented("Grant the addresses of a name to a node.", _EXAMPLES)
@click.argument("name")
@click.argument("node")
@cluster_option
def command(name: str, node: str, cluster_file: str | None) -> ExitCode:
    """Grant the static addresses of NAME, one or one per family, to NODE.

    The node has to be in the subnet in whose prefix they lie. Granting them again changes nothing;
    to move them release them first.
    """
    with opened(cluster_file) as cluster:
        outcome = cluster.change_addresses(partial(grant_static, name=name, node=node))
    if outcome.refused:
        raise ExhaustedError(outcome.refused[0].reason)
    write(f"{name} is granted to {node}; 'vpcrouter apply' brings it into the tables\n")
    return ExitCode.DONE
