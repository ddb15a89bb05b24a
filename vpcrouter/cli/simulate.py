"""``vpcrouter simulate``: events replayed against a simulated cluster, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import counted, few, number, paint, write
from vpcrouter.cli.report import say_view
from vpcrouter.cli.source import cluster_path
from vpcrouter.wire.dump import dump_json

if TYPE_CHECKING:
    from vpcrouter.simulate.report import Figures, Spread

_EXAMPLES = """
vpcrouter simulate -f cluster.yaml --events events.csv
vpcrouter simulate -f cluster.yaml --events events.csv -o json

The events file has a header, and a line for each event in time order:
  seconds,event,node,value
  0,join,extra-1,subnet-0a
  60,fail,node-7,
"""


@documented("Replay events against a simulated cluster and measure.", _EXAMPLES)
@cluster_option
@click.option("--events", metavar="FILE", required=True, help="What happens, and when: CSV.")
@output_option
def command(cluster_file: str | None, events: str, output: str) -> ExitCode:
    """Let the cluster live through events and measure what they cost in changes and load.

    It starts with all nodes of the file joined, planned and applied, in memory: neither store nor
    tables are touched. Every promise is checked after every step; ends with 4 when one is broken.
    """
    from vpcrouter.simulate.report import document
    from vpcrouter.simulate.run import simulate

    result = simulate(cluster_path(cluster_file), Path(events))
    figures = result.figures
    write(dump_json(document(figures)) if output == "json" else _text(figures))
    complete = say_view(result.view)
    if figures.violations:
        return ExitCode.BROKEN_PROMISE
    return ExitCode.DONE if complete else ExitCode.UNSERVED


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


def _spread(spread: Spread) -> str:
    return f"{number(spread.mean)} in the mean, {number(spread.worst)} at worst"
