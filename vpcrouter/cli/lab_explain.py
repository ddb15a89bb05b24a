"""``vpcrouter lab explain``: what the plan says about the way to a pod, and what a packet does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import name_option, target_addresses
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.layout import Pod

_EXAMPLES = """
vpcrouter lab explain a1-p1 c2-p3
"""


@documented("Say where packets to a pod go, and follow one.", _EXAMPLES)
@click.argument("source", metavar="POD")
@click.argument("target", metavar="POD|ADDRESS")
@name_option
def command(source: str, target: str, name: str) -> ExitCode:
    """Say which entry and which nodes lead from one pod to another, as 'vpcrouter explain' does,
    and then follow a packet: each hop is who really passed it on.
    """
    from vpcrouter.cli.process import run
    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.trace import trace

    lab = Lab.find(name)
    pod = lab.record.layout.pod(source)
    code = ExitCode.DONE
    for address in target_addresses(lab, target):
        zone = pod.machine.zone.name
        ended = run(["explain", address, "--from", zone, "-f", str(lab.record.cluster_file)])
        code = code or ExitCode(ended)
        hops = trace(lab.record.space(pod.name), address)
        known = _names(lab, pod)
        names = [f"{known[hop]} ({hop})" if hop in known else _unknown(hop) for hop in hops]
        write(f"A packet from {source}: {' -> '.join(names)}\n")
    return code


def _unknown(hop: str) -> str:
    return "? (says nothing, like a VPC router)" if hop == "?" else hop


def _names(lab: Lab, source: Pod) -> Mapping[str, str]:
    """What has an address, by it."""
    layout = lab.record.layout
    families = layout.size.families
    names = {address: one.pod.name for one in lab.pods() for address in one.addresses}
    names |= {zone.gateway(f): "VPC router" for zone in layout.zones for f in families}
    names |= {machine.address(f): machine.name for machine in layout.machines for f in families}
    return names | {"169.254.1.1": source.machine.name}
