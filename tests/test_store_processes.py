"""Several processes on one store, some of them killed: nothing twice, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipam.store.port import Compare, Put
from ipam.store.sqlite import SqliteStore
from tests.conftest import SEED
from tests.counts import examples

ROOT = Path(__file__).parents[1]
STORM = [sys.executable, "-m", "tests.address_storm"]


def on_a_disk_of_its_own(folder: Path, size: str, command: list[str]) -> str:
    """Run a command while a small disk is mounted over the folder, where only it sees that."""
    script = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(folder), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("root")
def test_processes_that_are_killed_lose_nothing_and_own_nothing_twice(tmp_path: Path) -> None:
    processes, kills = examples(test=4, prove=16), examples(test=3, prove=200)
    operations = examples(test=120, prove=100_000)
    numbers = [str(number) for number in (processes, operations, kills, SEED)]
    done = on_a_disk_of_its_own(tmp_path, "400m", [*STORM, str(tmp_path), *numbers])
    assert f"{kills} killed" in done
    sys.stdout.write(done)


@pytest.mark.usefixtures("root")
def test_a_disk_that_fills_up_while_processes_are_killed_loses_nothing_either(
    tmp_path: Path,
) -> None:
    processes, kills = examples(test=4, prove=16), examples(test=3, prove=200)
    operations, size = examples(test=120, prove=100_000), examples(test=4, prove=40)
    numbers = [str(number) for number in (processes, operations, kills, SEED)]
    done = on_a_disk_of_its_own(tmp_path, f"{size}m", [*STORM, str(tmp_path), *numbers, "fill"])
    assert f"disk full {-(-kills // 4)} times" in done
    sys.stdout.write(done)


@contextmanager
def elsewhere(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a program while this one does something."""
    prelude = (
        "import sys; from pathlib import Path; from ipam.store.sqlite import SqliteStore\n"
        "from ipam.store.port import Compare, Put\n"
    )
    command = [sys.executable, "-c", prelude + program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_watch_sees_what_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    watch = store.watch("/w/", 0)
    program = "SqliteStore(Path(sys.argv[1])).txn([], [Put('/w/a', b'1'), Put('/x', b'2')])"
    with elsewhere(program, str(path)):
        found = watch.next(30)
    assert [(event.key, event.value) for event in found.events] == [("/w/a", b"1")]
    store.close()


def test_a_lease_that_another_process_held_ends_when_that_process_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    program = (
        "s = SqliteStore(Path(sys.argv[1])); l = s.grant(0.3)\n"
        "s.txn([], [Put('/held', b'', l)]); print('held', flush=True); time.sleep(60)"
    )
    with elsewhere(program, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
    store = SqliteStore(path)
    found = store.watch("/held", store.range("/held").revision).next(10)
    assert [event.value for event in found.events] == [None]
    assert store.txn([Compare("/held", 0)], [Put("/held", b"")]).succeeded
    store.close()


def test_nobody_starves_while_many_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).txn([], [Put("/start", b"")])
    program = (
        "s = SqliteStore(Path(sys.argv[1]), patience=30)\n"
        "for n in range(100):\n"
        "    s.txn([], [Put(f'/{sys.argv[2]}/{n}', b'x' * 100)])\n"
    )
    command = [
        sys.executable,
        "-c",
        "import sys; from pathlib import Path; from ipam.store.sqlite import SqliteStore\n"
        "from ipam.store.port import Put\n" + program,
        str(path),
    ]
    many = [subprocess.Popen([*command, str(number)], cwd=ROOT) for number in range(4)]
    assert [process.wait() for process in many] == [0] * 4
    assert len(SqliteStore(path).range("/").items) == 401


def test_leases_end_with_the_start_of_the_machine_that_they_were_granted_in(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", clock=lambda: 100.0)
    store.txn([], [Put("/held", b"", store.grant(1000))])
    store.close()
    later = SqliteStore(tmp_path / "store.db", clock=lambda: 1.0, boot=lambda: "another")
    assert later.get("/held") is None
    later.close()
