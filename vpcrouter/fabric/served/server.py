"""The HTTP side: takes requests on the loopback, one at a time, and answers as AWS would."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from ipam.errors import UnavailableError
from vpcrouter.fabric.codes import Code, Ec2Error
from vpcrouter.fabric.port import FabricUnavailableError, UnknownOutcomeError
from vpcrouter.fabric.served import ec2, queues, quotas, xml
from vpcrouter.fabric.served.account import Account
from vpcrouter.fabric.served.parameters import Parameters

LOOPBACK = "127.0.0.1"

_LARGEST = 1 << 20
_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,"
)


class LostError(Exception):
    """The connection ends without an answer."""


class Interference(Protocol):
    """What goes wrong with calls: each method may raise Ec2Error, LostError, or take its time."""

    def before(self, action: str) -> None:
        """A call has come in: raising means that it has no effect."""
        ...

    def after(self, action: str) -> None:
        """A call has had its effect: raising means that its answer is another one or lost."""
        ...


class Undisturbed:
    """Nothing goes wrong."""

    def before(self, action: str) -> None:
        """Nothing."""

    def after(self, action: str) -> None:
        """Nothing."""


class _JsonCalls(Protocol):
    def answer_call(self, account: Account, action: str, body: str) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    kind: str
    body: str


class Endpoint:
    """Answers requests for one account in one region; for several threads."""

    def __init__(self, account: Account, region: str, interference: Interference) -> None:
        self._account = account
        self._region = region
        self._interference = interference
        self._lock = threading.Lock()

    def answer(self, authorization: str, target: str, body: str) -> _Answer:
        """Answer one request. Raises LostError where it is to get no answer."""
        if target.startswith(quotas.TARGET):
            return self._answer_quotas(authorization, target.removeprefix(quotas.TARGET), body)
        if target.startswith(queues.TARGET):
            return self._answer_sqs(authorization, target.removeprefix(queues.TARGET), body)
        return self._answer_ec2(authorization, body)

    def _answer_ec2(self, authorization: str, body: str) -> _Answer:
        request = str(uuid.uuid4())
        try:
            self._check_scope(authorization, "ec2")
            parameters = Parameters.parse(body)
            action = parameters.action
            with self._lock:
                self._interference.before(action)
                members = ec2.answer_call(self._account, parameters)
                text = xml.answer(action, request, members)
                self._interference.after(action)
        except Ec2Error as error:
            text = xml.refusal(error.code, error.message, request)
            return _Answer(ec2.status_of(error), "text/xml;charset=UTF-8", text)
        except UnknownOutcomeError as error:
            text = xml.refusal(Code.INTERNAL_ERROR, str(error), request)
            return _Answer(500, "text/xml;charset=UTF-8", text)
        except FabricUnavailableError as error:
            text = xml.refusal(Code.UNAVAILABLE, str(error), request)
            return _Answer(503, "text/xml;charset=UTF-8", text)
        return _Answer(200, "text/xml;charset=UTF-8", text)

    def _answer_quotas(self, authorization: str, action: str, body: str) -> _Answer:
        kind = "application/x-amz-json-1.1"
        return self._answer_json(authorization, ("servicequotas", action, body), kind, quotas)

    def _answer_sqs(self, authorization: str, action: str, body: str) -> _Answer:
        return self._answer_json(authorization, ("sqs", action, body), queues.KIND, queues)

    def _answer_json(
        self, authorization: str, request: tuple[str, str, str], kind: str, answers: _JsonCalls
    ) -> _Answer:
        service, action, body = request
        try:
            self._check_scope(authorization, service)
            with self._lock:
                self._interference.before(action)
                members = answers.answer_call(self._account, action, body)
                self._interference.after(action)
        except Ec2Error as error:
            text = json.dumps({"__type": error.code, "Message": error.message})
            return _Answer(500 if error.code == Code.INTERNAL_ERROR else 400, kind, text)
        return _Answer(200, kind, json.dumps(members))

    def _check_scope(self, authorization: str, service: str) -> None:
        """Signatures are not checked, but what they were made for is."""
        scope = _SCOPE.match(authorization)
        if scope is None:
            raise Ec2Error("MissingAuthenticationToken", "Request is missing Authentication Token")
        if scope["region"] != self._region or scope["service"] != service:
            raise Ec2Error(
                "AuthFailure",
                f"Credential should be scoped to {self._region}/{service}, not "
                f"{scope['region']}/{scope['service']}",
            )


@contextmanager
def serving(endpoint: Endpoint, port: int) -> Iterator[str]:
    """Serve in the background; gives the endpoint's URL. Port 0: any that is free.

    Raises UnavailableError where the port cannot be had.
    """
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    try:
        server = _Server((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise UnavailableError(
            f"port {port} of {LOOPBACK} cannot be listened on: {error}: choose another one"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint
    protocol_version = "HTTP/1.1"
    # One packet for an answer, and sent at once: else each takes 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one request."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST:
            self._send(_Answer(413, "text/plain", "no length, or too long\n"))
            self.close_connection = True
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        authorization = self.headers.get("Authorization", "")
        try:
            answer = self.endpoint.answer(authorization, self.headers.get("X-Amz-Target", ""), body)
        except LostError:
            self.close_connection = True
            return
        self._send(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - overridden
        """Say nothing."""

    def _send(self, answer: _Answer) -> None:
        content = answer.body.encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # whoever asked has gone
