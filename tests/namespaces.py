"""Network namespaces for tests, and packets sent in them.

Each is held by a process of its own that ends when its standard input does, so that nothing is
left behind even if the tests are killed.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute

from cni.namespaces import inside, opened


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits until something holds; fails if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


class Namespace:
    """A network namespace with its loopback interface up."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ("unshare", "--net", "sh", "-c", "echo; exec cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.path = f"/proc/{self._holder.pid}/ns/net"
        with self.kernel() as kernel:
            kernel.link("set", index=1, state="up")

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self._holder.pid

    def close(self) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run this thread in it."""
        with opened(self.path) as descriptor, inside(descriptor):
            yield

    @contextmanager
    def kernel(self) -> Iterator[IPRoute]:
        """A connection to the kernel in it."""
        with self.entered():
            kernel = IPRoute()
        with kernel:
            yield kernel

    def ping(self, address: str, source: str = "", timeout: float = 1.0) -> bool:
        """Whether an echo request from here is answered by that address."""
        with self.entered():
            return ping(address, source, timeout)


@contextmanager
def namespaces(count: int) -> Iterator[tuple[Namespace, ...]]:
    """So many new namespaces."""
    made: list[Namespace] = []
    try:
        for _ in range(count):
            made.append(Namespace())  # noqa: PERF401 - what was made is closed if one fails
        yield tuple(made)
    finally:
        for namespace in made:
            namespace.close()


def ping(address: str, source: str, timeout: float) -> bool:
    """Sends one echo request and waits for its answer."""
    if ":" in address:
        family, protocol, kind, answer, header = socket.AF_INET6, 58, 128, 129, 0
    else:
        family, protocol, kind, answer, header = socket.AF_INET, 1, 8, 0, 20
    body = os.urandom(8)
    packet = struct.pack("!BBHHH", kind, 0, 0, 7, 1) + body
    packet = packet[:2] + struct.pack("!H", _checksum(packet)) + packet[4:]
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(timeout)
        if source:
            raw.bind((source, 0))
        try:
            raw.sendto(packet, (address, 0))
            while True:
                received, (sender, *_) = raw.recvfrom(2048)
                message = received[header:]
                if message[0] == answer and message[8:] == body and sender == address:
                    return True
        except OSError:
            return False


def _checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
