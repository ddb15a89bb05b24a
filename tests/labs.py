"""Labs for tests: made, changed by the command that operators use, and removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cni_nodes import need_nft
from vpcrouter.cli.labs import applying
from vpcrouter.cluster import Cluster
from vpcrouter.lab import processes
from vpcrouter.lab.lab import Lab, remove
from vpcrouter.lab.layout import Size, Zone
from vpcrouter.lab.record import Record
from vpcrouter.model import Snapshot
from vpcrouter.traffic import Traffic

NAME = f"t{os.getpid()}"

apply = applying(lambda _: None)


@contextmanager
def lab(size: Size, folder: Path) -> Iterator[Lab]:
    """A lab that is up; nothing of it is left afterwards."""
    need_nft()
    try:
        made = Lab.begin(NAME, size, folder)
        made.build(apply)
        yield made
    finally:
        remove(NAME, folder)


def snapshot(one: Lab) -> Snapshot:
    """The lab as a plan is made from it."""
    cluster = Cluster.open(one.record.cluster_file)
    try:
        return cluster.present().snapshot
    finally:
        cluster.close()


def forwarding(one: Lab, towards: Zone) -> list[str]:
    """The nodes of a zone that forward for others what comes from the other zones, by name."""
    seen = snapshot(one)
    found = {
        carried.node.name
        for table in seen.route_tables
        if table.id != str(towards.table)
        for carried in Traffic(seen).table(table).forwarding
        if carried.node.subnet == towards.name
    }
    return sorted(found)


def left_over(record: Record) -> list[str]:
    """What there still is of a lab: mounts, processes, its folder."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [
        *(line for line in mounts if f" {record.folder}/" in line),
        *(f"process {pid}" for pid in processes.all_of(record.token)),
        *([str(record.folder)] if record.folder.exists() else []),
    ]


def own_network() -> str:
    """Everything of this network namespace that a lab could have touched."""
    commands = ("ip -d link", "ip -4 rule", "ip -6 rule", "ip route show table all", "ip addr")
    listed = [_output(*command.split()) for command in commands]
    return "\n".join((*listed, _output("nft", "list", "ruleset")))


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
