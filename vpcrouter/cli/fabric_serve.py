"""``vpcrouter fabric serve``: the simulated VPC over HTTP, for whatever speaks to EC2."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write

if TYPE_CHECKING:
    from vpcrouter.fabric.served.access import Access

_EXAMPLES = """
vpcrouter fabric serve aws.json --port 4599
aws ec2 describe-route-tables --endpoint-url http://127.0.0.1:4599
"""

_DAY = 86_400.0


@documented("Answer on the loopback as EC2 and Service Quotas do.", _EXAMPLES)
@click.argument("describe", metavar="AWS.json")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any free one.")
@click.option("--region", default="us-east-1", show_default=True, help="Whose endpoint it is.")
@click.option("--state", metavar="FILE", help="Keep changed routes in this file, not in memory.")
@click.option("--policy", metavar="FILE", help="Refuse what this IAM policy does not allow.")
@click.option("--role", metavar="ARN", help="Let this role be assumed; the policy is its own then.")
@click.option(
    "--lag", type=click.FloatRange(0, 600), default=0.0, help="Seconds by which reads lag behind."
)
def command(
    describe: str,
    port: int,
    region: str,
    state: str | None,
    policy: str | None,
    role: str | None,
    lag: float,
) -> ExitCode:
    """Serve the VPC that a file of EC2 'describe' output shows, until interrupted.

    It is strict: it enforces quotas, refuses what EC2 refuses, throttles, and knows the calls that
    vpcrouter makes and no others. Any credentials will do.
    """
    from vpcrouter.fabric.clock import SystemClock
    from vpcrouter.fabric.served.account import Account
    from vpcrouter.fabric.served.server import Endpoint, Undisturbed, serving
    from vpcrouter.fabric.simulated_vpc import Behaviour
    from vpcrouter.fabric.tables_file import FileStorage, MemoryStorage

    def storage(vpc: str) -> FileStorage | MemoryStorage:
        return MemoryStorage() if state is None else FileStorage(Path(state), vpc)

    access = _access(None if policy is None else Path(policy), role)
    account = Account.open(Path(describe), storage, SystemClock(), Behaviour(lag=lag))
    with serving(Endpoint(account, region, Undisturbed(), access), port) as url:
        write(f"serving {account.name} at {url} for {region}\n")
        while True:
            time.sleep(_DAY)


def _access(policy: Path | None, role: str | None) -> Access:
    """Who may do what: with a role, who calls may only assume it."""
    from vpcrouter.fabric.served.access import Access, Role
    from vpcrouter.fabric.served.iam import Policy, parse_policy
    from vpcrouter.jsonfile import read_json

    allowed: Policy | None = None
    if policy is not None:
        allowed = parse_policy(read_json(policy, "it should be an IAM policy").fields, str(policy))
    if role is None:
        return Access(allowed, {})
    assuming = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
    return Access(parse_policy({"Statement": assuming}, "--role"), {role: Role(allowed)})
