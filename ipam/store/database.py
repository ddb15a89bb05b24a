"""The file behind the SQLite store: made whole or not at all, opened, and its errors explained.

Journal in WAL mode, every commit on disk before it is answered (synchronous FULL). Waiting for a
lock is done here and not by SQLite: its own waiting grows with every attempt, so that with four
writers one of them waits for seconds.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ipam.errors import BadInputError, UnavailableError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x76706372  # "vpcr"

_SCHEMA = """
BEGIN;
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    create_revision INTEGER NOT NULL,
    mod_revision INTEGER NOT NULL,
    lease INTEGER
) WITHOUT ROWID;
CREATE INDEX keys_by_lease ON keys (lease) WHERE lease IS NOT NULL;
CREATE TABLE changes (
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    PRIMARY KEY (revision, key)
) WITHOUT ROWID;
CREATE TABLE leases (
    lease INTEGER PRIMARY KEY AUTOINCREMENT,
    seconds REAL NOT NULL,
    boot TEXT NOT NULL,
    deadline REAL NOT NULL
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('revision', 0), ('compacted', 0);
"""

_PAUSE = 0.0005
_JOURNAL_PAGES = 250  # 1 MiB: a journal of the usual size fills a small disk
_HEADER = 100  # bytes, in every database
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_UNREADABLE_WITHOUT_WRITING = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
)

_SYSTEM = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EROFS: sqlite3.SQLITE_READONLY,
}

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Reading:
    """A connection to read from. ``lasting`` False: only as long as nobody writes to the file."""

    connection: sqlite3.Connection
    lasting: bool


def open_for_reading(path: Path, patience: float) -> Reading | None:
    """A connection to the store in a file; None if there is no such file.

    Where SQLite cannot even read because it may not write beside the file (a read-only or full
    disk), the file is read as it is, provided that no journal with later changes lies beside it.
    Raises UnavailableError, and BadInputError for the database of another program.
    """
    if not _is_there(path):
        return None
    try:
        return Reading(_open(path, "mode=rw", patience), lasting=True)
    except sqlite3.Error as error:
        journal = path.with_name(path.name + "-wal")
        if _code(error) not in _UNREADABLE_WITHOUT_WRITING or _size(journal) > 0:
            raise explained(path, error) from error
    try:
        return Reading(_open(path, "mode=ro&immutable=1", patience), lasting=False)
    except sqlite3.Error as error:
        raise explained(path, error) from error


def open_for_writing(path: Path, patience: float) -> sqlite3.Connection:
    """A connection to the store in a file, which is made if there is none.

    Raises UnavailableError, and BadInputError for the database of another program.
    """
    try:
        if not _is_there(path):
            _make(path)
        return _open(path, "mode=rw", patience)
    except OSError as error:
        raise _cannot_open(path, error) from error
    except sqlite3.Error as error:
        raise explained(path, error) from error


def patiently(patience: float, attempt: Callable[[], Answer]) -> Answer:
    """What an attempt answers, repeated for so many seconds while somebody else has the lock."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn errors of the system about files beside the store into one line."""
    try:
        yield
    except OSError as error:
        raise explained(path, error) from error


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else has the lock."""
    return _code(error) in _BUSY


def is_full(error: sqlite3.Error) -> bool:
    """Whether there was no room on the disk."""
    return _code(error) == sqlite3.SQLITE_FULL


def make_room(connection: sqlite3.Connection) -> None:
    """Empty the journal into the database: on a full disk it may be what fills it."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def locked(path: Path) -> UnavailableError:
    """What to say where others never let go of the lock."""
    return UnavailableError(
        f"store {path} is locked by another process: wait for it, or find it with fuser and stop it"
    )


def file_number(path: Path) -> int | None:
    """Which file lies at a path, None if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def copy(connection: sqlite3.Connection | None, source: Path, path: Path) -> None:
    """Copy a database as it is now into a new file, which is whole or not there.

    Raises UnavailableError, BadInputError where there is nothing to copy or something in the way.
    """
    if connection is None:
        raise BadInputError(f"there is no store at {source}: nothing can be copied")
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        with explaining(path):
            beside.unlink(missing_ok=True)
            os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        target = sqlite3.connect(beside, isolation_level=None)
        try:
            connection.backup(target)
            # Alone and without a journal beside it, so that it can be moved as one file.
            target.execute("PRAGMA journal_mode = DELETE")
            target.execute("PRAGMA journal_mode = WAL")
        finally:
            target.close()
        with explaining(path):
            _sync_file(beside)
            if not _link(beside, path):
                raise BadInputError(f"{path} is there already: name another file")
            _sync_folder(path.parent)
    except sqlite3.Error as error:
        raise explained(path, error) from error
    finally:
        with explaining(path):
            for end in ("", "-wal", "-shm"):
                beside.with_name(beside.name + end).unlink(missing_ok=True)


_CHECKS = (
    (
        "SELECT max(mod_revision) > (SELECT value FROM counters WHERE name = 'revision') FROM keys",
        "keys are of a later revision than the store",
    ),
    (
        "SELECT max(revision) > (SELECT value FROM counters WHERE name = 'revision') FROM changes",
        "changes are of a later revision than the store",
    ),
    (
        "SELECT count(*) > 0 FROM keys WHERE create_revision > mod_revision OR create_revision < 1",
        "keys were changed before they were made",
    ),
    (
        "SELECT count(*) > 0 FROM keys WHERE mod_revision >"
        " (SELECT value FROM counters WHERE name = 'compacted') AND NOT EXISTS (SELECT 1 FROM"
        " changes WHERE changes.revision = mod_revision AND changes.key = keys.key)",
        "keys have changed and no change says so",
    ),
    (
        "SELECT count(*) > 0 FROM keys WHERE lease IS NOT NULL AND lease NOT IN"
        " (SELECT lease FROM leases)",
        "keys have a lease that is not there",
    ),
)


def problems(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with the file: pages that do not fit together, counts that cannot be."""
    rows = connection.execute("PRAGMA integrity_check(20)").fetchall()
    found = [str(row[0]) for row in rows if row[0] != "ok"]
    for query, problem in _CHECKS if not found else ():
        (is_wrong,) = connection.execute(query).fetchone()
        found += [problem] if is_wrong else []
    return found


def explained(path: Path, error: sqlite3.Error | OSError) -> UnavailableError:
    """What an error of SQLite means to the operator, in one line."""
    if isinstance(error, sqlite3.Error):
        code, reason = _code(error), str(error)
    else:
        code = _SYSTEM.get(error.errno or 0, sqlite3.SQLITE_CANTOPEN)
        reason = error.strerror or str(error)
    if code in _BUSY:
        return locked(path)
    if code == sqlite3.SQLITE_FULL or _is_full(path):
        text = "cannot be written, its disk is full: free some space and run again"
    elif code == sqlite3.SQLITE_READONLY or _is_read_only(path):
        text = "cannot be written, its disk or file is read-only: make it writable and run again"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        text = f"is damaged ({reason}): restore it from a backup"
    elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        text = f"cannot be opened ({reason}): check its path and permissions"
    else:
        text = f"cannot be used ({reason}): check its disk"
    return UnavailableError(f"store {path} {text}")


def _open(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{mode}",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        patiently(patience, lambda: _check(path, connection))
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(path: Path, connection: sqlite3.Connection) -> None:
    """Raises UnavailableError or BadInputError unless this is a store of a version we know."""
    if _size(path) < _HEADER:
        raise UnavailableError(f"store {path} is damaged (it is cut off): restore it from a backup")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise BadInputError(f"{path} is a database of another program: name another `store`")
    if version > SCHEMA_VERSION:
        raise UnavailableError(
            f"store {path} is of a newer version ({version}, known is {SCHEMA_VERSION}): "
            "upgrade vpcrouter"
        )
    connection.execute("SELECT value FROM counters").fetchall()


def _make(path: Path) -> None:
    """Make an empty store beside the path and move it there, unless another process was faster.

    A store that is there is thus always whole, and an empty file is never a new store.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    beside.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(beside, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        finally:
            connection.close()
        beside.chmod(0o600)
        if _link(beside, path):
            _sync_folder(path.parent)
    finally:
        for leftover in (
            beside,
            *(beside.with_name(beside.name + end) for end in ("-wal", "-shm")),
        ):
            leftover.unlink(missing_ok=True)


def _link(beside: Path, path: Path) -> bool:
    """Give a file its name; False where another one has it."""
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync_file(path: Path) -> None:
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_open(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"store {path} cannot be opened ({error.strerror}): check its path, permissions and disk"
    )


def _code(error: sqlite3.Error) -> int:
    """The primary result code of an error (extended codes keep it in the low byte)."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def _is_there(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _cannot_open(path, error) from error
    if not stat.S_ISREG(mode):
        raise UnavailableError(
            f"store {path} cannot be opened, it is no file: name another `store`"
        )
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_full(path: Path) -> bool:
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False
