"""TCP between network namespaces: who the server takes the client for, and what comes through."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from vpcrouter.lab import spaces

PORT = 8080
_SECONDS = 10.0


def converse(client: Path, server: Path, listens_at: str, target: str, port: int = PORT) -> str:
    """Send 100 kB both ways over TCP; the client's address as the server sees it.

    ``listens_at`` is the server's own address, ``target`` what the client connects to.
    """
    family = socket.AF_INET6 if ":" in listens_at else socket.AF_INET
    with spaces.entered(server):
        listener = socket.create_server((listens_at, PORT), family=family)
    with spaces.entered(client):
        caller = socket.socket(family, socket.SOCK_STREAM)
    seen: list[str] = []

    def serve() -> None:
        connection, peer = listener.accept()
        with connection:
            connection.settimeout(_SECONDS)
            seen.append(peer[0])
            _receive(connection)
            connection.sendall(_CONTENT)

    listener.settimeout(_SECONDS)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with caller:
            caller.settimeout(_SECONDS)
            caller.connect((target, port))
            caller.sendall(_CONTENT)
            _receive(caller)
    finally:
        listener.close()
        thread.join()
    return seen[0]


_CONTENT = bytes(100_000)


def _receive(connection: socket.socket) -> None:
    left = len(_CONTENT)
    while left > 0:
        part = connection.recv(1 << 16)
        assert part, f"{left} bytes are missing"
        left -= len(part)
