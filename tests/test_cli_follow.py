"""``vpcrouter apply --follow`` as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clusters import Files
from tests.commands import REPOSITORY, Runner, is_one_line


@contextmanager
def following(files: Files, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "vpcrouter.cli", "apply", "-f", str(files.cluster)]
    with subprocess.Popen(
        [*command, "--follow", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    """The lines up to the first one with this text."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"ended without {text!r}: {lines}, {process.communicate()[1]}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_settles_reacts_and_ends_at_a_signal(tmp_path: Path, number: int) -> None:
    files = Files(tmp_path)
    with following(files, "--yes") as process:
        lines = until(process, "settled: ")
        assert any(": create 100." in line for line in lines)
        files.edit_nodes(lambda items: items[0]["status"].update(conditions=[]))
        assert any(": replace 100." in line for line in until(process, "settled: "))
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")


def test_programs_read_a_document_in_each_line(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with following(files, "--yes", "-o", "json") as process:
        events = [json.loads(line) for line in until(process, '"settled"')]
    assert {event["event"] for event in events} == {"made", "settled"}
    assert all("time" in event for event in events)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


def test_without_a_yes_it_does_not_begin(
    command: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        ended = command("apply", "-f", files.cluster, "--follow")
    assert ended.code == 6
    assert not files.store.exists()
    both = command("apply", "-f", files.cluster, "--follow", "--dry-run")
    assert both.code == 2
    assert is_one_line(both.err)
