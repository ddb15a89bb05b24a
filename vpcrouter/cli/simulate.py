"""``vpcrouter simulate``: events replayed against a simulated cluster, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipam.errors import UnavailableError
from vpcrouter.cli.details import UNKNOWN
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import counted, few, listing, number, paint, percent, write
from vpcrouter.cli.report import say_view
from vpcrouter.cli.source import cluster_path

if TYPE_CHECKING:
    from vpcrouter.simulate.report import Compared, Figures, Spread
    from vpcrouter.simulate.run import Simulation

_EXAMPLES = """
vpcrouter simulate -f cluster.yaml --events events.csv
vpcrouter simulate -f cluster.yaml --events events.csv -o json
vpcrouter simulate -f cluster.yaml --events events.csv \\
  --compare static-groups,per-node,merge-only --html report.html

The events file has a header, and a line for each event in time order:
  seconds,event,node,value
  0,join,extra-1,subnet-0a
  60,fail,node-7,
"""


class Schemes(click.ParamType[tuple[str, ...]]):
    """Names of other ways to fill tables, separated by commas."""

    name = "names"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Known names, each at most once; anything else is a usage error."""
        from vpcrouter.simulate.baselines import SCHEMES

        names = tuple(dict.fromkeys(name.strip() for name in str(value).split(",")))
        for name in names:
            if name not in SCHEMES:
                self.fail(f"{name!r} is none of {', '.join(SCHEMES)}", param, ctx)
        return names


@documented("Replay events against a simulated cluster and measure.", _EXAMPLES)
@cluster_option
@click.option("--events", metavar="FILE", required=True, help="What happens, and when: CSV.")
@click.option(
    "--compare",
    type=Schemes(),
    metavar="NAMES",
    help="Other ways to fill the tables, to live through the same: static-groups, per-node, "
    "merge-only, separated by commas.",
)
@click.option("--html", metavar="FILE", help="Write a page with figures and pictures over time.")
@output_option
def command(
    cluster_file: str | None,
    events: str,
    compare: tuple[str, ...] | None,
    html: str | None,
    output: Output,
) -> ExitCode:
    """Let the cluster live through events and measure what they cost in changes and load.

    It starts with all nodes of the file joined, planned and applied, in memory: neither store nor
    tables are touched. Every promise is checked after every step; ends with 4 when one is broken.
    """
    from vpcrouter.simulate.report import comparison_document, document
    from vpcrouter.simulate.run import simulate

    page = _writable(html) if html is not None else None
    path = cluster_path(cluster_file)
    result = simulate(path, Path(events), compare or ())
    figures = result.figures
    if page is not None:
        _write_page(page, path, result)
    if output.is_document:
        found = document(figures)
        if compare:
            found["comparison"] = comparison_document(result.comparison)
        write(output.text(found))
    else:
        broken = _violations(figures) if output is Output.WIDE else ""
        write(_text(figures) + broken + (_compared(result.comparison) if compare else ""))
    complete = say_view(result.view)
    if figures.violations:
        return ExitCode.BROKEN_PROMISE
    return ExitCode.DONE if complete else ExitCode.UNSERVED


def _writable(name: str) -> Path:
    """Where to write a page; refused before anything is simulated if it cannot be a file."""
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise click.BadParameter(
            f"{name!r} cannot be written: name a file in a folder that is there",
            param_hint="'--html'",
        )
    return path


def _write_page(path: Path, cluster: Path, result: Simulation) -> None:
    from vpcrouter.simulate.page import page

    text = page(f"vpcrouter simulate: {cluster}", result.figures, result.comparison, result.history)
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}") from error


def _text(figures: Figures) -> str:
    broken = [str(violation) for _, violation in figures.violations]
    verdict = f"{counted(len(broken), 'broken promise')}: {few(broken)}" if broken else "none"
    rows = (
        ("steps", f"{figures.steps_total:,} ({number(figures.steps_per_event)} per event)"),
        ("largest load", _spread(figures.max_load)),
        ("over the least possible", _spread(figures.max_load_over_least)),
        ("unserved", f"{number(figures.unserved_seconds)} seconds, summed over subnets"),
        ("broken promises", paint(verdict, "red" if broken else "green")),
    )
    return "".join(f"{name + ':':<25}{value}\n" for name, value in rows)


def _violations(figures: Figures) -> str:
    """Every broken promise with the second in which it broke; nothing if there is none."""
    if not figures.violations:
        return ""
    rows = (
        (number(seconds), one.rule, one.table, str(one.destination or UNKNOWN), one.text)
        for seconds, one in figures.violations
    )
    return "\n" + listing(("#SECOND", "RULE", "TABLE", "DESTINATION", "WHAT"), rows)


def _compared(comparison: Sequence[Compared]) -> str:
    headings = (
        "COMPARED",
        "#ENTRIES",
        "#LARGEST LOAD",
        "#AT WORST",
        "#ALL TABLES",
        "#DETOURS",
        "#NOT REACHED",
        "#AT WORST",
        "#CHANGES",
    )
    rows = [
        (
            one.name,
            number(one.entries.worst),
            number(one.max_load.mean),
            number(one.max_load.worst),
            number(one.combined_load.worst),
            percent(one.detour_share.mean),
            percent(one.unreachable_share.mean),
            percent(one.unreachable_share.worst),
            f"{one.changes_total:,}",
        )
        for one in comparison
    ]
    return "\n" + listing(headings, rows)


def _spread(spread: Spread) -> str:
    return f"{number(spread.mean)} in the mean, {number(spread.worst)} at worst"
