"""The way of a packet as it really is: who answers when its hops run out, one after the other."""

from __future__ import annotations

import select
import socket
import struct
import time
from pathlib import Path

from ipam.errors import UnavailableError
from vpcrouter.lab import spaces

_MOST_HOPS = 8
_SECONDS = 0.5  # to wait for each answer
_PORT = 33434
_SOL_IPV6 = 41
_ORIGIN = struct.Struct("=IBBBB")  # errno, origin, type, code, padding: struct sock_extended_err
_RECEIVE_ERRORS = {socket.AF_INET: (socket.SOL_IP, 11), socket.AF_INET6: (_SOL_IPV6, 25)}
_HOPS = {
    socket.AF_INET: (socket.SOL_IP, socket.IP_TTL),
    socket.AF_INET6: (_SOL_IPV6, socket.IPV6_UNICAST_HOPS),
}
_ERROR_QUEUE = 0x2000  # MSG_ERRQUEUE


def trace(space: Path, address: str) -> list[str]:
    """The addresses of those who pass a packet on from a namespace, and of whoever ends its way.

    A hop that does not answer is ``?``; the last one is the address itself, where it is reached.
    Raises UnavailableError where no packet can be sent.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found: list[str] = []
    try:
        with spaces.entered(space):
            probe = socket.socket(family, socket.SOCK_DGRAM)
        with probe:
            probe.setsockopt(*_RECEIVE_ERRORS[family], 1)
            for hops in range(1, _MOST_HOPS + 1):
                probe.setsockopt(*_HOPS[family], hops)
                # An answer to an earlier packet that comes only now would be taken for a refusal.
                probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                probe.sendto(b"", (address, _PORT + hops))
                answer, is_end = _answer(probe, family, _PORT + hops)
                found.append(answer)
                if is_end:
                    break
    except OSError as error:
        raise UnavailableError(f"no packet can be sent to {address}: {error.strerror}") from error
    return found


def _answer(probe: socket.socket, family: socket.AddressFamily, port: int) -> tuple[str, bool]:
    """Who complained about the packet to this port, and whether that was the end of its way."""
    deadline = time.monotonic() + _SECONDS
    poll = select.poll()
    poll.register(probe, select.POLLERR)
    is_late = False
    while not is_late:
        # Held up for longer than an answer may take, we still look once whether it is there.
        is_late = (left := deadline - time.monotonic()) <= 0
        if not poll.poll(1000 * max(0.0, left)):
            continue
        _, extra, _, destination = probe.recvmsg(512, 512, _ERROR_QUEUE)
        if destination[1] != port:
            continue
        for _, _, data in extra:
            _, _, kind, _, _ = _ORIGIN.unpack_from(data)
            offender = data[_ORIGIN.size + 8 :]
            if family == socket.AF_INET:
                text = socket.inet_ntop(family, offender[4:8])
                return text, kind != 11
            return socket.inet_ntop(family, offender[8:24]), kind != 3
    return "?", False
