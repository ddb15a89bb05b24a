"""Many pings at once, out of many namespaces, from one process.

A socket stays in the namespace in which it was opened. So each source has one raw socket for each
family, and pinging every pod from every pod costs one packet each way and no process.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipam.errors import UnavailableError
from vpcrouter.lab import spaces

TIMEOUT = 1.0
"""How many seconds an answer may take."""

_MOST_OPEN = 256  # echo requests without an answer, so that no queue overflows
_ICMP_FILTER = 1
_ICMPV6_FILTER = 1
_SOL_RAW = 255
_ECHO = struct.Struct("!BBHHHI")
_RECEIVE_BUFFER = 1 << 20
_FULL = 0.005  # seconds to wait for a queue to empty
_QUEUE_FULL = (errno.EAGAIN, errno.ENOBUFS)
_UNSENDABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN)


@dataclass(frozen=True, slots=True)
class Pair:
    """A source by its name, and an address to be pinged from there."""

    source: str
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one ping: the seconds that it took, None if no answer came.

    ``sent`` is when, on the monotonic clock.
    """

    pair: Pair
    sent: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How echo looks in one family; ``header`` are the bytes before it that a socket receives."""

    family: int
    protocol: int
    request: int
    reply: int
    header: int
    level: int
    filter: bytes


_KINDS = {
    False: _Kind(socket.AF_INET, 1, 8, 0, 20, _SOL_RAW, struct.pack("=I", 0xFFFFFFFF & ~1)),
    True: _Kind(
        socket.AF_INET6,
        58,
        128,
        129,
        0,
        58,
        # A bit that is set blocks a type: all but echo replies.
        struct.pack("=8I", *(0xFFFFFFFF & ~(1 << 1 if i == 4 else 0) for i in range(8))),
    ),
}


class Pinger:
    """Sources by name, each with the path of its namespace. Use it as a context manager."""

    def __init__(self, sources: Mapping[str, Path]) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[tuple[str, bool], socket.socket] = {}
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._number = 0
        try:
            for name, path in sources.items():
                with spaces.entered(path):
                    for is_v6 in _KINDS:
                        self._open(name, is_v6)
        except OSError as error:
            self.close()
            raise UnavailableError(f"pings cannot be sent: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pinger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._selector.close()
        for opened in self._sockets.values():
            opened.close()

    def ping(
        self,
        pairs: Iterable[Pair],
        timeout: float = TIMEOUT,
        progress: Callable[[Answer], None] = lambda _: None,
    ) -> list[Answer]:
        """Ping each pair once; each outcome is told to ``progress`` as soon as it is known."""
        open_: dict[int, tuple[Pair, float]] = {}
        answers: list[Answer] = []

        def conclude(number: int, now: float | None) -> None:
            pair, sent = open_.pop(number)
            answer = Answer(pair, sent, None if now is None else now - sent)
            answers.append(answer)
            progress(answer)

        for pair in pairs:
            self._number = (self._number + 1) & 0xFFFFFFFF
            open_[self._number] = (pair, time.monotonic())
            sent, is_late = self._send(pair, self._number), False
            while sent is None and not is_late:
                is_late = time.monotonic() - open_[self._number][1] >= timeout
                self._collect(open_, conclude, _FULL)
                sent = self._send(pair, self._number)
            if not sent:
                conclude(self._number, None)
            self._collect(open_, conclude, 0.0)
            while len(open_) >= _MOST_OPEN:
                self._expire(open_, conclude, timeout)
        while open_:
            self._expire(open_, conclude, timeout)
        return answers

    def _open(self, name: str, is_v6: bool) -> None:
        kind = _KINDS[is_v6]
        opened = socket.socket(kind.family, socket.SOCK_RAW, kind.protocol)
        opened.setblocking(False)
        number = _ICMPV6_FILTER if is_v6 else _ICMP_FILTER
        opened.setsockopt(kind.level, number, kind.filter)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._sockets[name, is_v6] = opened
        self._selector.register(opened, selectors.EVENT_READ, is_v6)

    def _send(self, pair: Pair, number: int) -> bool | None:
        """Whether a request could be sent; None while its socket's queue is full."""
        is_v6 = ":" in pair.address
        kind = _KINDS[is_v6]
        identifier, sequence = self._identifier, number & 0xFFFF
        packet = _ECHO.pack(kind.request, 0, 0, identifier, sequence, number)
        if not is_v6:
            packet = _ECHO.pack(kind.request, 0, _checksum(packet), identifier, sequence, number)
        try:
            self._sockets[pair.source, is_v6].sendto(packet, (pair.address, 0))
        except OSError as error:
            if error.errno in _QUEUE_FULL:
                return None
            if error.errno not in _UNSENDABLE:
                raise UnavailableError(
                    f"{pair.source} cannot ping {pair.address}: {error.strerror}"
                ) from error
            return False
        return True

    def _collect(
        self,
        open_: Mapping[int, tuple[Pair, float]],
        conclude: Callable[[int, float | None], None],
        wait: float,
    ) -> None:
        """Take the answers that are there; wait for the first one up to so many seconds."""
        for key, _ in self._selector.select(wait):
            assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - that is what we register
            kind = _KINDS[key.data]
            while True:
                try:
                    received, (sender, *_rest) = key.fileobj.recvfrom(2048)
                except BlockingIOError:
                    break
                message = received[kind.header : kind.header + _ECHO.size]
                if len(message) < _ECHO.size:
                    continue
                found, _, _, identifier, _, number = _ECHO.unpack(message)
                ours = found == kind.reply and identifier == self._identifier
                if ours and number in open_ and open_[number][0].address == sender:
                    conclude(number, time.monotonic())

    def _expire(
        self,
        open_: Mapping[int, tuple[Pair, float]],
        conclude: Callable[[int, float | None], None],
        timeout: float,
    ) -> None:
        """Wait for answers; what has none by then, and should have, is lost."""
        self._collect(open_, conclude, timeout)
        now = time.monotonic()
        # However long we are held up before this: what came until then lies there.
        self._collect(open_, conclude, 0.0)
        for number in [n for n, (_, sent) in open_.items() if now - sent >= timeout]:
            conclude(number, None)


def _checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def lost(answers: Sequence[Answer]) -> list[Pair]:
    """The pairs of which no answer came."""
    return [answer.pair for answer in answers if answer.seconds is None]
