"""``vpcrouter aws iam-policy``: the least that must be allowed."""

from __future__ import annotations

import json

import click

from ipam.errors import BadInputError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import write
from vpcrouter.cli.source import cluster_path

_EXAMPLES = """
vpcrouter aws iam-policy -f cluster.yaml --account 111122223333 > policy.json
vpcrouter aws iam-policy -f cluster.yaml --table rtb-0a11 --table rtb-0b22
"""


@documented("Print the IAM policy that vpcrouter needs.", _EXAMPLES)
@cluster_option
@click.option("--account", default="*", show_default=True, help="The account's number.")
@click.option(
    "--table", "tables", multiple=True, metavar="ID", help="Let only this table be changed; repeat."
)
@click.option("--discover", is_flag=True, help="Allow what only 'aws discover' looks at, too.")
@click.option("--queue", metavar="ARN", help="Allow events to be taken from this queue.")
def command(
    cluster_file: str | None,
    account: str,
    tables: tuple[str, ...],
    discover: bool,
    queue: str | None,
) -> ExitCode:
    """Print the policy for the VPC of a cluster file, as JSON. Asks nobody.

    Changes are allowed in that VPC only, and to the named tables only where any are named. Without
    the permission to change interfaces the rest works: see docs/aws.md.
    """
    from vpcrouter.config import AwsSource, load_cluster
    from vpcrouter.fabric.arns import Place
    from vpcrouter.fabric.aws.policy import Options, policy

    path = cluster_path(cluster_file)
    source = load_cluster(path).fabric.source
    if not isinstance(source, AwsSource):
        raise BadInputError(f"{path}: fabric.kind is not aws: there is nothing to allow")
    place = Place.of(source.region, account)
    document = policy(place, source.vpc, tables, Options(discover, queue))
    write(json.dumps(document, indent=2) + "\n")
    return ExitCode.DONE
