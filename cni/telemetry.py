"""Says how the agent is: ``/metrics`` for Prometheus, ``/healthz`` for probes, on a unix socket."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from cni.metrics import CONTENT_TYPE, Metric, Sample
from cni.server import Handler
from ipam.errors import UnavailableError

_PATIENCE = 2.0  # seconds for a caller to ask
_MOST = 8192

log = logging.getLogger(__name__)


class Tally:
    """Counts requests, for any number of threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}
        self._seconds: dict[str, float] = {}

    def counting(self, handler: Handler) -> Handler:
        """The same handler, with its requests counted."""

        def counted(environment: Mapping[str, str], stdin: bytes) -> tuple[int, bytes]:
            start = time.monotonic()
            status, output = handler(environment, stdin)
            code = str(json.loads(output)["code"]) if status else "0"
            self._add(environment.get("CNI_COMMAND", ""), code, time.monotonic() - start)
            return status, output

        return counted

    def _add(self, command: str, code: str, seconds: float) -> None:
        name = command if command in _COMMANDS else "other"
        with self._turn:
            self._counts[name, code] = self._counts.get((name, code), 0) + 1
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def metrics(self) -> tuple[Metric, ...]:
        """What was counted."""
        with self._turn:
            counts, seconds = dict(self._counts), dict(self._seconds)
        return (
            Metric(
                "vpcrouter_cni_requests_total",
                "counter",
                "Requests of the runtime, by command and CNI error code (0: done).",
                tuple(
                    Sample(count, {"command": command, "code": code})
                    for (command, code), count in sorted(counts.items())
                ),
            ),
            Metric(
                "vpcrouter_cni_request_seconds_total",
                "counter",
                "Time that the agent took for them.",
                tuple(Sample(s, {"command": command}) for command, s in sorted(seconds.items())),
            ),
        )


_COMMANDS = frozenset({"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"})


class Telemetry:
    """Answers scrapes and probes; use it as a context manager.

    ``metrics`` is the text for the one, ``health`` why the agent cannot do its work for the other,
    empty where it can.
    """

    def __init__(self, path: Path, metrics: Callable[[], str], health: Callable[[], str]) -> None:
        self._path = path
        self._metrics = metrics
        self._health = health
        self._thread = threading.Thread(target=self._serve, name="telemetry")
        self._stopping = False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(str(path))
            path.chmod(0o600)
            self._socket.listen()
        except OSError as error:
            raise UnavailableError(
                f"socket {path} cannot be made ({error.strerror}): make its folder writable"
            ) from error

    def __enter__(self) -> Telemetry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._path.unlink(missing_ok=True)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._socket.accept()
                with closing(connection):
                    connection.settimeout(_PATIENCE)
                    connection.sendall(self._answer(connection.recv(_MOST)))
            except OSError as error:
                if not self._stopping:
                    log.warning("a scrape was lost: %s", error)

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method != b"GET":
            return _response("405 Method Not Allowed", "only GET is served\n")
        if path == b"/metrics":
            return _response("200 OK", self._metrics())
        if path == b"/healthz":
            reason = self._health()
            if reason:
                return _response("503 Service Unavailable", f"{reason}\n")
            return _response("200 OK", "ok\n")
        return _response("404 Not Found", "there are /metrics and /healthz\n")


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
