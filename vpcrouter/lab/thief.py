"""Holds the lock of a SQLite store, so that nobody can read or write it: the store is away.

A process of its own: ``python -m vpcrouter.lab.thief STORE`` runs until it is ended. Open
connections meet it as well as new ones, and nothing is changed. The bytes are those of the locks in
the shared-memory file of SQLite's write-ahead log (https://sqlite.org/walformat.html#locks).
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

_FIRST = 120
_COUNT = 8
_DAY = 86_400.0


def main(path: str) -> None:
    """Take the locks, say so with a file beside the store, and keep them."""
    descriptor = os.open(f"{path}-shm", os.O_RDWR | os.O_CLOEXEC)
    fcntl.lockf(descriptor, fcntl.LOCK_EX, _COUNT, _FIRST)
    with open(f"{path}.away", "w", encoding="ascii"):  # noqa: PTH123 - a plain start is quicker
        pass
    while True:
        time.sleep(_DAY)


if __name__ == "__main__":
    main(sys.argv[1])
