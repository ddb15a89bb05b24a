"""Several processes on one store, some of them killed: nothing twice, nothing lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from ipam.store.port import Compare, Put
from ipam.store.sqlite import SqliteStore
from tests.address_checks import assert_sound
from tests.address_worker import open_addresses
from tests.counts import examples

ROOT = Path(__file__).parents[1]


class Worker:
    """A process that takes and releases addresses, and what it has said so far."""

    def __init__(self, path: Path, name: str, seed: int) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.address_worker", str(path), name, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def kill(self) -> None:
        self.process.kill()
        self._finish()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._finish()
        assert self.process.returncode == 0

    def _finish(self) -> None:
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def said(self) -> list[tuple[str, str, str]]:
        words = (line.split() for line in self.lines)
        return [(state, action, node) for state, action, node in words]


def test_processes_that_are_killed_lose_nothing_and_own_nothing_twice(
    tmp_path: Path, seed: int
) -> None:
    path, random = tmp_path / "store.db", Random(seed)
    count, kills = examples(test=3, prove=16), examples(test=4, prove=200)
    workers = [Worker(path, f"w{number}", seed + number) for number in range(count)]
    finished: list[Worker] = []
    for number in range(kills):
        time.sleep(random.uniform(0.1, 0.5))
        position = random.randrange(count)
        workers[position].kill()
        finished.append(workers[position])
        workers[position] = Worker(path, f"again{number}", seed - number)
    time.sleep(0.5)
    for worker in workers:
        worker.stop()
    now = open_addresses(path).load()
    assert_sound(now)
    expected: set[str] = set()
    undecided: set[str] = set()
    for worker in (*finished, *workers):
        for state, action, node in worker.said():
            undecided.add(node) if state == "start" else undecided.discard(node)
            if state == "done" and action == "join":
                expected.add(node)
            elif state == "done" and action == "leave":
                expected.discard(node)
    assert expected
    assert expected - undecided <= now.nodes.keys() <= expected | undecided
    assert not list(tmp_path.glob("*.new"))


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
