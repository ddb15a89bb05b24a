"""``vpcrouter lab apply``: repair the route tables, and see what that does to packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import applying, name_option
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import counted, few, write

if TYPE_CHECKING:
    from vpcrouter.lab.files import Health
    from vpcrouter.lab.repair import Repair

_EXAMPLES = """
vpcrouter lab apply
"""


@documented("Change the route tables by the nodes' health, and watch.", _EXAMPLES)
@name_option
def command(name: str) -> ExitCode:
    """Find out about the nodes' health, plan, and change the tables.

    A node is healthy that answers a probe; one whose agent holds no lease is spared, and so is one
    whose host routes do not reflect its neighbours' blocks after a few seconds.

    Meanwhile one pod of each node pings every pod of the others: who was reached when it began
    must not lose a ping. Ends with 4 where that is not so, or where pods are still not reached.
    """
    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.repair import repair

    lab = Lab.find(name)
    shown: list[str] = []
    found: list[Health] = []
    done = repair(lab, lambda: found.append(lab.apply(applying(shown.append))))
    write("".join(shown) + spared(found[0]) + report(done))
    return ExitCode.BROKEN_PROMISE if done.others_lost or done.left else ExitCode.DONE


def spared(health: Health) -> str:
    """Who is not to forward for others though they are up, and why."""
    return "".join(
        f"The host routes of {node} are behind, so it is spared: {why}.\n"
        for node, why in sorted(health.behind.items())
    )


def report(done: Repair) -> str:
    """How it went."""
    lines = [f"Took {done.took:.1f} s"]
    others = counted(done.pairs - done.behind, "pair")
    if done.behind:
        back = "" if done.seconds is None else f", the last one after {done.seconds:.1f} s"
        lines.append(
            f"{counted(done.behind, 'pair')} of node and pod did not reach each other before; "
            f"{done.behind - done.left:,} do now{back}"
        )
    lines.append(f"The {others} that did lost {counted(done.others_lost, 'ping')}")
    if done.others:
        lines.append(f"Lost by {few(f'{pair.source} to {pair.address}' for pair in done.others)}")
    return "".join(f"{line}.\n" for line in lines)
