"""Many processes at one store while some are killed and the disk fills up, and what must hold then.

    python -m tests.address_storm FOLDER PROCESSES OPERATIONS KILLS SEED [fill]

Run in a process of its own, so that a test can give it a disk of its own. Fails with an assertion,
or prints how much was done.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from ipam.checking import check
from ipam.claims import Claims
from ipam.prefix import Prefix
from ipam.store.sqlite import SqliteStore
from tests.address_checks import assert_sound
from tests.address_worker import CLUSTER, PODS, open_addresses

ROOT = Path(__file__).parents[1]
_NEVER = 1 << 62


class Worker:
    """A process, and what it has said so far."""

    def __init__(self, path: Path, name: str, seed: int, role: str) -> None:
        self.name, self.role = name, role
        self.lines: list[str] = []
        self.done = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.address_worker", str(path), name, str(seed), role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self.done += line.startswith("done")

    def kill(self) -> None:
        self.process.kill()
        self._finish()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._finish()
        assert self.process.returncode == 0, self.name

    def _finish(self) -> None:
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def said(self) -> Iterator[tuple[str, str, str, int, frozenset[Prefix]]]:
        for line in self.lines:
            what, action, node, at, *held = line.split(" ")
            blocks = frozenset(Prefix.parse(text) for text in held[0].split(",") if text)
            yield what, action, node, int(at), blocks


class Storm:
    """Workers at one store; one that is killed is followed by another one of its role."""

    def __init__(self, folder: Path, processes: int, seed: int) -> None:
        self.path = folder / "store.db"
        self.random = Random(seed)
        self.finished: list[Worker] = []
        roles = ["allocator", "allocator", *["agent"] * max(1, processes // 4)]
        roles += ["command"] * max(1, processes - len(roles))
        self.workers = [self._start(role, number) for number, role in enumerate(roles)]

    def _start(self, role: str, number: int) -> Worker:
        return Worker(self.path, f"{role}{number}", self.random.randrange(1 << 30), role)

    @property
    def done(self) -> int:
        return sum(worker.done for worker in (*self.finished, *self.workers))

    def wait_until(self, done: int) -> None:
        before, since = self.done, time.monotonic()
        while self.done < done:
            if self.done > before:
                before, since = self.done, time.monotonic()
            assert time.monotonic() - since < 90, f"nothing more is done after {before} operations"
            time.sleep(0.01)

    def kill_one(self) -> None:
        position = self.random.randrange(len(self.workers))
        killed = self.workers[position]
        killed.kill()
        self.finished.append(killed)
        number = len(self.finished) + len(self.workers)
        self.workers[position] = self._start(killed.role, number)

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.finished += self.workers
        self.workers = []


class Filler:
    """Takes all that is left of a disk, and gives it back."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "filler"

    def fill(self) -> None:
        with self._file.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def empty(self) -> None:
        self._file.unlink(missing_ok=True)


def assert_nothing_lost_and_nothing_twice(storm: Storm) -> None:
    """What was said against what the store holds now, and what each said against all others."""
    addresses = open_addresses(storm.path)
    now = addresses.load()
    assert_sound(now)
    holding: dict[str, frozenset[Prefix]] = {}
    undecided: set[str] = set()
    for worker in storm.finished:
        for what, action, node, _, blocks in worker.said():
            if what == "start":
                undecided.add(node)
            elif what == "done":
                undecided.discard(node)
                holding[node] = blocks
                if action == "leave":
                    del holding[node]
    commands = {node for node in holding if not node.startswith("agent")}
    assert commands - undecided <= now.nodes.keys()
    strangers = now.nodes.keys() - holding.keys() - undecided
    assert not strangers, strangers
    for node in commands - undecided:
        assert frozenset(now.blocks(node)) == holding[node], node
    for node in holding.keys() - commands - undecided:
        granted = Claims(SqliteStore(storm.path), node, "agent").granted().blocks
        assert set(granted) <= set(now.blocks(node)), node
    assert_no_time_of_two_owners(storm)


def assert_no_time_of_two_owners(storm: Storm) -> None:
    """Nobody was told that it has a block before whoever had it had begun to let go of it."""
    held: defaultdict[Prefix, list[tuple[int, int, str]]] = defaultdict(list)
    for worker in storm.finished:
        since: dict[tuple[str, Prefix], int] = {}
        letting_go: dict[str, int] = {}
        for what, action, node, at, blocks in worker.said():
            mine = {block for name, block in since if name == node}
            if what == "start":
                letting_go[node] = at
                gone = mine - blocks if action == "return" else frozenset[Prefix]()
            elif what == "done":
                gone = mine if action == "leave" else mine - blocks
                since.update({(node, block): at for block in blocks - mine})
            else:
                gone = frozenset()
            for block in gone:
                held[block].append((since.pop((node, block)), letting_go[node], node))
        for (node, block), start in since.items():
            end = letting_go[node] if node in _leaving(worker) else _NEVER
            held[block].append((start, end, node))
    for block, times in held.items():
        for (_, end, one), (start, _, other) in pairwise(sorted(times)):
            assert end <= start or one == other, f"{block} of {one} was told to {other}"


def _leaving(worker: Worker) -> set[str]:
    """Nodes whose departure began and was not said to be done."""
    leaving: set[str] = set()
    for what, action, node, *_ in worker.said():
        if action == "leave":
            leaving.add(node) if what == "start" else leaving.discard(node)
            if what == "failed":
                leaving.add(node)
    return leaving


def assert_nothing_left_behind(path: Path) -> None:
    """No lock, no half-made file, nothing that contradicts itself, and the store takes writes."""
    with path.with_name(path.name + ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not list(path.parent.glob(".*")), "a half-made file is left"
    store = SqliteStore(path, patience=0)
    store.revoke(store.grant(1))
    assert store.problems() == []
    items = ((item.key, item.value) for item in store.range("/").items)
    assert check(items, CLUSTER, (PODS,), {}) == ()
    store.close()


@dataclass(frozen=True, slots=True)
class Course:
    """How long a storm lasts, how many it kills, and whether the disk fills up on the way."""

    processes: int
    operations: int
    kills: int
    seed: int
    fills: bool


def run(folder: Path, course: Course) -> str:
    """Let them work, kill some, fill the disk up in between; then look. What was done, in words."""
    begun = time.monotonic()
    storm, filler = Storm(folder, course.processes, course.seed), Filler(folder)
    times_full = 0
    try:
        for number in range(course.kills):
            storm.wait_until(course.operations * (number + 1) // (course.kills + 1))
            is_full = course.fills and number % 4 == 0
            if is_full:
                filler.fill()
                times_full += 1
                time.sleep(0.2)
            storm.kill_one()
            filler.empty()
        storm.wait_until(course.operations)
        storm.stop()
    finally:
        for worker in storm.workers:
            worker.kill()
    assert_nothing_lost_and_nothing_twice(storm)
    assert_nothing_left_behind(storm.path)
    refused = sum(line.startswith("failed") for one in storm.finished for line in one.lines)
    return (
        f"{storm.done} operations of {course.processes} processes in "
        f"{time.monotonic() - begun:.0f} s, {course.kills} killed, disk full {times_full} times, "
        f"{refused} refused\n"
    )


if __name__ == "__main__":
    processes, operations, kills, seed = map(int, sys.argv[2:6])
    course = Course(processes, operations, kills, seed, fills=sys.argv[6:] == ["fill"])
    sys.stdout.write(run(Path(sys.argv[1]), course))
