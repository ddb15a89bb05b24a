"""``vpcrouter plan``: what would change in the route tables, like a diff; changes nothing."""

from __future__ import annotations

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.memory import hold, uncollected
from vpcrouter.cli.options import Slack, documented, source_options
from vpcrouter.cli.output import write
from vpcrouter.cli.report import (
    plan_report,
    say_blocked,
    say_unserved,
    say_view,
    step_columns,
)
from vpcrouter.cli.source import opened, read_snapshot, refuse_both
from vpcrouter.model import Plan, Snapshot
from vpcrouter.wire.dump import plan_document, plan_with_snapshot_document

_EXAMPLES = """
vpcrouter plan -f cluster.yaml
vpcrouter plan --snapshot snapshot.json --slack 0.05 -o json
vpcrouter plan --exit-code || echo "something would change"
"""


@documented("Show what would change in the route tables.", _EXAMPLES)
@source_options
@click.option(
    "--slack",
    type=Slack(),
    help="How far above the least possible load to stay for the sake of fewer changes, as a share."
    "  [default: the cluster file's; 0 for a snapshot file]",
)
@click.option("--exit-code", is_flag=True, help="End with 10 when something would change.")
def command(
    cluster_file: str | None,
    snapshot_file: str | None,
    output: Output,
    slack: float | None,
    exit_code: bool,
) -> ExitCode:
    """Show what would change in the route tables, like a diff, and change nothing.

    With --snapshot, plan exactly that file. With -f, give nodes that are new their addresses on a
    copy of the store and plan with them; nothing is written.
    """
    refuse_both(cluster_file, snapshot_file)
    if snapshot_file is not None:
        return _plan_file(read_snapshot(snapshot_file), slack or 0.0, output, exit_code)
    return _plan_cluster(cluster_file, slack, output, exit_code)


def _plan_file(snapshot: Snapshot, slack: float, output: Output, exit_code: bool) -> ExitCode:
    plan = make_plan(snapshot, slack)
    write(
        output.text(plan_document(plan, snapshot))
        if output.is_document
        else plan_report(plan, snapshot, step_columns(output))
    )
    return _ending_with_changes(plan, snapshot, exit_code, complete=True)


@uncollected()
def _plan_cluster(
    cluster_file: str | None, slack: float | None, output: Output, exit_code: bool
) -> ExitCode:
    with opened(cluster_file) as cluster:
        view = cluster.planned()
        allowed = cluster.file.planning.slack if slack is None else slack
    snapshot = view.snapshot
    plan = make_plan(snapshot, allowed)
    hold(cluster, view, plan)
    write(
        output.text(plan_with_snapshot_document(plan, snapshot))
        if output.is_document
        else plan_report(plan, snapshot, step_columns(output))
    )
    return _ending_with_changes(plan, snapshot, exit_code, complete=say_view(view))


def make_plan(snapshot: Snapshot, slack: float) -> Plan:
    """The plan for a snapshot; numpy is imported here and by no command that does not plan."""
    from vpcrouter.planner import plan

    return plan(snapshot, slack)


def ending(plan: Plan, *, complete: bool) -> ExitCode:
    """How planning ends; ``complete``: every object of the input is in the plan."""
    return ExitCode.UNSERVED if say_unserved(plan) or not complete else ExitCode.DONE


def _ending_with_changes(
    plan: Plan, snapshot: Snapshot, exit_code: bool, *, complete: bool
) -> ExitCode:
    blocked = say_blocked(plan, snapshot)
    ended = ending(plan, complete=complete and not blocked)
    changes = any(table.steps for table in plan.tables)
    return ExitCode.WOULD_CHANGE if ended is ExitCode.DONE and exit_code and changes else ended
