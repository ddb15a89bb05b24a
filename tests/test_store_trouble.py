"""A store file in trouble: one clear error, nothing lost, nothing half written, nothing created."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ipam.errors import BadInputError, UnavailableError
from ipam.store.port import Compare, Put
from ipam.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


@pytest.fixture
def filled(path: Path) -> Path:
    """A store with 200 keys, closed."""
    store = SqliteStore(path)
    store.txn([], [Put(f"/{number:03}", b"v" * 100) for number in range(200)])
    store.close()
    return path


def opened(path: Path, patience: float = 0.2) -> SqliteStore:
    return SqliteStore(path, patience=patience)


def read(path: Path) -> int:
    store = opened(path)
    try:
        return len(store.range("/").items)
    finally:
        store.close()


def write(path: Path, key: str = "/new") -> None:
    store = opened(path)
    try:
        assert store.txn([Compare(key, 0)], [Put(key, b"v" * 100)]).succeeded
    finally:
        store.close()


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_reading_a_store_that_is_not_there_creates_nothing(path: Path) -> None:
    assert read(path) == 0
    assert not path.parent.exists()


def test_the_first_write_makes_the_file_and_only_that(path: Path) -> None:
    write(path)
    assert files(path.parent) == ["store.db"]
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert read(path) == 1


def test_a_write_that_loses_makes_a_store_that_is_whole(path: Path) -> None:
    store = opened(path)
    assert not store.txn([Compare("/a", 7)], [Put("/a", b"")]).succeeded
    store.close()
    assert read(path) == 0


def test_two_who_make_it_at_once_use_the_same(path: Path) -> None:
    threads = [threading.Thread(target=write, args=(path, f"/{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(path) == 8
    assert files(path.parent) == ["store.db"]


def test_a_locked_store_can_be_read_but_not_written(filled: Path) -> None:
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert read(filled) == 200
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="is locked by another process: wait"):
        write(filled)
    assert time.monotonic() - start >= 0.2
    other.execute("ROLLBACK")
    write(filled)
    other.close()


def test_a_store_that_somebody_uses_alone_is_locked_for_all(filled: Path) -> None:
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    for action in (read, write):
        with pytest.raises(UnavailableError, match="is locked by another process: wait"):
            action(filled)
    other.close()
    assert read(filled) == 200


@pytest.mark.parametrize("size", [0, 1, 99, 100, 1024, 4096, 4097, 12288])
def test_a_truncated_store_is_named_and_left_as_it_is(filled: Path, size: int) -> None:
    assert filled.stat().st_size > size
    os.truncate(filled, size)
    before = filled.read_bytes()
    for action in (read, write):
        with pytest.raises(UnavailableError, match=r"store\.db is damaged .*restore it from a b"):
            action(filled)
    assert filled.read_bytes() == before


@pytest.mark.parametrize(
    "garbage",
    [bytes(5000), b"not a database\n" * 500, bytes(range(256)) * 40],
    ids=["zeros", "text", "bytes"],
)
def test_garbage_is_no_store(path: Path, garbage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(garbage)
    for action in (read, write):
        with pytest.raises(UnavailableError, match=r"store\.db is damaged"):
            action(path)
    assert path.read_bytes() == garbage


def test_a_store_of_a_newer_version_is_left_to_it(filled: Path) -> None:
    connection = sqlite3.connect(filled, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = filled.read_bytes()
    for action in (read, write):
        with pytest.raises(UnavailableError, match=r"newer version \(99, known is 1\): upgrade"):
            action(filled)
    assert filled.read_bytes() == before


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    for action in (read, write):
        with pytest.raises(BadInputError, match="database of another program"):
            action(path)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    for action in (read, write):
        with pytest.raises(UnavailableError, match="cannot be opened"):
            action(tmp_path)


def test_a_file_in_place_of_its_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for action in (read, write):
        with pytest.raises(UnavailableError, match="cannot be opened"):
            action(tmp_path / "file" / "store.db")


def test_a_process_that_is_killed_leaves_all_that_was_answered(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ipam.store.sqlite import SqliteStore;"
        "from ipam.store.port import Put; s = SqliteStore(Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    s.txn([], [Put(f'/{n}/a', b'x'), Put(f'/{n}/b', b'x')]); print(n, flush=True); n += 1"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(50)]
        process.kill()
        seen += [int(line) for line in process.stdout if line.endswith("\n")]
    store = opened(path)
    keys = {item.key for item in store.range("/").items}
    assert {f"/{number}/{part}" for number in seen for part in "ab"} <= keys
    assert all((f"/{n}/a" in keys) == (f"/{n}/b" in keys) for n in range(len(seen) + 2))
    write(path)
    store.close()


# Disks that are full or read-only, in a mount namespace of their own.

_PRELUDE = """
import os, sys
from pathlib import Path
from ipam.errors import UnavailableError
from ipam.store.port import Put
from ipam.store.sqlite import SqliteStore
folder = Path(sys.argv[1])
path = folder / "store.db"
def read():
    store = SqliteStore(path, patience=0.2)
    count = len(store.range("/").items)
    store.close()
    return count
def write(key, size=100):
    store = SqliteStore(path, patience=0.2)
    try:
        store.txn([], [Put(key, b"v" * size)])
    finally:
        store.close()
def refused(action, *arguments):
    try:
        action(*arguments)
    except UnavailableError as error:
        return str(error)
    raise AssertionError("it was not refused")
"""


@pytest.fixture
def mounts(root: None, tmp_path: Path) -> Path:  # noqa: ARG001 - asks for it
    """A folder to mount over; skips where mount namespaces are not allowed."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (Debian package util-linux)")
    allowed = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if allowed.returncode:
        pytest.skip("needs to mount in a private namespace, which is not allowed here")
    return tmp_path


def in_namespace(folder: Path, mount: str, program: str) -> None:
    """Run a program in a mount namespace after some mount commands on ``$1``."""
    script = f'set -e; {mount}; exec {sys.executable} -c "$2" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(folder), _PRELUDE + program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr


def test_a_full_disk_is_named_and_loses_nothing(mounts: Path) -> None:
    program = """
write("/first")
number = 0
while True:
    try:
        write(f"/{number}", 3000)
    except UnavailableError as error:
        assert "full" in str(error) and "store.db" in str(error), error
        break
    number += 1
assert number > 5, number
assert read() == number + 1, (read(), number)
assert "full" in refused(write, "/more", 30_000)
assert read() == number + 1
filler = folder / "filler"
with open(filler, "wb", buffering=0) as file:
    try:
        while file.write(b"x" * 512): pass
    except OSError: pass
assert os.statvfs(folder).f_bavail == 0
assert "full" in refused(write, "/more", 3000)
assert read() == number + 1
filler.unlink()
"""
    in_namespace(mounts, 'mount -t tmpfs -o size=256k none "$1"', program)


def test_on_a_disk_without_room_for_a_store_none_is_made(mounts: Path) -> None:
    program = """
(folder / "filler").write_bytes(b"x" * 4096 * 3)
message = refused(write, "/first")
assert "full" in message, message
assert read() == 0
assert [entry.name for entry in folder.iterdir()] == ["filler"]
"""
    in_namespace(mounts, 'mount -t tmpfs -o size=16k none "$1"', program)


def test_a_read_only_disk_can_be_read_and_is_named_when_written(mounts: Path) -> None:
    store = SqliteStore(mounts / "store.db")
    store.txn([], [Put("/first", b"")])
    store.close()
    program = """
assert read() == 1
message = refused(write, "/second")
assert "read-only" in message and "store.db" in message, message
assert read() == 1
assert [entry.name for entry in folder.iterdir()] == ["store.db"]
"""
    in_namespace(mounts, 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"', program)


def test_on_a_read_only_disk_no_store_is_made(mounts: Path) -> None:
    program = """
assert read() == 0
message = refused(write, "/first")
assert "ead-only" in message and "store.db" in message, message
"""
    in_namespace(mounts, 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"', program)


def test_a_journal_that_cannot_be_read_in_on_a_read_only_disk_is_not_passed_over(
    mounts: Path,
) -> None:
    """A writer that was killed left its last changes in the journal: they must not be missed."""
    store = SqliteStore(mounts / "store.db")
    store.txn([], [Put("/first", b"")])
    for end in ("", "-wal"):
        shutil.copy(mounts / f"store.db{end}", mounts / f"left.db{end}")
    store.close()
    program = """
path = folder / "left.db"
try:
    assert read() == 1
except UnavailableError as error:
    assert "left.db" in str(error)
"""
    in_namespace(mounts, 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"', program)
