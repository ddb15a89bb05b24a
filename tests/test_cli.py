"""The command line as a whole: help, exit codes, what is imported, pipes, colours, interruption."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipam.errors import (
    BadInputError,
    ConflictError,
    ExhaustedError,
    UnavailableError,
    VpcrouterError,
)
from tests.commands import REPOSITORY, Runner, is_one_line, run_as_process
from tests.test_cli_plan import after, cluster, planned
from vpcrouter.cli.app import app
from vpcrouter.cli.exits import ExitCode, code_of
from vpcrouter.example import SMALL, write_example

COMMANDS = [
    "plan",
    "apply",
    "snapshot",
    "routes",
    "forwarders",
    "nodes",
    "blocks",
    "topology",
    "ipam",
    "explain",
    "verify",
    "simulate",
    "rebalance",
    "demo",
    "aws",
    "fabric",
    "completion",
]
LOOKING = ["snapshot", "routes", "forwarders", "nodes", "blocks", "verify"]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def settled(command: Runner, tmp_path: Path) -> Path:
    """A snapshot file whose tables are as planned."""
    document = cluster()
    file = tmp_path / "settled.json"
    file.write_text(json.dumps(after(document, planned(command, tmp_path, document))))
    return file


# Help and usage.


def test_the_list_of_commands_is_complete(command: Runner) -> None:
    ended = command("--help")
    assert ended.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(command: Runner, name: str) -> None:
    ended = command(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: vpcrouter {name}" in ended.out
    assert "Examples:" in ended.out
    assert f"vpcrouter {name}" in ended.out.split("Examples:")[1]


def test_without_a_command_the_help_is_shown_as_a_usage_error(command: Runner) -> None:
    ended = command()
    assert ended.code == 2
    assert "Usage: vpcrouter" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["plam"],
        ["plan", "--no-such-option"],
        ["plan", "extra"],
        ["plan", "-o", "xml"],
        ["plan", "-f", "a.yaml", "--snapshot", "b.json"],
        ["explain"],
        ["completion", "powershell"],
        ["routes", "--family", "ipv5"],
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(command: Runner, arguments: list[str]) -> None:
    ended = command(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "--help" in ended.err


def test_without_a_cluster_file_the_way_to_name_one_is_said(
    command: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VPCROUTER_CLUSTER", raising=False)
    ended = command("plan")
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "cluster.yaml" in ended.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_command(command: Runner, shell: str) -> None:
    ended = command("completion", shell)
    assert ended.code == 0
    assert "_VPCROUTER_COMPLETE" in ended.out


def test_completion_answers_with_commands_and_options() -> None:
    asked = {
        "_VPCROUTER_COMPLETE": "bash_complete",
        "COMP_CWORD": "1",
        "COMP_WORDS": "vpcrouter pl",
    }
    assert "plan" in run_as_process(environment=asked).out
    asked |= {"COMP_CWORD": "2", "COMP_WORDS": "vpcrouter routes --ta"}
    assert "--table" in run_as_process(environment=asked).out


# Exit codes.


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInputError("x"), 2),
        (ExhaustedError("x"), 3),
        (UnavailableError("x"), 5),
        (ConflictError("x"), 5),
        (VpcrouterError("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_every_class_of_errors_has_its_exit_code(error: Exception, code: int) -> None:
    assert code_of(error) == code


def test_exit_codes_are_the_documented_ones() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 10, 130, 141]


def test_an_internal_error_is_one_line_and_says_where_the_rest_is(
    command: Runner, settled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("vpcrouter.cli.snapshot.snapshot_document", fail)
    monkeypatch.delenv("VPCROUTER_DEBUG", raising=False)
    ended = command("snapshot", "--snapshot", settled)
    assert (ended.code, ended.out) == (1, "")
    assert is_one_line(ended.err)
    assert "VPCROUTER_DEBUG=1" in ended.err
    monkeypatch.setenv("VPCROUTER_DEBUG", "1")
    ended = command("snapshot", "--snapshot", settled)
    assert ended.code == 1
    assert "Traceback" in ended.err


def test_an_interrupted_command_ends_with_130() -> None:
    # A shell that runs the tests in the background ignores the signal, which children inherit.
    heeded = ["env", "--default-signal=INT"]
    waiting = subprocess.Popen(
        [*heeded, sys.executable, "-m", "vpcrouter.cli", "plan", "--snapshot", "-"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert waiting.stdin is not None
    waiting.stdin.write(b" " * 1_000_000)  # more than a pipe holds: it is reading
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (130, b"")
    assert is_one_line(err.decode())


def test_a_closed_pipe_ends_a_command_quietly(settled: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "vpcrouter.cli", "snapshot", "--snapshot", str(settled)],
            cwd=REPOSITORY,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_said(settled: Path) -> None:
    with Path("/dev/full").open("wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "vpcrouter.cli", "snapshot", "--snapshot", str(settled)],
            cwd=REPOSITORY,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 5
    assert is_one_line(done.stderr.decode())


# What is imported, and how fast.


def imported(*arguments: str | Path) -> set[str]:
    """The modules that a command has imported when it ends."""
    script = (
        "import sys; from vpcrouter.cli.process import run; code = run(sys.argv[1:]); "
        "print('\\n' + '\\n'.join(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("name", LOOKING)
def test_commands_that_do_not_plan_import_no_numpy(settled: Path, name: str) -> None:
    modules = imported(name, "--snapshot", settled)
    assert "vpcrouter.wire.parse" in modules
    assert not modules & {"numpy", "boto3", "pyroute2", "pydantic", "yaml", "rich"}


@pytest.mark.parametrize("name", ["routes", "forwarders", "nodes", "blocks", "snapshot", "verify"])
def test_looking_at_a_cluster_imports_no_numpy(tmp_path: Path, name: str) -> None:
    modules = imported(name, "-f", write_example(tmp_path, SMALL))
    assert "vpcrouter.cluster" in modules
    assert not modules & {"numpy", "boto3", "pyroute2", "rich"}


def test_explaining_imports_no_numpy(settled: Path) -> None:
    modules = imported("explain", "100.64.0.1", "--snapshot", settled)
    assert not modules & {"numpy", "boto3", "pyroute2"}


def test_planning_imports_no_cloud_library(settled: Path) -> None:
    modules = imported("plan", "--snapshot", settled)
    assert "numpy" in modules
    assert not modules & {"boto3", "pyroute2"}


def test_help_imports_no_command() -> None:
    modules = imported("--help")
    assert not {name for name in modules if name.startswith("vpcrouter.")} - {
        f"vpcrouter.cli{module}"
        for module in ("", ".process", ".app", ".exits", ".lazy", ".output")
    }
    assert not modules & {"numpy", "pydantic", "yaml", "rich"}


# Terminals.


def on_a_terminal(*arguments: str | Path, environment: dict[str, str]) -> str:
    """What a command prints where standard output and standard error are a terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vpcrouter.cli", *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment},
    )
    os.close(terminal)
    parts = []
    while select.select([controller], [], [], 20)[0]:
        try:
            part = os.read(controller, 65_536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(controller)
    process.wait(20)
    return b"".join(parts).decode()


def test_colour_appears_on_a_terminal_only(settled: Path, command: Runner) -> None:
    arguments = ["routes", "--snapshot", str(settled)]
    assert "\x1b[" in on_a_terminal(*arguments, environment={})
    assert "\x1b[" not in on_a_terminal(*arguments, environment={"NO_COLOR": "1"})
    assert "\x1b[" not in on_a_terminal(*arguments, environment={"TERM": "dumb"})
    assert "\x1b[" not in command(*arguments).out


def test_applying_shows_a_progress_bar_on_a_terminal_only(
    tmp_path: Path,
) -> None:
    cluster = write_example(tmp_path, SMALL)
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    shown = on_a_terminal("apply", "-f", cluster, "--yes", environment=environment)
    assert "changing tables" in shown
    assert "the tables are as planned" in shown
    ended = run_as_process("apply", "-f", cluster, "--yes", environment=environment)
    assert (ended.code, ended.err) == (0, "")


def test_the_version_is_the_packages(command: Runner) -> None:
    assert app.name == "app"
    ended = command("--version")
    assert ended.code == 0
    assert ended.out.startswith("vpcrouter ")
