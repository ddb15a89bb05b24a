"""``vpcrouter lab status``: what there is, and what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import name_option
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import counted, listing, write

if TYPE_CHECKING:
    from collections.abc import Collection

    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.layout import Machine

_EXAMPLES = """
vpcrouter lab status
"""


@documented("Show what there is, and what is broken.", _EXAMPLES)
@name_option
def command(name: str) -> ExitCode:
    """Show the nodes with their pods and their health, and what has crossed the VPC router."""
    from ipam.errors import UnavailableError
    from vpcrouter.lab.lab import STORE, Lab

    lab = Lab.find(name)
    pods: dict[Machine, list[str]] = {machine: [] for machine in lab.record.layout.machines}
    for one in lab.pods():
        pods[one.pod.machine] += one.addresses
    served: Collection[str] | None = None
    try:
        health = lab.health()
        reached, served = health.reached, health.served
    except UnavailableError:
        reached = lab.reached()
    rows = [
        (
            machine.name,
            machine.zone.name,
            ", ".join(machine.address(family) for family in lab.record.layout.size.families),
            _state(lab, machine),
            "yes" if machine.name in reached else "no",
            "unknown" if served is None else "yes" if machine.name in served else "no",
            ", ".join(addresses),
        )
        for machine, addresses in pods.items()
    ]
    write(listing(("node", "zone", "address", "broken", "answers", "agent", "pods"), rows))
    crossed, again = lab.crossings()
    away = ", and is away" if lab.record.broken(STORE) else ""
    write(
        f"The store is {lab.record.store}{away}. {counted(crossed, 'packet')} of pods crossed the "
        f"VPC router, {again:,} of them twice.\n"
    )
    return ExitCode.DONE


def _state(lab: Lab, machine: Machine) -> str:
    from vpcrouter.lab.lab import AGENT, LINK, NODE

    return ", ".join(
        kind for kind in (NODE, AGENT, LINK) if machine.name in lab.record.broken(kind)
    )
