"""``vpcrouter lab break``: let something fail."""

from __future__ import annotations

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import name_option
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write

_EXAMPLES = """
vpcrouter lab break node b2
vpcrouter lab break agent b2
vpcrouter lab break link b2
vpcrouter lab break store
"""


def checked(kind: str, what: str | None) -> str:
    """The name of what is meant; the store has none."""
    if (kind == "store") != (what is None):
        raise click.UsageError("name a node; the store needs no name")
    return what or ""


@documented("Break a node, an agent, a link or the store.", _EXAMPLES)
@click.argument("kind", type=click.Choice(["node", "agent", "link", "store"]))
@click.argument("what", metavar="[NODE]", required=False)
@name_option
def command(kind: str, what: str | None, name: str) -> ExitCode:
    """Let something fail: a node loses its power, an agent is killed, a cable is cut, the store
    cannot be read or written.

    Nobody is told: 'vpcrouter lab apply' finds out.
    """
    from vpcrouter.lab.lab import Lab

    target = checked(kind, what)
    Lab.find(name).break_(kind, target)
    write(f"{kind} {target}".rstrip() + " is broken.\n")
    return ExitCode.DONE
