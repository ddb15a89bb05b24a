"""``vpcrouter verify``: the present route tables against the promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import documented, source_options
from vpcrouter.cli.output import counted, listing, paint, write
from vpcrouter.cli.plan import make_plan
from vpcrouter.cli.report import families_of, say_unserved
from vpcrouter.cli.source import present
from vpcrouter.model import Plan, Snapshot, Unserved
from vpcrouter.reachability import Violation, violations
from vpcrouter.wire.dump import Json

_EXAMPLES = """
vpcrouter verify -f cluster.yaml
vpcrouter verify --snapshot snapshot.json -o json
"""
_ASSUMED = "R3 (no loop) rests on split horizon, which is assumed: no agent reports it yet"


@documented("Check the present route tables against the promises.", _EXAMPLES)
@source_options
def command(cluster_file: str | None, snapshot_file: str | None, output: Output) -> ExitCode:
    """Check every address and entry of the route tables as they are at present.

    Checked are R1 (every address of every prefix that holds a block is reached), R2 (entries stay
    inside their subnet) and R6 (no table over its limit). Subnets that no plan could serve owe
    nothing and are named on standard error. Ends with 4 when a promise is broken.
    """
    snapshot = present(cluster_file, snapshot_file)
    found = _violations(snapshot, {})
    plan = None
    if found:  # only now does it matter what could be served at all
        plan = make_plan(snapshot, 0.0)
        found = _violations(snapshot, {table.id: table.unserved for table in plan.tables})
    broken = [one for one in found if one.rule.startswith("R")]
    remarks = [one for one in found if one not in broken]
    if output.is_document:
        write(output.text(_document(broken, remarks, plan)))
    else:
        tables = _tables(snapshot, found) if output is Output.WIDE else ""
        write(tables + _text(snapshot, broken, remarks))
    is_unserved = plan is not None and say_unserved(plan)
    if broken:
        return ExitCode.BROKEN_PROMISE
    return ExitCode.UNSERVED if is_unserved else ExitCode.DONE


def _violations(snapshot: Snapshot, unserved: Mapping[str, Sequence[Unserved]]) -> list[Violation]:
    return [
        violation
        for table in snapshot.route_tables
        for violation in violations(snapshot, table, table.entries, unserved.get(table.id, ()))
    ]


def _tables(snapshot: Snapshot, found: Sequence[Violation]) -> str:
    """What was checked and found, table by table."""
    families = families_of(snapshot)
    rows = []
    for table in snapshot.route_tables:
        about = [one.rule.startswith("R") for one in found if one.table == table.id]
        for family in families:
            held = sum(entry.destination.family is family for entry in table.entries)
            room = table.budget.get(family, 0), table.limit.get(family, 0)
            counts = held, *room, sum(about), len(about) - sum(about)
            rows.append((table.id, family.value, *(f"{count:,}" for count in counts)))
    headings = ("TABLE", "FAMILY", "#ENTRIES", "#BUDGET", "#LIMIT", "#BROKEN", "#REMARKS")
    return listing(headings, rows) + "\n"


def _text(snapshot: Snapshot, broken: Sequence[Violation], remarks: Sequence[Violation]) -> str:
    lines = [
        *(paint(str(violation), "red") for violation in broken),
        *(paint(str(remark), "yellow") for remark in remarks),
    ]
    tables = counted(len(snapshot.route_tables), "table")
    entries = counted(sum(len(t.entries) for t in snapshot.route_tables), "entry", "entries")
    verdict = (
        f"{counted(len(broken), 'broken promise')}: run vpcrouter apply"
        if broken
        else "every promise holds"
    )
    return "\n".join([*lines, f"{tables} with {entries} checked: {verdict}", _ASSUMED, ""])


def _document(
    broken: Sequence[Violation], remarks: Sequence[Violation], plan: Plan | None
) -> dict[str, Json]:
    return {
        "violations": [_violation(violation) for violation in broken],
        "remarks": [_violation(remark) for remark in remarks],
        "unserved": [
            {"table": table.id, "subnet": one.subnet, "family": one.family, "reason": one.reason}
            for table in (plan.tables if plan else ())
            for one in table.unserved
        ],
        "assumed": ["R3"],
    }


def _violation(violation: Violation) -> dict[str, Json]:
    about = violation.destination
    return {
        "rule": violation.rule,
        "table": violation.table,
        "destination": None if about is None else str(about),
        "text": violation.text,
    }
