"""``vpcrouter aws adopt``: take over entries of a former controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipam.errors import BadInputError, ConflictError
from vpcrouter.cli.apply import agreed
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import counted, few, listing, write
from vpcrouter.cli.source import opened

if TYPE_CHECKING:
    from vpcrouter.adoption import Adoption, RouteSpec
    from vpcrouter.cluster import Cluster

_EXAMPLES = """
vpcrouter aws adopt -f cluster.yaml --within 100.96.0.0/11
vpcrouter aws adopt -f cluster.yaml --route-spec routes.json --table rtb-0a11
vpcrouter aws adopt -f cluster.yaml --within 100.96.0.0/11 --yes
"""


@documented("Take over entries of a former controller.", _EXAMPLES)
@cluster_option
@click.option(
    "--within", "ranges", multiple=True, metavar="CIDR", help="Entries inside this; repeat."
)
@click.option(
    "--route-spec", metavar="FILE", help="Entries of this route spec of Romana's vpc-router."
)
@click.option("--table", "tables", multiple=True, metavar="ID", help="Only this table; repeat.")
@click.option("--yes", is_flag=True, help="Answer yes to the question.")
def command(
    cluster_file: str | None,
    ranges: tuple[str, ...],
    route_spec: str | None,
    tables: tuple[str, ...],
    yes: bool,
) -> ExitCode:
    """Record entries that somebody else has made as this cluster's own. Changes no table.

    Shows them first and asks. From then on plans treat them as their own: what no block needs is
    deleted by the next apply, and what has no address of this cluster behind it is not needed.
    Stop the former controller before. Entries to gateways, and propagated ones, are never taken.
    """
    from ipam.prefix import Prefix
    from vpcrouter.adoption import adoption

    if not (ranges or route_spec):
        raise BadInputError("nothing is named: give --within CIDR, or --route-spec FILE")
    within = [Prefix.parse(text) for text in ranges]
    spec = None if route_spec is None else _read_spec(Path(route_spec))
    with opened(cluster_file) as cluster:
        found = adoption(cluster.fabric.read(), cluster.records(), within, tables, spec)
        write(_report(found))
        if not found.records:
            return ExitCode.DONE
        question = f"Take over {counted(len(found.records), 'entry', 'entries')}?"
        if not yes and not agreed(question):
            raise NotConfirmedError("not confirmed, nothing was changed: answer y, or give --yes")
        _record(cluster, found)
    count = counted(len(found.records), "entry", "entries")
    write(f"Took over {count}; see 'vpcrouter plan' for what becomes of them.\n")
    return ExitCode.DONE


def _read_spec(path: Path) -> RouteSpec:
    from vpcrouter.adoption import parse_route_spec

    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}: name a file") from error
    return parse_route_spec(content, str(path))


def _report(found: Adoption) -> str:
    rows = [(one.table, str(one.destination), one.interface or "") for one in found.records]
    headings = ("TABLE", "DESTINATION", "INTERFACE")
    text = listing(headings, rows) if rows else "Nothing to take over.\n"
    reasons: dict[str, list[str]] = {}
    for problem in found.left:
        reasons.setdefault(problem.reason, []).append(problem.name)
    return text + "".join(f"{few(names)}: {reason}\n" for reason, names in reasons.items())


def _record(cluster: Cluster, found: Adoption) -> None:
    from ipam.store.port import Compare, Put
    from vpcrouter.ownership import encode_route, route_key

    for one in found.records:
        key = route_key(one.table, one.destination)
        put = Put(key, encode_route(one))
        if not cluster.store.txn([Compare(key, 0)], [put]).succeeded:
            raise ConflictError(f"{key} was changed meanwhile: run it again")
