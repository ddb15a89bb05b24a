"""``vpcrouter rebalance``: which nodes, once drained, would bring how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import counted, few, listing, number, write
from vpcrouter.cli.report import say_view
from vpcrouter.cli.source import opened
from vpcrouter.wire.dump import Json

if TYPE_CHECKING:
    from vpcrouter.simulate.rebalance import Advice

_EXAMPLES = """
vpcrouter rebalance -f cluster.yaml
vpcrouter rebalance --most 20 -o json
"""


@documented("Say which nodes, once drained, would bring how much.", _EXAMPLES)
@cluster_option
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Look at no more nodes than that.",
)
@output_option
def command(cluster_file: str | None, most: int, output: Output) -> ExitCode:
    """Say which nodes to drain so that loads become more even; change nothing.

    Addresses in use never change: a node gets others only when it is drained and a new one joins
    in its stead. Which ones are worth it is tried out on a copy of the cluster.
    """
    from vpcrouter.planner import plan
    from vpcrouter.simulate.rebalance import advise
    from vpcrouter.simulate.world import World

    with opened(cluster_file) as cluster:
        view = cluster.planned()
    advice = advise(World.starting(view.state, view.snapshot), most, plan)
    write(output.text(_document(advice)) if output.is_document else _text(advice))
    return ExitCode.DONE if say_view(view) else ExitCode.UNSERVED


def _text(advice: Advice) -> str:
    now = f"The least possible largest load is {number(advice.load)}"
    floor = f"moving nodes cannot bring it below {number(advice.floor)}"
    if not advice.drains:
        tried = f" ({counted(advice.tried, 'node')} tried)" if advice.tried else ""
        return f"{now}, and draining nodes would not lower it{tried}: {floor}.\n"
    rows = []
    total = 0
    for drain in advice.drains:
        total += len(drain.nodes)
        rows.append((f"{total:,}", number(drain.load), few(drain.nodes)))
    return f"{now}; {floor}.\n\n" + listing(("#DRAINED", "#LOAD THEN", "NODES"), rows)


def _document(advice: Advice) -> dict[str, Json]:
    return {
        "load": advice.load,
        "floor": advice.floor,
        "tried": advice.tried,
        "drains": [{"nodes": list(drain.nodes), "load": drain.load} for drain in advice.drains],
    }
