"""A raw socket to the kernel's routing tables: messages go out in one call, answers are matched."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import replace

from cni import netlink
from cni.netlink import Reply

_BUFFER = 1 << 17
_ATTEMPTS = 10
_PATIENCE = 10.0  # seconds; the kernel has answered when sending returns


class KernelError(Exception):
    """The kernel refused a message, or could not be asked.

    ``code`` is the errno, ``place`` the message's in its batch.
    """

    def __init__(self, code: int, place: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code
        self.place = place


class Kernel:
    """A routing socket of the network namespace in which this is made. For one thread.

    By ``port`` everybody who is told of changes knows which ones were made here.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.settimeout(_PATIENCE)
        self._socket.bind((0, 0))
        self.port: int = self._socket.getsockname()[0]
        self._next = 1

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def exchange(self, messages: Sequence[bytes]) -> tuple[Reply, ...]:
        """Send a batch, whose last message must ask for an answer; gives all answers to it.

        The kernel goes on after a message that it refuses. Errors are among the answers. Raises
        KernelError where there is none.
        """
        first = self._next
        self._next += len(messages)
        last = self._next - 1
        self._send(netlink.numbered(messages, first))
        found: list[Reply] = []
        while True:
            for reply in netlink.replies(self._receive()):
                if reply.sequence >= first:  # else of a batch that was given up
                    place = reply.sequence - first
                    found.append(replace(reply, sequence=place))
            if found and found[-1].sequence == last - first:
                return tuple(found)

    def do(self, messages: Sequence[bytes]) -> tuple[Reply, ...]:
        """Like ``exchange``; raises KernelError for the first message that was refused."""
        found = self.exchange(messages)
        for reply in found:
            if reply.error:
                raise KernelError(reply.error, reply.sequence)
        return found

    def dump(self, question: bytes) -> tuple[Reply, ...]:
        """All that the kernel answers to a question for everything of a kind.

        Asks again where something changed meanwhile; raises KernelError where that never ends.
        """
        for _ in range(_ATTEMPTS):
            found = self._dump_once(question)
            if not any(reply.flags & netlink.INTERRUPTED for reply in found):
                return found
        raise KernelError(errno.EAGAIN, 0)

    def _dump_once(self, question: bytes) -> tuple[Reply, ...]:
        sequence = self._next
        self._next += 1
        self._send(netlink.numbered([question], sequence))
        found: list[Reply] = []
        while True:
            for reply in netlink.replies(self._receive()):
                if reply.sequence != sequence:
                    continue
                if reply.kind == netlink.DONE:
                    return tuple(found)
                if reply.error:
                    raise KernelError(reply.error, 0)
                found.append(reply)

    def _send(self, batch: bytes) -> None:
        try:
            self._socket.send(batch)
        except OSError as error:
            raise KernelError(error.errno or errno.ETIMEDOUT, 0) from error

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_BUFFER)
        except OSError as error:
            raise KernelError(error.errno or errno.ETIMEDOUT, 0) from error

    def put_all(self, messages: Sequence[bytes], at_once: int = 100) -> tuple[int, ...]:
        """Send any number of messages that ask for acknowledgement; gives the errno of each."""
        codes = []
        for start in range(0, len(messages), at_once):
            part = messages[start : start + at_once]
            answers = self._acknowledged(part)
            codes += [answers.get(place, errno.EIO) for place in range(len(part))]
        return tuple(codes)

    def _acknowledged(self, messages: Sequence[bytes]) -> dict[int, int]:
        return {reply.sequence: reply.error for reply in self.exchange(messages)}
