"""Where the simulated VPC keeps what was changed in its route tables: a JSON file, or memory.

The file is replaced as a whole (written beside it, synced, renamed, folder synced), so that a
reader sees the tables before a change or after it, whatever is interrupted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ipam.errors import BadInputError
from ipam.prefix import Prefix
from vpcrouter.fabric.port import FabricUnavailableError, UnknownOutcomeError

VERSION = 1

Changes = Mapping[str, Mapping[Prefix, str | None]]
"""By table and destination: the interface that a row leads to now, None where it was deleted."""

_LOCK_SECONDS = 10.0
_Signature = tuple[int, int, int]


class TableStorage(Protocol):
    """Keeps the changes of one VPC's tables, for one process or several."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else changes anything meanwhile. Raises FabricUnavailableError."""
        ...

    def load(self) -> Changes:
        """The present changes. Raises FabricUnavailableError."""
        ...

    def save(self, changes: Changes) -> None:
        """Keep these instead; all or nothing.

        Raises FabricUnavailableError where nothing was kept, UnknownOutcomeError where this is
        not known.
        """
        ...


class MemoryStorage:
    """Keeps them as long as the process lives."""

    def __init__(self) -> None:
        self._changes: Changes = {}

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else could."""
        return contextlib.nullcontext()

    def load(self) -> Changes:
        """What was saved last."""
        return self._changes

    def save(self, changes: Changes) -> None:
        """Keep these."""
        self._changes = changes


class FileStorage:
    """Keeps them in a file. Reading creates nothing; a file that is not there has no changes."""

    def __init__(self, path: Path, vpc: str) -> None:
        self._path = path
        self._vpc = vpc
        self._cached: tuple[_Signature | None, Changes] = (None, {})

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock file beside it; waits for another process for some seconds."""
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._cannot("be locked", error) from error
        try:
            self._wait_for_lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def load(self) -> Changes:
        """Read it, if it has changed since."""
        try:
            signature = self._signature()
            if signature is None:
                return {}
            if signature != self._cached[0]:
                # The content may be newer than the signature: then it is only read once more.
                self._cached = (signature, self._parse(self._path.read_bytes()))
        except OSError as error:
            raise self._cannot("be read", error) from error
        return self._cached[1]

    def save(self, changes: Changes) -> None:
        """Replace it."""
        temporary = self._path.with_name(self._path.name + ".tmp")
        try:
            with temporary.open("wb") as file:
                file.write(self._format(changes))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise self._cannot("be written", error) from error
        try:
            self._sync_folder()
            self._cached = (self._signature(), changes)
        except OSError as error:
            text = f"{self._path}: may not survive a crash: {error.strerror}"
            raise UnknownOutcomeError("", text) from error

    def _signature(self) -> _Signature | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    text = f"{self._path}: another process keeps it locked: let that one finish"
                    raise FabricUnavailableError("", text) from error
                time.sleep(0.01)
            except OSError as error:
                raise self._cannot("be locked", error) from error
            else:
                return

    def _cannot(self, verb: str, error: OSError) -> FabricUnavailableError:
        remedy = "see that its folder can be written and has space"
        return FabricUnavailableError(
            "",
            f"{self._path}: the simulated route tables cannot {verb}: {error.strerror}; {remedy}",
        )

    def _format(self, changes: Changes) -> bytes:
        tables = {
            table: {str(prefix): rows[prefix] for prefix in sorted(rows)}
            for table, rows in sorted(changes.items())
        }
        document = {"version": VERSION, "vpc": self._vpc, "tables": tables}
        return (json.dumps(document, indent=1) + "\n").encode()

    def _parse(self, content: bytes) -> Changes:
        remedy = (
            "restore it from a backup, or remove it so that the simulation starts again from the "
            "describe file"
        )
        try:
            document: object = json.loads(content)
            if isinstance(document, dict) and document.get("version") == VERSION:
                if document.get("vpc") == self._vpc:
                    return _parse_tables(document.get("tables"))
                reason = f"is of {document.get('vpc')}, not of {self._vpc}"
            elif isinstance(document, dict) and isinstance(document.get("version"), int):
                reason = f"is of version {document['version']}, this program knows {VERSION}"
                remedy = "use the program that wrote it, or remove it to start again"
            else:
                reason = "is damaged"
        except (ValueError, RecursionError, BadInputError):
            reason = "is damaged"
        text = f"{self._path}: the file of simulated route tables {reason}: {remedy}"
        raise FabricUnavailableError("", text)


def _parse_tables(tables: object) -> Changes:
    """Raises ValueError or BadInputError for anything that was not written by ``_format``."""
    if not isinstance(tables, dict):
        raise ValueError("no tables")
    result: dict[str, dict[Prefix, str | None]] = {}
    for table, rows in tables.items():
        if not isinstance(rows, dict):
            raise ValueError("no rows")
        result[table] = {}
        for destination, interface in rows.items():
            if not (interface is None or (isinstance(interface, str) and interface)):
                raise ValueError("no interface")
            result[table][Prefix.parse(destination)] = interface
    return result
