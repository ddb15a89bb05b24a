"""The SQLite file in which a node keeps its addresses: opened by one process, of one node.

Its journal is synchronized by ``sync`` alone; what a power cut leaves of it is whole transactions.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipam.errors import BadInputError, UnavailableError

_SCHEMA_VERSION = 3
_SCHEMA = """
BEGIN;
CREATE TABLE node (identity TEXT NOT NULL, boot TEXT NOT NULL);
CREATE TABLE blocks (prefix TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE endpoints (
    container TEXT NOT NULL,
    ifname TEXT NOT NULL,
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    ipv4 TEXT UNIQUE,
    ipv6 TEXT UNIQUE,
    mode TEXT NOT NULL DEFAULT 'veth',
    PRIMARY KEY (container, ifname)
);
CREATE TABLE resting (
    address TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    since REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE networks (key TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
"""
_UPGRADES = {
    1: """
BEGIN;
CREATE TABLE networks (key TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
""",
    2: """
BEGIN;
ALTER TABLE endpoints ADD COLUMN mode TEXT NOT NULL DEFAULT 'veth';
""",
}
"""What leads from a version to the next."""


class Disk:
    """The file. ``sync`` is for any number of threads, all else for one at a time.

    ``identity`` is that of the node: the file of another one is refused. ``boot`` is this start of
    the machine, and ``now`` the time since: of an earlier one no endpoints are left, and their
    addresses rest from now on, as do those that rested then.

    Raises UnavailableError where the file cannot be read or written now, BadInputError where it is
    damaged or another node's, or another process has it.
    """

    def __init__(self, path: Path, identity: str, boot: str, now: float) -> None:
        self._path = path
        self._syncing = threading.Lock()
        self.written = 0  # changes so far
        self._synced = 0
        self._journal = -1
        self._lock = self._take_lock()
        try:
            with self._explained():
                self.database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._prepare(identity, boot)
                self._begin(boot, now)
                self._journal = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        if self._journal >= 0:
            os.close(self._journal)
        if hasattr(self, "database"):
            self.database.close()
        os.close(self._lock)

    def sync(self) -> None:
        """Return when all that was changed before is on disk; several threads share one effort."""
        wanted = self.written
        with self._syncing:
            if self._synced >= wanted:
                return
            written = self.written
            try:
                os.fdatasync(self._journal)
            except OSError as error:
                raise UnavailableError(
                    f"{self._path} cannot be written ({error.strerror}): check the disk"
                ) from error
            self._synced = written

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Changes that happen together or not at all."""
        with self._explained():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
                self.written += 1
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    def _take_lock(self) -> int:
        path = self._path.with_name(self._path.name + ".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be opened ({error.strerror}): make its folder writable"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise BadInputError(
                f"{self._path} is in use by another agent: stop that one first"
            ) from error
        return lock

    def _prepare(self, identity: str, boot: str) -> None:
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = NORMAL")
        (version,) = self.database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self.database.executescript(_SCHEMA)
            self.database.execute("INSERT INTO node VALUES (?, ?)", (identity, boot))
            self.database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            self.database.execute("COMMIT")
        while version in _UPGRADES:
            self.database.executescript(_UPGRADES[version])
            version += 1
            self.database.execute(f"PRAGMA user_version = {version}")
            self.database.execute("COMMIT")
        if version > _SCHEMA_VERSION:
            raise UnavailableError(
                f"{self._path} is of a newer version ({version}): upgrade vpcrouter"
            )
        (owner,) = self.database.execute("SELECT identity FROM node").fetchone()
        if owner != identity:
            raise BadInputError(
                f"{self._path} belongs to node {owner}, this one is {identity} (a cloned disk?): "
                "remove the file if no pod of this node runs"
            )

    def _begin(self, boot: str, now: float) -> None:
        with self.transaction() as database:
            (earlier,) = database.execute("SELECT boot FROM node").fetchone()
            if earlier != boot:
                _start_anew(database, boot, now)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UnavailableError(
                f"{self._path} cannot be read or written ({error}): free space, check the disk"
            ) from error
        except sqlite3.DatabaseError as error:
            raise BadInputError(
                f"{self._path} is damaged ({error}): move it away once no pod of this node runs"
            ) from error


def _start_anew(database: sqlite3.Connection, boot: str, now: float) -> None:
    """No pod is left of an earlier start of the machine."""
    for family in ("ipv4", "ipv6"):
        database.execute(
            f"INSERT OR REPLACE INTO resting SELECT {family}, ?, ? FROM endpoints "  # noqa: S608
            f"WHERE {family} IS NOT NULL",
            (boot, now),
        )
    database.execute("DELETE FROM endpoints")
    database.execute("UPDATE resting SET boot = ?, since = ?", (boot, now))
    database.execute("UPDATE node SET boot = ?", (boot,))
