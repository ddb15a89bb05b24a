"""``vpcrouter lab tour``: a forwarder of a real cluster fails, and is replaced."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from ipam.errors import VpcrouterError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import name_option
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import paint, strong, write

if TYPE_CHECKING:
    from vpcrouter.lab.tour import Way

_WIDTH = 100

_EXAMPLES = """
vpcrouter lab tour
vpcrouter lab tour --zones 2 --nodes 3 --pods 1 --quota 6
"""


@documented("Make a lab, fail a forwarder, repair it, and remove it again.", _EXAMPLES)
@click.option("--zones", default=3, show_default=True, help="How many zones.")
@click.option("--nodes", default=8, show_default=True, help="How many nodes each zone has.")
@click.option("--pods", default=4, show_default=True, help="How many pods each node has.")
@click.option("--quota", default=12, show_default=True, help="How many entries a table takes.")
@name_option
def command(zones: int, nodes: int, pods: int, quota: int, name: str) -> ExitCode:
    """Make a lab, reach every pod from every pod, follow a packet, let a forwarder lose its power,
    repair the tables, and start it anew. The lab is removed in the end, whatever happens.
    """
    from vpcrouter.lab.lab import refuse_second, remove

    refuse_second(name)  # one that is there is not ours to remove
    size = ("--zones", zones, "--nodes", nodes, "--pods", pods, "--quota", quota)
    try:
        _call("up", *map(str, size), name=name)
        _tour(name)
    finally:
        _say("That was all. The lab goes:")
        _shown("down", name=name)
        write("The lab is removed.\n" if remove(name) else "There is nothing left.\n")
    return ExitCode.DONE


def _tour(name: str) -> None:
    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.tour import find_way

    _say("Every node has an agent, every pod its addresses. Does every pod reach every other one?")
    _call("ping", "--all", name=name)
    way = find_way(Lab.find(name))
    _say(
        f"The tables take fewer entries than there are nodes, so {way.forwarder} forwards for "
        f"others. This is the way of a packet from {way.source} to {way.target}:"
    )
    _call("explain", way.source, way.target, name=name)
    _say(f"{way.forwarder} loses its power. Who was behind it?")
    _call("break", "node", way.forwarder, name=name)
    _call("ping", "--all", name=name, expected=ExitCode.BROKEN_PROMISE)
    _repair(name, way)
    _say(f"{way.forwarder} starts anew. Its addresses are where they were:")
    _call("heal", "node", way.forwarder, name=name)
    _call("ping", "--all", name=name)
    _call("apply", name=name)
    _call("status", name=name)


def _repair(name: str, way: Way) -> None:
    _say(
        f"Nobody has told the planner. It probes, plans, and moves what led to {way.forwarder}. "
        "Meanwhile pods ping each other:"
    )
    _call("apply", name=name)
    _call("ping", "--all", name=name)


def _say(text: str) -> None:
    write("\n" + paint(textwrap.fill(text, _WIDTH, break_on_hyphens=False), "cyan") + "\n")


def _shown(*arguments: str, name: str) -> None:
    named = () if name == "lab" else ("--name", name)
    write("\n" + strong(f"$ vpcrouter lab {' '.join((*arguments, *named))}") + "\n")


def _call(*arguments: str, name: str, expected: ExitCode = ExitCode.DONE) -> None:
    from vpcrouter.cli.process import run

    _shown(*arguments, name=name)
    code = run(["lab", *arguments, "--name", name])
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code != expected:
        raise VpcrouterError(f"vpcrouter lab {' '.join(arguments)} ended with {code}")
