"""The agent's end of the plugin's socket: root only, a few threads, deletions made good.

Requests are framed as ``plugin`` says. What was spooled while no agent was there is carried out
before anything else, in its order.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from cni.errors import Code
from cni.offline import SPOOL
from ipam.errors import BadInputError, UnavailableError

Handler = Callable[[Mapping[str, str], bytes], tuple[int, bytes]]
"""Carries out a request; gives exit status and standard output."""

_PATIENCE = 2.0  # seconds for a caller to send its request, and to take the answer
_PAUSE = 0.1
_MOST = 8 << 20
_LENGTHS = struct.Struct("!II")
_ANSWER = struct.Struct("!IB")
_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 512

log = logging.getLogger(__name__)


class Server:
    """Listens on a unix socket that root alone can reach; use it as a context manager.

    Each handler gets a thread; they serve between entering and leaving the context.
    """

    def __init__(self, path: Path, handlers: Sequence[Handler]) -> None:
        self._path = path
        self._spool = path.parent / SPOOL
        self._threads = [
            threading.Thread(target=self._serve, args=(handler,), name=f"server-{number}")
            for number, handler in enumerate(handlers)
        ]
        self._stopping = False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._spool.mkdir(mode=0o700, exist_ok=True)
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(str(path))
            path.chmod(0o600)
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise UnavailableError(
                f"socket {path} cannot be made ({error.strerror}): make its folder writable"
            ) from error

    def __enter__(self) -> Server:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._path.unlink(missing_ok=True)
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes those who wait for a caller
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _serve(self, handler: Handler) -> None:
        while not self._stopping:
            try:
                connection, _address = self._socket.accept()
            except OSError as error:
                if not self._stopping:
                    log.error("no caller can be served: %s", error)
                    time.sleep(_PAUSE)
                continue
            with closing(connection):
                _converse(connection, handler)

    def make_good(self, handler: Handler) -> None:
        """Carry out the deletions that were spooled."""
        for path in sorted(self._spool.glob("[0-9]*")):
            request = path.read_bytes()
            try:
                environment, stdin = unpack(request)
            except BadInputError as error:
                log.error("spooled request %s is dropped: %s", path, error)
            else:
                status, output = _handled(handler, environment, stdin)
                if status:
                    log.error("spooled request %s failed: %s", path, output.decode())
                if status and json.loads(output)["code"] == Code.IO:
                    return  # the disk: again the next time
            path.unlink(missing_ok=True)


def _converse(connection: socket.socket, handler: Handler) -> None:
    connection.settimeout(_PATIENCE)
    try:
        if not _is_root(connection):
            log.warning("a caller that is not root was turned away")
            return
        environment, stdin = unpack(_received(connection))
        status, output = _handled(handler, environment, stdin)
        connection.sendall(_ANSWER.pack(len(output), status) + output)
    except (OSError, BadInputError) as error:
        log.warning("a caller was lost: %s", error)


def _handled(handler: Handler, environment: Mapping[str, str], stdin: bytes) -> tuple[int, bytes]:
    """The outermost loop: a caller gets an answer whatever is wrong in here."""
    try:
        return handler(environment, stdin)
    except Exception:
        wanted = f"{environment.get('CNI_COMMAND')} {environment.get('CNI_CONTAINERID')}"
        log.exception("request %s was lost", wanted)
        text = b'{"cniVersion": "1.1.0", "code": 199, "msg": "the agent failed: see its log"}\n'
        return 1, text


def unpack(request: bytes) -> tuple[dict[str, str], bytes]:
    """Environment and standard input of a request; raises BadInputError where it is none."""
    if len(request) < _LENGTHS.size:
        raise BadInputError("a request is too short: use the plugin of this version")
    variables, rest = _LENGTHS.unpack_from(request)
    if len(request) != _LENGTHS.size + variables + rest:
        raise BadInputError("a request is of another length than it says: nothing was done")
    content = request[_LENGTHS.size : _LENGTHS.size + variables]
    environment = {}
    for variable in filter(None, content.split(b"\0")):
        name, _, value = variable.decode("utf-8", "replace").partition("=")
        environment[name] = value
    return environment, request[_LENGTHS.size + variables :]


def _received(connection: socket.socket) -> bytes:
    request = b""
    wanted = _LENGTHS.size
    while len(request) < wanted:
        part = connection.recv(min(_MOST, 1 << 16))
        if not part:
            break
        request += part
        if wanted == _LENGTHS.size and len(request) >= wanted:
            wanted += sum(_LENGTHS.unpack_from(request))
            if wanted > _MOST:
                raise BadInputError(f"a request of {wanted} bytes is too long")
    return request


def _is_root(connection: socket.socket) -> bool:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, user, _group = _CREDENTIALS.unpack(raw)
    return bool(user == os.geteuid() == 0)
