"""The options that commands share, each with one meaning everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import click

from vpcrouter.cli.formats import Output

F = TypeVar("F", bound=Callable[..., object])

CLUSTER_ENVIRONMENT = "VPCROUTER_CLUSTER"
CLUSTER_DEFAULT = "cluster.yaml"


def documented(short: str, examples: str) -> Callable[[Callable[..., object]], click.Command]:
    """A command with a one-line description for lists and examples at the end of its help."""
    epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
    return click.command(
        short_help=short,
        epilog=epilog,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def output_option(function: F) -> F:
    """``-o table|wide|json|yaml``."""
    return _output_option(Output.TABLE)(function)


def document_option(function: F) -> F:
    """The same for a command whose output is a document unless asked otherwise."""
    return _output_option(Output.JSON)(function)


def _output_option(default: Output) -> Callable[[F], F]:
    return click.option(
        "-o",
        "--output",
        type=click.Choice([output.value for output in Output]),
        default=default.value,
        show_default=True,
        callback=lambda _context, _parameter, value: Output(value),
        help="For people, with more columns if wide, or for programs.",
    )


def cluster_option(function: F) -> F:
    """``-f CLUSTER.yaml``."""
    return click.option(
        "-f",
        "--file",
        "cluster_file",
        metavar="CLUSTER.yaml",
        envvar=CLUSTER_ENVIRONMENT,
        help=f"The cluster file.  [default: ${CLUSTER_ENVIRONMENT}, else ./{CLUSTER_DEFAULT}]",
    )(function)


def snapshot_option(function: F) -> F:
    """``--snapshot FILE``."""
    return click.option(
        "--snapshot",
        "snapshot_file",
        metavar="FILE",
        help="Look at a snapshot file instead of a cluster; - is standard input.",
    )(function)


def source_options(function: F) -> F:
    """Where the state comes from, and how it is printed."""
    return cluster_option(snapshot_option(output_option(function)))


class Slack(click.ParamType[float]):
    """How far above the least possible load a plan may stay: 0.05 is 5 %."""

    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A finite number of at least 0; anything else is a usage error."""
        try:
            slack = float(str(value))
        except ValueError:
            slack = math.nan
        if not 0.0 <= slack < math.inf:
            self.fail(f"{value!r} is not a number of at least 0, such as 0.05", param, ctx)
        return slack


def filter_options(*names: str) -> Callable[[F], F]:
    """``--all`` and the named filters of a listing."""

    def add(function: F) -> F:
        for name in reversed(names):
            function = _FILTERS[name](function)
        return _ALL(function)

    return add


_ALL = click.option("--all", "everything", is_flag=True, help="List every row, however many.")
_FILTERS = {
    "table": click.option("--table", metavar="ID", help="Only this route table."),
    "subnet": click.option("--subnet", metavar="ID", help="Only this subnet."),
    "node": click.option("--node", metavar="NAME", help="Only this node."),
    "family": click.option(
        "--family", type=click.Choice(["ipv4", "ipv6"]), help="Only this family."
    ),
    "kind": click.option(
        "--kind", type=click.Choice(["direct", "aggregate"]), help="Only entries of this kind."
    ),
}
