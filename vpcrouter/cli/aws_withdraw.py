"""``vpcrouter aws withdraw``: take everything out of the VPC that was put there."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import click

from vpcrouter.cli.apply import agreed
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import complain, counted, few, write
from vpcrouter.cli.source import opened
from vpcrouter.model import Action, BlockColumns, Plan, RouteTable, Snapshot, Step, TablePlan

_EXAMPLES = """
vpcrouter aws withdraw -f cluster.yaml
"""


@documented("Delete every entry of the cluster, and put checks back.", _EXAMPLES)
@cluster_option
@click.option("--yes", is_flag=True, help="Answer yes to the question.")
def command(cluster_file: str | None, yes: bool) -> ExitCode:
    """Delete the cluster's own entries from all tables, and switch checks on where they were.

    No pod of the cluster is reachable through the VPC afterwards. Addresses stay given out: an
    apply brings everything back. Stop 'vpcrouter apply --follow' before.
    """
    from vpcrouter.reconcile import means_of
    from vpcrouter.service import NotSwitched, Router, switched_off, wanted

    with opened(cluster_file) as cluster:
        view = cluster.present()
        means = means_of(cluster)
        with closing(means.workers):
            router = Router(cluster.fabric, cluster.store, means)
            observed = view.snapshot.route_tables
            empty = _without_blocks(router.known(view.snapshot, observed))
            ours = switched_off(cluster.store)
            switches = wanted(empty, view.observation.interfaces, ours)
            count = sum(len(table.entries) for table in empty.route_tables)
            what = f"{counted(count, 'entry', 'entries')}, switch {counted(len(switches), 'check')}"
            if not (count or switches):
                write("Nothing is left of it.\n")
                return ExitCode.DONE
            if not yes and not agreed(f"Delete {what} on? No pod can be reached then."):
                raise NotConfirmedError("not confirmed, nothing was changed")
            plan = Plan(tuple(map(_emptied, empty.route_tables)))
            for _ in router.make(empty, observed, plan, switches, lambda: False):
                pass
    failed = [str(one) for one in router.passed.failed]
    failed += [str(one) for one in router.checks.done if isinstance(one, NotSwitched)]
    write(f"Deleted {counted(router.passed.made, 'entry', 'entries')} of {count:,}.\n")
    if failed:
        complain(few(failed))
    return ExitCode.UNAVAILABLE if failed or router.passed.left else ExitCode.DONE


def _without_blocks(snapshot: Snapshot) -> Snapshot:
    """Nothing is to be reached any more."""
    return replace(
        snapshot, blocks={family: BlockColumns.empty(family) for family in snapshot.blocks}
    )


def _emptied(table: RouteTable) -> TablePlan:
    steps = tuple(
        Step(Action.DELETE, entry.destination, None, entry.interface, "withdrawn")
        for entry in table.entries
    )
    return TablePlan(table.id, (), steps, 0.0, 0.0, 0.0, {}, ())
