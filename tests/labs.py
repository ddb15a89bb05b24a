"""Labs for tests: made, changed by the command that operators use, and removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cni_nodes import need_nft
from vpcrouter.cli.labs import applying
from vpcrouter.lab import processes
from vpcrouter.lab.lab import Lab, remove
from vpcrouter.lab.layout import Size
from vpcrouter.lab.record import Record

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
