"""``vpcrouter ipam forecast``: which network, place or subnet runs out when."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

import click

from vpcrouter.cli.details import UNKNOWN
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import LISTED, check_known, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, filter_options, output_option
from vpcrouter.cli.output import listing, number, write
from vpcrouter.cli.report import say_view
from vpcrouter.cli.source import opened
from vpcrouter.cli.space import free_fields
from vpcrouter.samples import SAMPLES, history
from vpcrouter.views.forecast import (
    DAY,
    LEAST_SAMPLES,
    Forecast,
    Growth,
    Outlook,
    Place,
    Sample,
    Verdict,
    forecasts,
    forecasts_at,
)
from vpcrouter.views.tree import Kind, trees
from vpcrouter.wire.dump import Json

_EXAMPLES = """
vpcrouter ipam forecast -f cluster.yaml
vpcrouter ipam forecast --since 14
vpcrouter ipam forecast --rate 20 -o json
"""
_YEARS = 10


@documented("Say which network, place or subnet runs out when.", _EXAMPLES)
@cluster_option
@output_option
@filter_options("subnet", "family")
@click.option("--network", metavar="NAME", help="Only this network and what is in it.")
@click.option(
    "--since",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    help="Only samples of so many days until now.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    metavar="NODES",
    help="Instead of samples: so many more nodes a day, spread as those of today.",
)
def command(
    cluster_file: str | None,
    output: Output,
    everything: bool,
    subnet: str | None,
    family: str | None,
    network: str | None,
    since: float | None,
    rate: float | None,
) -> ExitCode:
    """Say how long the room of networks, places and subnets lasts at the present growth.

    The growth comes from samples, which are taken whenever addresses are given out, at most every
    six hours; what runs out first comes first. Without an empty node prefix, new nodes share those
    of others; a subnet that is full takes more of its network first.
    """
    if since is not None and rate is not None:
        raise click.UsageError("--since and --rate exclude each other: give one")
    for option, value in (("--since", since), ("--rate", rate)):
        if value is not None and not math.isfinite(value):
            raise click.BadParameter("should be a finite number", param_hint=f"'{option}'")
    with opened(cluster_file) as cluster:
        view = cluster.present()
        items = cluster.store.range(SAMPLES).items
    check_known("subnet", subnet, view.state.subnets)
    check_known("network", network, (one.name for one in view.state.networks))
    found = trees(view.state, {})
    if rate is not None:
        every = forecasts_at(found, rate)
    else:
        known = history((item.key, item.value) for item in items)
        every = forecasts(found, _recent(known, since))
    rows = [
        one
        for one in every
        if wants(network, one.branch.network)
        and wants(family, one.branch.family.value)
        and (subnet is None or one.branch.subnet == subnet)
    ]
    if output.is_document:
        write(output.text({"forecast": [_document(one) for one in rows]}))
    else:
        write(_text(rows, output, everything=everything or subnet is not None))
    return ExitCode.DONE if say_view(view) else ExitCode.UNSERVED


def _recent(
    known: Mapping[Place, Sequence[Sample]], since: float | None
) -> dict[Place, list[Sample]]:
    """The samples of so many days; never those that lie in the future."""
    now = time.time()
    first = -math.inf if since is None else now - since * DAY
    return {
        place: [sample for sample in series if first <= sample.time <= now]
        for place, series in known.items()
    }


def _text(rows: Sequence[Forecast], output: Output, *, everything: bool) -> str:
    shown = rows if everything else rows[:LISTED]
    headings = ["KIND", "NAME", "FAMILY", "#NODES", "#NODES A DAY", "#FREE NODES", "NODES LAST"]
    headings += ["#FREE BLOCKS", "BLOCKS LAST"]
    if output is Output.WIDE:
        headings += ["#BLOCKS A DAY", "#SAMPLES", "#OVER DAYS", "NETWORK", "PATH"]
    hidden = len(rows) - len(shown)
    hint = f"\n{hidden:,} more: list them with --all, or --subnet ID\n" if hidden else ""
    return listing(headings, (_cells(one, output) for one in shown)) + hint + _remarks(shown)


def _remarks(rows: Iterable[Forecast]) -> str:
    verdicts = {v for one in rows for v in (one.prefixes_last.verdict, one.blocks_last.verdict)}
    if Verdict.TOO_FEW_SAMPLES not in verdicts:
        return ""
    return (
        f"\nIt takes {LEAST_SAMPLES} samples over a day to tell. One is taken when 'vpcrouter "
        "apply' runs, at most every six hours; until then give the growth with --rate.\n"
    )


def _cells(one: Forecast, output: Output) -> Sequence[str]:
    branch = one.branch
    cells = [
        branch.kind.value,
        branch.name,
        branch.family.value,
        f"{branch.nodes:,}",
        _rate(one.nodes),
        f"{branch.free.node_prefixes:,}",
        _lasts(one.prefixes_last),
        f"{branch.free.blocks:,}",
        _lasts(one.blocks_last),
    ]
    if output is Output.WIDE:
        cells += [
            _rate(one.blocks),
            f"{one.samples:,}",
            number(round(one.days, 1)),
            branch.network,
            "/".join(branch.path) or UNKNOWN,
        ]
    return cells


def _rate(growth: Growth | None) -> str:
    return UNKNOWN if growth is None else number(round(growth.per_day, 3))


def _lasts(outlook: Outlook) -> str:
    """How long it lasts, with the range in which that lies."""
    if outlook.days is None:
        return outlook.verdict.value
    if outlook.verdict is Verdict.FULL:
        return "full now"
    if outlook.earliest == outlook.latest:
        return _days(outlook.days)
    latest = "never" if outlook.latest is None else _days(outlook.latest)
    return f"{_days(outlook.days)} ({_days(outlook.earliest or 0.0)} to {latest})"


def _days(days: float) -> str:
    if days > _YEARS * 365:
        return f"over {_YEARS} years"
    if days < 1:
        return "less than a day"
    return f"{round(days):,} day{'' if round(days) == 1 else 's'}"


def _document(one: Forecast) -> dict[str, Json]:
    branch = one.branch
    return {
        "kind": branch.kind.value,
        "name": branch.name,
        "network": branch.network,
        "family": branch.family.value,
        "path": list(branch.path),
        "subnet": branch.subnet,
        "takes_more_when_full": branch.kind is Kind.SUBNET,
        "nodes": branch.nodes,
        "blocks": branch.blocks,
        **free_fields(branch.free),
        "samples": one.samples,
        "sampled_days": one.days,
        "nodes_per_day": _growth(one.nodes),
        "blocks_per_day": _growth(one.blocks),
        "node_prefixes_last": _outlook(one.prefixes_last),
        "blocks_last": _outlook(one.blocks_last),
    }


def _growth(growth: Growth | None) -> Json:
    if growth is None:
        return None
    return {"median": growth.per_day, "least": growth.least, "most": growth.most}


def _outlook(outlook: Outlook) -> Json:
    return {
        "verdict": outlook.verdict.value,
        "days": outlook.days,
        "earliest_days": outlook.earliest,
        "latest_days": outlook.latest,
    }
