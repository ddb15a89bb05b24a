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
from ipam.store.turnstile import Turnstile


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


def write(path: Path, key: str = "/new", patience: float = 0.2) -> None:
    store = opened(path, patience)
    try:
        assert store.txn([Compare(key, 0)], [Put(key, b"v" * 100)]).succeeded
    finally:
        store.close()


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_reading_a_store_that_is_not_there_creates_nothing(path: Path) -> None:
    assert read(path) == 0
    assert not path.parent.exists()


def test_the_first_write_makes_the_file_and_its_lock_and_nothing_else(path: Path) -> None:
    write(path)
    assert files(path.parent) == ["store.db", "store.db.lock"]
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
    assert files(path.parent) == ["store.db", "store.db.lock"]


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


def test_whoever_gave_up_waiting_for_the_turn_of_another_does_not_stand_in_the_way(
    filled: Path,
) -> None:
    turnstile = Turnstile(filled.with_name("store.db.lock"))
    with turnstile.passed(0) as is_ours:
        assert is_ours
        for _ in range(3):
            with pytest.raises(UnavailableError, match="is locked by another process: wait"):
                write(filled)
        late = threading.Thread(target=lambda: write(filled, "/late", 30))
        late.start()
        time.sleep(0.05)
        assert late.is_alive()
    late.join(10)
    write(filled)
    assert read(filled) == 202


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "removed"])
def test_a_store_that_was_replaced_or_removed_while_in_use_is_not_gone_on_with(
    filled: Path, replaced: bool
) -> None:
    store = opened(filled)
    watch = store.watch("/", store.range("/").revision)
    if replaced:
        shutil.copy(filled, filled.with_name("copy.db"))
        filled.with_name("copy.db").rename(filled)
    else:
        filled.unlink()
    before = files(filled.parent)
    for use in (
        lambda: store.range("/"),
        lambda: store.txn([], [Put("/lost", b"")]),
        lambda: watch.next(5),
    ):
        with pytest.raises(UnavailableError, match="was removed or replaced while it was in use"):
            use()
    assert files(filled.parent) == before
    store.close()


# Copies of a store that is in use.


def test_a_backup_is_the_store_as_it_was_at_one_moment_while_others_write(path: Path) -> None:
    store = opened(path)
    store.txn([], [Put("/first", b"")])
    copy = path.with_name("copy.db")
    stopped = threading.Event()

    def keep_writing() -> None:
        mine, number = opened(path, patience=30), 0
        while not stopped.is_set():
            mine.txn([], [Put(f"/{number}/a", b"x" * 500), Put(f"/{number}/b", b"x" * 500)])
            number += 1
        mine.close()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    while len(store.range("/").items) < 100:
        time.sleep(0.01)
    before = store.range("/").revision
    store.backup(copy)
    after = store.range("/").revision
    stopped.set()
    writer.join()
    store.close()
    backup = opened(copy)
    found = backup.range("/")
    backup.close()
    assert before <= found.revision <= after
    keys = {item.key for item in found.items}
    assert len(keys) == 2 * (found.revision - 1) + 1
    assert all((f"/{n}/a" in keys) == (f"/{n}/b" in keys) for n in range(len(keys)))
    assert copy.stat().st_mode & 0o077 == 0
    write(copy)


def test_a_backup_overwrites_nothing_and_leaves_nothing_else(filled: Path) -> None:
    store = opened(filled)
    store.backup(filled.with_name("copy.db"))
    with pytest.raises(BadInputError, match=r"copy\.db is there already: name another file"):
        store.backup(filled.with_name("copy.db"))
    with pytest.raises(UnavailableError, match=r"away/copy\.db cannot be opened"):
        store.backup(filled.parent / "away" / "copy.db")
    store.close()
    with pytest.raises(BadInputError, match="there is no store at"):
        opened(filled.with_name("none.db")).backup(filled.with_name("other.db"))
    assert files(filled.parent) == ["copy.db", "store.db", "store.db.lock"]
    assert read(filled.with_name("copy.db")) == 200


# Watches.


def test_a_store_is_watched_while_others_write_and_while_it_does_itself(filled: Path) -> None:
    store, other = opened(filled), opened(filled)
    watch = store.watch("/w/", store.range("/").revision)
    threading.Timer(0.05, lambda: write(filled, "/w/other")).start()
    assert [event.key for event in watch.next(20).events] == ["/w/other"]
    store.txn([], [Put("/w/own", b"")])
    assert [event.key for event in watch.next(0).events] == ["/w/own"]
    lease = other.grant(0.1)
    other.txn([], [Put("/w/leased", b"", lease)])
    assert [event.value for event in watch.next(20).events] == [b""]
    assert [event.value for event in watch.next(20).events] == [None]
    assert watch.next(0.02).events == ()
    store.close()
    other.close()


def test_a_store_is_watched_from_before_it_is_made(path: Path) -> None:
    store = opened(path)
    watch = store.watch("/", 0)
    threading.Timer(0.05, lambda: write(path)).start()
    assert [event.key for event in watch.next(20).events] == ["/new"]
    store.close()


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


def test_a_journal_that_fills_the_disk_is_emptied_and_writing_goes_on(mounts: Path) -> None:
    program = """
reader, store = SqliteStore(path), SqliteStore(path)
def work():
    store.txn([], [Put("/same", b"v" * 50)])
    reader.get("/same")
for _ in range(1000):
    try:
        work()
    except UnavailableError as error:
        assert "full" in str(error), error
        break
else:
    raise AssertionError("it was never full")
for _ in range(20):
    work()
"""
    in_namespace(mounts, 'mount -t tmpfs -o size=512k none "$1"', program)


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
assert sorted(entry.name for entry in folder.iterdir()) == ["store.db", "store.db.lock"]
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
