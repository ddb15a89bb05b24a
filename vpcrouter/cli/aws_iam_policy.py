"""``vpcrouter aws iam-policy``: the least that must be allowed."""

from __future__ import annotations

import json

import click

from ipam.errors import BadInputError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import complain, write
from vpcrouter.cli.source import cluster_path

_EXAMPLES = """
vpcrouter aws iam-policy -f cluster.yaml --account 111122223333 > policy.json
vpcrouter aws iam-policy -f cluster.yaml --table rtb-0a11 --table rtb-0b22
vpcrouter aws iam-policy -f cluster.yaml --caller > caller.json
"""


@documented("Print the IAM policy that vpcrouter needs.", _EXAMPLES)
@cluster_option
@click.option("--account", default="*", show_default=True, help="The account's number.")
@click.option(
    "--table", "tables", multiple=True, metavar="ID", help="Let only this table be changed; repeat."
)
@click.option("--discover", is_flag=True, help="Allow what only 'aws discover' looks at, too.")
@click.option("--queue", metavar="ARN", help="Allow events to be taken from this queue.")
@click.option(
    "--caller", is_flag=True, help="Print what who runs this needs to assume fabric.role."
)
def command(
    cluster_file: str | None,
    account: str,
    tables: tuple[str, ...],
    discover: bool,
    queue: str | None,
    caller: bool,
) -> ExitCode:
    """Print the policy for the VPC of a cluster file, as JSON. Asks nobody.

    Changes are allowed in that VPC only, and to the named tables only where any are named. Without
    the permission to change interfaces the rest works: see docs/aws.md. With fabric.role in the
    cluster file it is the policy of that role.
    """
    from vpcrouter.config import load_cluster
    from vpcrouter.fabric.arns import Place
    from vpcrouter.fabric.aws.policy import Options, assuming, policy
    from vpcrouter.fabric.aws.settings import AwsSource

    path = cluster_path(cluster_file)
    source = load_cluster(path).fabric.source
    if not isinstance(source, AwsSource):
        raise BadInputError(f"{path}: fabric.kind is not aws: there is nothing to allow")
    if caller:
        if source.role is None:
            raise BadInputError(f"{path}: fabric.role is missing: there is no role to assume")
        document = assuming(source.role.arn)
    else:
        place = Place.of(source.region, account)
        document = policy(place, source.vpc, tables, Options(discover, queue))
    write(json.dumps(document, indent=2) + "\n")
    if source.role is not None and not caller:
        complain(f"this is for {source.role.arn}; who assumes it needs what --caller prints")
    return ExitCode.DONE
