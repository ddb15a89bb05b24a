"""From start to exit: what an operator waits for on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure, seconds
from tests.conftest import DATA

PROGRAM = Path(sys.executable).with_name("vpcrouter")
CLUSTER = """\
version: 1
cluster: openb
networks: [{{name: pods, cidrs: [100.64.0.0/10]}}]
fabric: {{kind: simulated, describe: {data}/openb/aws.json}}
nodes: {{kubernetes: {data}/openb/nodes.json}}
"""


def figures() -> Iterator[Figure]:
    """Start-up alone, then the openb cluster where its data is there."""
    yield Figure("vpcrouter --help", seconds(lambda: run("--help")), "s")
    if not (DATA / "openb").is_dir():
        print(f"left out: {DATA / 'openb'} is missing (VPCROUTER_DATA names its parent)")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.yaml"
        file.write_text(CLUSTER.format(data=DATA.resolve()) + f"store: {folder}/store.db\n")
        for command in ("plan", "routes", "nodes", "blocks"):
            time = seconds(partial(run, command, "-f", str(file), "-o", "json"))
            goal = 2.0 if command == "plan" else None
            yield Figure(f"vpcrouter {command} on openb, nothing applied", time, "s", goal)


def run(*arguments: str) -> None:
    """One command; its output is not looked at."""
    subprocess.run(
        [PROGRAM, *arguments],
        stdout=subprocess.DEVNULL,
        check=True,
        env={**os.environ, "LANG": "C"},
    )
