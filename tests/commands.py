"""Running commands in tests: in this process for speed, or as a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from vpcrouter.cli.process import run

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


class Runner:
    """Runs commands in this process and captures what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return Ended(code, captured.out, captured.err)


def run_as_process(
    *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command as the ``vpcrouter`` script does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "vpcrouter.cli", *map(str, arguments)],
        cwd=REPOSITORY,
        input=stdin,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def is_one_line(text: str) -> bool:
    """Whether an error is what it should be: one line, and no traceback."""
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text
