"""``vpcrouter apply``: give new nodes their addresses, then change the tables step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcrouter.cli.bar import Bar, progress_bar
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import Slack, cluster_option, documented, output_option
from vpcrouter.cli.output import complain, counted, few, write
from vpcrouter.cli.plan import ending, make_plan
from vpcrouter.cli.report import plan_report, say_blocked, say_view, step_columns
from vpcrouter.cli.source import cluster_path, opened
from vpcrouter.model import Plan, Snapshot
from vpcrouter.wire.dump import (
    Json,
    plan_document,
    plan_with_snapshot_document,
    step_document,
)

if TYPE_CHECKING:
    from vpcrouter.cluster import Cluster, View
    from vpcrouter.config import Planning
    from vpcrouter.service import (
        Failed,
        Finished,
        Made,
        NotSwitched,
        Progress,
        Removal,
        Switch,
    )

_EXAMPLES = """
vpcrouter apply -f cluster.yaml
vpcrouter apply -f cluster.yaml --dry-run
vpcrouter apply -f cluster.yaml --yes -o json      # for scripts
vpcrouter apply -f cluster.yaml --yes --follow     # until it is stopped
"""


@documented("Change the route tables to what is planned, step by step.", _EXAMPLES)
@cluster_option
@output_option
@click.option(
    "--slack",
    type=Slack(),
    help="How far above the least possible load to stay for the sake of fewer changes, as a share."
    "  [default: the cluster file's]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option(
    "--yes", is_flag=True, help="Answer yes to every question, also whether to remove much."
)
@click.option(
    "--follow",
    is_flag=True,
    help="Keep them as planned until a signal; removes much only if asked.",
)
@click.option(
    "--most",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many entries of a table a pass may delete without being asked."
    "  [default: the cluster file's; 10, or half of all]",
)
def command(
    cluster_file: str | None,
    output: Output,
    slack: float | None,
    most: int | None,
    dry_run: bool,
    yes: bool,
    follow: bool,
) -> ExitCode:
    """Give new nodes their addresses, then change the route tables as 'vpcrouter plan' shows.

    Asks first. Every step is checked right before it is sent: none makes an address unreachable
    or takes a table over its limit. Interrupting is safe at any point: running it again goes on
    from what is there.

    With --follow it goes on: failures are acted on at once, changes once they are quiet, and what
    others change is put right within a minute. SIGTERM and SIGINT end it between two steps. What
    would remove much is then never done: it is said, and waits for an apply without --follow.
    """
    said = _said(slack, most)
    if follow:
        return _follow(cluster_path(cluster_file), said, output, dry_run=dry_run, yes=yes)
    with opened(cluster_file) as cluster:
        planning = said(cluster.file.planning)
        before = cluster.present()
        view = cluster.planned()
        plan = make_plan(view.snapshot, planning.slack)
        if not output.is_document:
            write(plan_report(plan, view.snapshot, step_columns(output)) + membership(before, view))
            write(_checks_report(len(_switches(cluster, view)), "to be switched"))
        if dry_run:
            if output.is_document:
                write(output.text(plan_with_snapshot_document(plan, view.snapshot)))
            return ending(plan, complete=say_view(view))
        question = f"Change the route tables of cluster {cluster.file.cluster}?"
        changes = _changes_anything(before, view, plan) or _switches(cluster, view)
        if not yes and changes and not agreed(question):
            raise NotConfirmedError("not confirmed, nothing was changed: answer y, or give --yes")
        return _apply(cluster, planning, output, yes=yes)


def _said(slack: float | None, most: int | None) -> Callable[[Planning], Planning]:
    """What the cluster file says about planning, with what was said on the command line."""

    def said(planning: Planning) -> Planning:
        if slack is not None:
            planning = replace(planning, slack=slack)
        if most is not None:
            from vpcrouter.config import Ceiling

            planning = replace(planning, ceiling=Ceiling(0.0, most))
        return planning

    return said


def _follow(
    path: Path,
    said: Callable[[Planning], Planning],
    output: Output,
    *,
    dry_run: bool,
    yes: bool,
) -> ExitCode:
    from vpcrouter.cli.follow import follow

    if dry_run:
        raise click.UsageError("--follow and --dry-run exclude each other: give one")
    if not yes and not agreed(f"Keep changing the route tables of {path} as planned?"):
        raise NotConfirmedError("not confirmed, nothing was changed: answer y, or give --yes")
    return follow(path, said, output)


def membership(before: View, after: View) -> str:
    """Which nodes would get their first addresses, and which would lose theirs."""
    had, have = _owners(before), _owners(after)
    joining = sorted(name for name, _ in have - had)
    leaving = sorted(name for name, _ in had - have)
    return "".join(
        f"{counted(len(names), 'node')} {what}: {few(names)}.\n"
        for names, what in ((joining, "to get addresses"), (leaving, "gone, to lose theirs"))
        if names
    )


def agreed(question: str) -> bool:
    """The answer to a question; none, or the end of input, is no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        if not isinstance(error.__context__, EOFError):
            raise KeyboardInterrupt from error
        click.echo(err=True)
        return False


def _changes_anything(before: View, after: View, plan: Plan) -> bool:
    return _owners(before) != _owners(after) or any(table.steps for table in plan.tables)


def _owners(view: View) -> set[tuple[str, str]]:
    return {(owner.name, owner.identity) for owner in view.state.owners()}


def _apply(cluster: Cluster, planning: Planning, output: Output, *, yes: bool) -> ExitCode:
    from vpcrouter.reconcile import means_of
    from vpcrouter.service import Router

    view = cluster.joined()
    run = _Run(view.snapshot, Plan(()))

    def planned(snapshot: Snapshot) -> Plan:
        run.snapshot, run.plan = snapshot, make_plan(snapshot, planning.slack)
        return run.plan

    def confirmed(removals: Sequence[Removal]) -> bool:
        return yes or agreed(f"{few(map(str, removals))}. Is that meant?")

    means = means_of(cluster)
    router = Router(cluster.fabric, cluster.store, means)
    with closing(means.workers), progress_bar() as bar:
        # Before the tables: nothing is sent to a node that may not take it.
        router.checks.run(_switches(cluster, view), means.workers, means.clock)
        run.switched += router.checks.done
        passes = router.run(
            view.snapshot, planned, cluster.route_tables, confirmed, planning.ceiling
        )
        for event in passes:
            run.follow(event, bar)
    write(output.text(run.document()) if output.is_document else run.report())
    return run.ending(complete=say_view(view))


def _switches(cluster: Cluster, view: View) -> tuple[Switch, ...]:
    """The source/destination checks that are not as they should be."""
    from vpcrouter.service import switched_off, wanted

    return wanted(view.snapshot, view.observation.interfaces, switched_off(cluster.store))


def _checks_report(count: int, what: str) -> str:
    return f"{counted(count, 'source/destination check')} {what}.\n" if count else ""


@dataclass(slots=True)
class _Run:
    """What has happened so far, and what it was planned from."""

    snapshot: Snapshot
    plan: Plan
    made: list[Made] = field(default_factory=list)
    switched: list[Switch | NotSwitched] = field(default_factory=list)
    finished: Finished | None = None

    def follow(self, event: Progress, bar: Bar) -> None:
        """Take note of an event and show it."""
        from vpcrouter.service import Finished, Made, Planned

        if isinstance(event, Planned):
            bar.begin(event.steps, again=event.number > 1)
        elif isinstance(event, Made):
            self.made.append(event)
            bar.advance()
        elif isinstance(event, Finished):
            self.finished = event

    @property
    def failed(self) -> tuple[Failed, ...]:
        """What the last pass could not do."""
        return self.finished.failed if self.finished else ()

    @property
    def not_switched(self) -> tuple[NotSwitched, ...]:
        """The checks that could not be switched."""
        from vpcrouter.service import NotSwitched

        return tuple(one for one in self.switched if isinstance(one, NotSwitched))

    def report(self) -> str:
        """What was done, for people."""
        steps = counted(len(self.made), "step")
        settled = self.finished is not None and self.finished.is_settled
        verdict = "the tables are as planned" if settled else "the tables are not as planned yet"
        done = len(self.switched) - len(self.not_switched)
        return _checks_report(done, "switched") + f"Made {steps}, each verified; {verdict}.\n"

    def document(self) -> dict[str, Json]:
        """What was done, for programs; ``summary`` is that of the last plan."""
        from vpcrouter.service import Switch

        return {
            "steps": [{"table": one.table, **step_document(one.step)} for one in self.made],
            "failed": [
                {
                    "table": one.table,
                    "destination": None if one.destination is None else str(one.destination),
                    "code": one.code,
                    "problem": one.problem,
                    "remedy": one.remedy,
                }
                for one in self.failed
            ],
            "checks": [
                {"interface": one.interface, "source_dest_check": one.on}
                for one in self.switched
                if isinstance(one, Switch)
            ],
            "checks_failed": [
                {
                    "interface": one.switch.interface,
                    "code": one.code,
                    "problem": one.problem,
                    "remedy": one.remedy,
                }
                for one in self.not_switched
            ],
            "summary": plan_document(self.plan, self.snapshot)["summary"],
        }

    def ending(self, *, complete: bool) -> ExitCode:
        """The exit code, once what went wrong is said."""
        reasons: dict[str, list[str]] = {}
        for one in self.failed:
            where = one.table if one.destination is None else f"{one.table} {one.destination}"
            reasons.setdefault(str(one), []).append(where)
        for reason, places in reasons.items():
            complain(f"{few(places)}: {reason}")
        if self.not_switched:
            complain(few(map(str, self.not_switched)))
        ended = ending(self.plan, complete=complete)
        if self.finished is not None and self.finished.refused:
            raise NotConfirmedError(f"{few(map(str, self.finished.refused))}: left as they are")
        if self.not_switched or any(one.code for one in self.failed):
            return ExitCode.UNAVAILABLE
        blocked = say_blocked(self.plan, self.snapshot)
        return ExitCode.UNSERVED if self.failed or blocked else ended
