"""``vpcrouter lab down``: remove a lab."""

from __future__ import annotations

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import name_option
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write

_EXAMPLES = """
vpcrouter lab down
"""


@documented("Remove the lab with all that belongs to it.", _EXAMPLES)
@name_option
def command(name: str) -> ExitCode:
    """End its processes and remove its namespaces and its folder, however far it came.

    Nothing else is touched. There is nothing to do where there is no lab.
    """
    from vpcrouter.lab.lab import remove

    write("The lab is removed.\n" if remove(name) else "There is no lab.\n")
    return ExitCode.DONE
