"""``vpcrouter lab heal``: undo what was broken."""

from __future__ import annotations

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.lab_break import checked
from vpcrouter.cli.labs import name_option
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write

_EXAMPLES = """
vpcrouter lab heal node b2
vpcrouter lab heal store
"""


@documented("Undo what was broken.", _EXAMPLES)
@click.argument("kind", type=click.Choice(["node", "agent", "link", "store"]))
@click.argument("what", metavar="[NODE]", required=False)
@name_option
def command(kind: str, what: str | None, name: str) -> ExitCode:
    """Bring back what 'vpcrouter lab break' took away: a node starts anew, with new pods."""
    from vpcrouter.lab.lab import Lab

    target = checked(kind, what)
    Lab.find(name).heal(kind, target)
    write(f"{kind} {target}".rstrip() + " is whole again.\n")
    return ExitCode.DONE
