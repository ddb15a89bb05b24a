"""Removes links that were set aside: all of them at once, in a thread of its own, within a second.

The kernel takes 20 ms to remove one link, 30 ms for fifty of one group, and lets nobody change
links meanwhile; so this waits for a moment in which no pod starts or stops.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time

from cni import netlink
from cni.kernel import Kernel, KernelError

SET_ASIDE = 0x76720001
"""The group of links that are to be removed; nobody else uses this number."""

_QUIET = 0.25  # seconds without a stopping pod
_LATEST = 0.75  # seconds after the first of them
_GONE = (errno.ENODEV, errno.ENOENT, errno.ESRCH)

log = logging.getLogger(__name__)


class Reaper(threading.Thread):
    """For the network namespace in which this is made. Runs until ``stop``, which does the rest."""

    def __init__(self) -> None:
        super().__init__(name="reaper", daemon=True)
        self._kernel = Kernel()
        self._using = threading.Lock()
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._last = 0.0

    def later(self) -> None:
        """A link was set aside: remove it within a second."""
        self._last = time.monotonic()
        self._asked.set()

    def remove_all(self) -> None:
        """Remove what is set aside now."""
        with self._using:
            self._asked.clear()
            try:
                (reply,) = self._kernel.exchange([netlink.delete_group(SET_ASIDE)])
                code = reply.error
            except KernelError as error:
                code = error.code
        if code and code not in _GONE:
            log.error("links cannot be removed: %s", os.strerror(code))
            self.later()

    def run(self) -> None:
        """Wait for what is set aside, then for a quiet moment."""
        while not self._stopping.is_set():
            if not self._asked.wait(0.5):
                continue
            latest = time.monotonic() + _LATEST
            while time.monotonic() < min(latest, self._last + _QUIET):
                if self._stopping.wait(_QUIET / 4):
                    break
            self.remove_all()

    def stop(self) -> None:
        """End, once everything that was set aside is removed."""
        self._stopping.set()
        if self.is_alive():
            self.join()
        self.remove_all()
        self._kernel.close()
