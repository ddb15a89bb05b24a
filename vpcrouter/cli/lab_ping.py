"""``vpcrouter lab ping``: pods reach pods, or do not."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

import click

from ipam.errors import BadInputError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.labs import name_option, progress, target_addresses
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import counted, few, write

if TYPE_CHECKING:
    from vpcrouter.lab.lab import Lab
    from vpcrouter.lab.pinger import Answer

_EXAMPLES = """
vpcrouter lab ping --all
vpcrouter lab ping a1-p1 c2-p3
vpcrouter lab ping a1-p1 100.64.3.7
"""


@documented("Ping pods from pods.", _EXAMPLES)
@click.argument("source", metavar="[POD", required=False)
@click.argument("target", metavar="POD|ADDRESS]", required=False)
@click.option("--all", "everybody", is_flag=True, help="Every pod to every other one.")
@name_option
def command(source: str | None, target: str | None, everybody: bool, name: str) -> ExitCode:
    """Ping one pod from another, or every pod from every other one, once.

    Pods of nodes that are off or cut off are left out, and named. Ends with 4 where an answer is
    missing, or where a packet crossed the VPC router twice.
    """
    from vpcrouter.lab.lab import Lab

    if everybody == (source is not None) or (source is None) != (target is None):
        raise click.UsageError("name two pods, or give --all")
    with progress() as tell:
        lab = Lab.find(name, progress=tell)
        before = lab.crossings()[1]
        begin = time.monotonic()
        answers = _one(lab, source, target) if source and target else lab.ping_all()
        took = time.monotonic() - begin
    write(_report(lab, answers, took))
    again = lab.crossings()[1] - before
    if again:
        write(f"{counted(again, 'packet')} crossed the VPC router twice.\n")
    missing = any(answer.seconds is None for answer in answers)
    return ExitCode.BROKEN_PROMISE if missing or again else ExitCode.DONE


def _one(lab: Lab, source: str, target: str) -> list[Answer]:
    from vpcrouter.lab.pinger import Pair

    origin = next(one for one in lab.pods() if one.pod == lab.record.layout.pod(source))
    addresses = target_addresses(lab, target)
    if not origin.addresses:
        raise BadInputError(f"pod {source} does not run: {origin.cut_off}")
    with lab.pinger([origin]) as pinger:
        return pinger.ping([Pair(source, address) for address in addresses])


def _report(lab: Lab, answers: list[Answer], took: float) -> str:
    from vpcrouter.lab.pinger import lost

    missing = lost(answers)
    times = [answer.seconds for answer in answers if answer.seconds is not None]
    lines = [f"{counted(len(answers), 'ping')} in {took:.1f} s, {len(missing):,} lost"]
    if times:
        lines[0] += f"; answered after {1000 * statistics.median(times):.2f} ms (median)"
    owners = {address: one.pod.name for one in lab.pods() for address in one.addresses}
    targets = Counter(owners.get(pair.address, pair.address) for pair in missing)
    lines += [f"Lost on the way to {few(f'{t} ({n:,})' for t, n in targets.most_common())}"]
    reasons = Counter(one.cut_off for one in lab.pods() if one.cut_off)
    if len(answers) > 1:
        lines += [f"Left out {counted(n, 'pod')}: {reason}" for reason, n in reasons.items()]
    return "".join(f"{line}.\n" for line in lines if not line.endswith("to "))
