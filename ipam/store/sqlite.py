"""The embedded store: one SQLite file that several processes of one machine read and write.

The file is made by the first write. Until then, and for those who only read, nothing is created.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path

from ipam.errors import UnavailableError
from ipam.store import database
from ipam.store.port import (
    Changes,
    Compare,
    Delete,
    Event,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    TxnResult,
    check_txn,
)
from ipam.store.turnstile import Turnstile

KEPT_REVISIONS = 10_000
"""How many revisions back a watch can start; older changes are forgotten."""

_POLL = 0.005
_LAST = "\U0010ffff"


def boot_clock() -> float:
    """Seconds since this machine started: the same in all its processes, never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Which start of the machine this is: deadlines of an earlier one have passed."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class SqliteStore:
    """A ``Store`` in a file. One object is for one thread at a time.

    ``patience``: how many seconds to wait for another process's lock before UnavailableError.
    """

    def __init__(
        self,
        path: Path,
        patience: float = 5.0,
        clock: Callable[[], float] = boot_clock,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._path = path
        self._patience = patience
        self._clock = clock
        self._boot = boot()
        self._connection: sqlite3.Connection | None = None
        self._file: int | None = None
        self._turnstile = Turnstile(path.with_name(path.name + ".lock"))

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._path)

    @property
    def max_operations(self) -> int:
        """SQLite has no limit; this one bounds memory."""
        return 1_000_000

    def get(self, key: str) -> KeyValue | None:
        """The key, or None."""
        with self._reading() as connection:
            if connection is None:
                return None
            row = connection.execute(f"{_SELECT} WHERE key = ?", (key,)).fetchone()
            found = None if row is None else KeyValue(*row)
            return found if found and self._is_live(connection, found) else None

    def range(self, prefix: str) -> RangeResult:
        """All keys with this prefix, in order, of one moment."""
        with self._reading() as connection:
            if connection is None:
                return RangeResult(0, ())
            rows = connection.execute(
                f"{_SELECT} WHERE key >= ? AND key < ? ORDER BY key", (prefix, prefix + _LAST)
            )
            expired = self._expired(connection)
            items = tuple(starmap(KeyValue, rows))
            if expired:
                items = tuple(item for item in items if item.lease not in expired)
            return RangeResult(_counter(connection, "revision"), items)

    def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Compare and swap."""
        check_txn(compares, operations, self.max_operations)
        with self._writing() as connection:
            self._expire(connection)
            leases = {operation.lease for operation in operations if isinstance(operation, Put)}
            held = all(_mod_revision(connection, c.key) == c.mod_revision for c in compares)
            if not held or not all(_lease_exists(connection, lease) for lease in leases):
                return TxnResult(False, _counter(connection, "revision"))
            return TxnResult(True, _apply(connection, operations))

    def watch(self, prefix: str, after_revision: int) -> SqliteWatch:
        """The changes of a prefix, also those that other processes make."""
        return SqliteWatch(self, prefix, after_revision)

    def compact(self, revision: int) -> None:
        """Forget changes."""
        with self._writing() as connection:
            _compact(connection, min(revision, _counter(connection, "revision")))

    def grant(self, seconds: float) -> int:
        """A new lease."""
        with self._writing() as connection:
            cursor = connection.execute(
                "INSERT INTO leases (seconds, boot, deadline) VALUES (?, ?, ?)",
                (seconds, self._boot, self._clock() + seconds),
            )
            assert cursor.lastrowid is not None  # noqa: S101 - an insert has one
            return cursor.lastrowid

    def keep_alive(self, lease: int) -> bool:
        """Renew a lease."""
        with self._writing() as connection:
            self._expire(connection)
            renewed = connection.execute(
                "UPDATE leases SET deadline = ? + seconds WHERE lease = ?", (self._clock(), lease)
            )
            return renewed.rowcount == 1

    def revoke(self, lease: int) -> None:
        """End a lease."""
        with self._writing() as connection:
            _end(connection, [lease])

    def close(self) -> None:
        """Close the file."""
        self._turnstile.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def backup(self, path: Path) -> None:
        """Copy the store, as it is at one moment, into a file that is not there yet.

        Others go on reading and writing. Raises UnavailableError where it cannot be written, and
        BadInputError where there is no store, or a file already.
        """
        with self._reading() as connection:
            database.copy(connection, self._path, path)

    def problems(self) -> list[str]:
        """What is wrong with the file itself, whatever its records say."""
        with self._reading() as connection:
            return [] if connection is None else database.problems(connection)

    def changes(self, prefix: str, after_revision: int) -> Changes:
        """What a watch asks for: whatever has changed by now."""
        with self._reading() as connection:
            if connection is None:
                return Changes(0, ())
            if not self._expired(connection):
                return _changes(connection, prefix, after_revision)
        with self._writing() as connection:
            self._expire(connection)
            return _changes(connection, prefix, after_revision)

    def stamp(self) -> tuple[int, float] | None:
        """What stays the same as long as nobody else writes to the file, and when a lease ends.

        It costs a fraction of a look for changes. None: the file cannot be watched like this.
        """
        if self._connection is None:
            return None
        try:
            self._check_same_file()
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            row = self._connection.execute("SELECT min(deadline) FROM leases").fetchone()
        except sqlite3.Error as error:
            if database.is_busy(error):
                return None
            raise database.explained(self._path, error) from error
        return int(version), math.inf if row[0] is None else row[0] - self._clock()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """One moment of the store to read from; None if there is no file yet."""
        self._check_same_file()
        connection = self._connection
        if connection is None:
            reading = database.open_for_reading(self._path, self._patience)
            if reading is None:
                yield None
                return
            connection = reading.connection
            if reading.lasting:
                self._keep(connection)
        try:
            with self._transaction(connection, "BEGIN"):
                yield connection
        finally:
            if connection is not self._connection:
                connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._check_same_file()
        if self._connection is None:
            self._keep(database.open_for_writing(self._path, self._patience))
        assert self._connection is not None  # noqa: S101 - it was opened above
        with self._turn(), self._transaction(self._connection, "BEGIN IMMEDIATE"):
            yield self._connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with database.explaining(self._path), self._turnstile.passed(self._patience) as is_ours:
            if not is_ours:
                raise database.locked(self._path)
            yield

    def _keep(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._file = database.file_number(self._path)

    def _check_same_file(self) -> None:
        """Whoever goes on with a file that was replaced writes what nobody reads."""
        if self._connection is not None and database.file_number(self._path) != self._file:
            raise UnavailableError(
                f"store {self._path} was removed or replaced while it was in use: run again, and "
                "stop everything that uses a store before you put another in its place"
            )

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        def attempt() -> None:
            connection.execute(begin)
            try:
                # A transaction that only reads takes its lock here, not when it begins.
                _counter(connection, "revision")
            except sqlite3.Error:
                connection.execute("ROLLBACK")
                raise

        try:
            database.patiently(self._patience, attempt)
            try:
                yield
                database.patiently(self._patience, lambda: connection.execute("COMMIT"))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if database.is_full(error):
                database.make_room(connection)
            raise database.explained(self._path, error) from error

    def _is_live(self, connection: sqlite3.Connection, found: KeyValue) -> bool:
        return found.lease is None or found.lease not in self._expired(connection)

    def _expired(self, connection: sqlite3.Connection) -> frozenset[int]:
        """The leases that have ended; whoever only reads leaves their keys to others to delete."""
        rows = connection.execute(
            "SELECT lease FROM leases WHERE deadline <= ? OR boot <> ?",
            (self._clock(), self._boot),
        )
        return frozenset(lease for (lease,) in rows)

    def _expire(self, connection: sqlite3.Connection) -> None:
        _end(connection, sorted(self._expired(connection)))


class SqliteWatch:
    """The changes of one prefix of a SqliteStore, found by looking again and again."""

    def __init__(self, store: SqliteStore, prefix: str, after_revision: int) -> None:
        self._store = store
        self._prefix = prefix
        self._revision = after_revision

    def next(self, timeout: float) -> Changes:
        """Wait for changes."""
        deadline = time.monotonic() + timeout
        while True:
            stamp = self._store.stamp()
            found = self._store.changes(self._prefix, self._revision)
            self._revision = found.revision
            if found.events or found.compacted or not self._changed(stamp, deadline):
                return found

    def _changed(self, stamp: tuple[int, float] | None, deadline: float) -> bool:
        """Wait until a look may find something; False when the time is over."""
        lapses = time.monotonic() + (stamp[1] if stamp is not None else 0)
        while time.monotonic() < deadline:
            time.sleep(max(0, min(_POLL, deadline - time.monotonic())))
            now = self._store.stamp()
            if stamp is None or now is None or now[0] != stamp[0] or time.monotonic() >= lapses:
                return True
        return False

    def close(self) -> None:
        """Nothing is held."""


_SELECT = "SELECT key, value, create_revision, mod_revision, lease FROM keys"


def _counter(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def _mod_revision(connection: sqlite3.Connection, key: str) -> int:
    row = connection.execute("SELECT mod_revision FROM keys WHERE key = ?", (key,)).fetchone()
    return 0 if row is None else int(row[0])


def _lease_exists(connection: sqlite3.Connection, lease: int | None) -> bool:
    if lease is None:
        return True
    found = connection.execute("SELECT 1 FROM leases WHERE lease = ?", (lease,)).fetchone()
    return found is not None


def _changes(connection: sqlite3.Connection, prefix: str, after_revision: int) -> Changes:
    revision = _counter(connection, "revision")
    if after_revision < _counter(connection, "compacted"):
        return Changes(revision, (), compacted=True)
    if after_revision >= revision:
        return Changes(revision, ())
    rows = connection.execute(
        "SELECT key, value, revision FROM changes"
        " WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, key",
        (after_revision, prefix, prefix + _LAST),
    )
    return Changes(revision, tuple(Event(*row) for row in rows))


def _apply(connection: sqlite3.Connection, operations: Sequence[Operation]) -> int:
    """Do the operations as one revision; answers the revision afterwards."""
    revision = _counter(connection, "revision") + 1
    changed = False
    for operation in operations:
        if isinstance(operation, Delete):
            deleted = connection.execute("DELETE FROM keys WHERE key = ?", (operation.key,))
            if not deleted.rowcount:
                continue
            value = None
        else:
            value = operation.value
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
                " SET value = excluded.value, mod_revision = excluded.mod_revision,"
                " lease = excluded.lease",
                (operation.key, value, revision, revision, operation.lease),
            )
        connection.execute("INSERT INTO changes VALUES (?, ?, ?)", (revision, operation.key, value))
        changed = True
    if not changed:
        return revision - 1
    connection.execute("UPDATE counters SET value = ? WHERE name = 'revision'", (revision,))
    _compact(connection, revision - KEPT_REVISIONS)
    return revision


def _compact(connection: sqlite3.Connection, revision: int) -> None:
    if revision > _counter(connection, "compacted"):
        connection.execute("DELETE FROM changes WHERE revision <= ?", (revision,))
        connection.execute("UPDATE counters SET value = ? WHERE name = 'compacted'", (revision,))


def _end(connection: sqlite3.Connection, leases: Sequence[int]) -> None:
    for lease in leases:
        connection.execute("DELETE FROM leases WHERE lease = ?", (lease,))
        bound = connection.execute("SELECT key FROM keys WHERE lease = ? ORDER BY key", (lease,))
        _apply(connection, [Delete(key) for (key,) in bound.fetchall()])
