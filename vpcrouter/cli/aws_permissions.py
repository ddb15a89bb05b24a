"""``vpcrouter aws permissions``: whether what has to be allowed is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ipam.errors import BadInputError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import complain, listing, write
from vpcrouter.cli.source import opened

if TYPE_CHECKING:
    from vpcrouter.fabric.aws.fabric import AwsFabric

_EXAMPLES = """
vpcrouter aws permissions -f cluster.yaml
"""


@documented("Ask AWS whether every change would be allowed, without making one.", _EXAMPLES)
@cluster_option
def command(cluster_file: str | None) -> ExitCode:
    """Send each kind of change once for every route table, as a question only (DryRun).

    What is not allowed is named with its resource; ends with 5 if there is any.
    """
    from vpcrouter.fabric.aws.settings import AwsSource

    with opened(cluster_file) as cluster:
        if not isinstance(cluster.file.fabric.source, AwsSource):
            raise BadInputError(f"{cluster.file.path}: fabric.kind is not aws: nothing to ask")
        fabric = cast("AwsFabric", cluster.fabric)
        seen = fabric.read()
        tables = sorted({subnet.table for subnet in seen.subnets})
        interfaces = sorted(i.id for i in seen.interfaces if i.instance is not None)
        if not interfaces:
            raise BadInputError(f"{seen.vpc}: no instance is there that could be a next hop")
        found = list(fabric.permissions(tables, interfaces[0]))
    rows = [(one.action, one.resource, one.problem or "allowed") for one in found]
    write(listing(("ACTION", "RESOURCE", "ANSWER"), rows))
    for warning in seen.warnings:
        complain(warning)
    denied = [one for one in found if one.problem]
    if denied:
        complain("see 'vpcrouter aws iam-policy' for what has to be allowed")
    return ExitCode.UNAVAILABLE if denied else ExitCode.DONE
