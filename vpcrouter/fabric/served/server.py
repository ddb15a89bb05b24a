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
from vpcrouter.fabric.arns import Place
from vpcrouter.fabric.codes import Code, Ec2Error
from vpcrouter.fabric.port import FabricUnavailableError, UnknownOutcomeError
from vpcrouter.fabric.served import authorization, ec2, queues, quotas, roles, xml
from vpcrouter.fabric.served.access import Access, NotAllowedError
from vpcrouter.fabric.served.account import Account
from vpcrouter.fabric.served.iam import Asked
from vpcrouter.fabric.served.parameters import Parameters

LOOPBACK = "127.0.0.1"

_ACCESS_DENIED = "AccessDenied"
_LARGEST = 1 << 20
_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request,"
)


class LostError(Exception):
    """The connection ends without an answer."""


class Interference(Protocol):
    """What goes wrong with calls: each method may raise Ec2Error, LostError, or take its time."""

    def before(self, action: str) -> None:
        """A call has come in: raising means that it has no effect."""
        ...

    def asked(self, asked: Asked) -> None:
        """A call has come in that has to be allowed this."""
        ...

    def after(self, action: str) -> None:
        """A call has had its effect: raising means that its answer is another one or lost."""
        ...


class Undisturbed:
    """Nothing goes wrong."""

    def before(self, action: str) -> None:
        """Nothing."""

    def asked(self, asked: Asked) -> None:
        """Nothing."""

    def after(self, action: str) -> None:
        """Nothing."""


class _JsonCalls(Protocol):
    def answer_call(self, account: Account, action: str, body: str) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class _JsonCall:
    service: str
    kind: str
    action: str
    answers: _JsonCalls
    asked: Asked


@dataclass(frozen=True, slots=True)
class Request:
    """What a request says, in the headers that matter and its body."""

    authorization: str
    token: str
    target: str
    body: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    kind: str
    body: str


class Endpoint:
    """Answers requests for one account in one region; for several threads."""

    def __init__(
        self, account: Account, region: str, interference: Interference, access: Access
    ) -> None:
        self._account = account
        self._place = Place.of(region, account.owner)
        self._interference = interference
        self._access = access
        self._lock = threading.Lock()

    def answer(self, request: Request) -> _Answer:
        """Answer one request. Raises LostError where it is to get no answer."""
        if request.target.startswith(quotas.TARGET):
            return self._answer_quotas(request)
        if request.target.startswith(queues.TARGET):
            return self._answer_sqs(request)
        if _service(request.authorization) == "sts":
            return self._answer_sts(request)
        return self._answer_ec2(request)

    def _answer_ec2(self, request: Request) -> _Answer:
        number = str(uuid.uuid4())
        kind = "text/xml;charset=UTF-8"
        try:
            key = self._key(request.authorization, "ec2")
            parameters = Parameters.parse(request.body)
            action = parameters.action
            with self._lock:
                ec2.check_action(parameters)
                self._interference.before(action)
                fields = parameters.fields
                asked = authorization.of_ec2(self._place, self._account, action, fields)
                self._allow(key, request, asked)
                members = ec2.answer_call(self._account, parameters)
                text = xml.answer(action, number, members)
                self._interference.after(action)
        except NotAllowedError as error:
            message = f"You are not authorized to perform this operation. {error}"
            return _Answer(403, kind, xml.refusal(Code.UNAUTHORIZED, message, number))
        except Ec2Error as error:
            text = xml.refusal(error.code, error.message, number)
            return _Answer(ec2.status_of(error), kind, text)
        except UnknownOutcomeError as error:
            return _Answer(500, kind, xml.refusal(Code.INTERNAL_ERROR, str(error), number))
        except FabricUnavailableError as error:
            return _Answer(503, kind, xml.refusal(Code.UNAVAILABLE, str(error), number))
        return _Answer(200, kind, text)

    def _answer_sts(self, request: Request) -> _Answer:
        number = str(uuid.uuid4())
        try:
            key = self._key(request.authorization, "sts")
            parameters = Parameters.parse(request.body)
            with self._lock:
                self._interference.before(parameters.action)
                asked = authorization.of_sts(self._place, parameters.action, parameters.fields)
                self._allow(key, request, asked)
                text = roles.answer_call(self._access, parameters, number)
                self._interference.after(parameters.action)
        except NotAllowedError as error:
            return _Answer(403, "text/xml", roles.refusal(_ACCESS_DENIED, str(error), number))
        except Ec2Error as error:
            return _Answer(400, "text/xml", roles.refusal(error.code, error.message, number))
        return _Answer(200, "text/xml", text)

    def _answer_quotas(self, request: Request) -> _Answer:
        action = request.target.removeprefix(quotas.TARGET)
        asked = authorization.of_quotas(self._place, action)
        kind = "application/x-amz-json-1.1"
        return self._answer_json(_JsonCall("servicequotas", kind, action, quotas, asked), request)

    def _answer_sqs(self, request: Request) -> _Answer:
        action = request.target.removeprefix(queues.TARGET)
        asked = authorization.of_sqs(self._place, action, queues.url_of(request.body))
        return self._answer_json(_JsonCall("sqs", queues.KIND, action, queues, asked), request)

    def _answer_json(self, call: _JsonCall, request: Request) -> _Answer:
        try:
            key = self._key(request.authorization, call.service)
            with self._lock:
                self._interference.before(call.action)
                self._allow(key, request, call.asked)
                members = call.answers.answer_call(self._account, call.action, request.body)
                self._interference.after(call.action)
        except NotAllowedError as error:
            text = json.dumps({"__type": "AccessDeniedException", "Message": str(error)})
            return _Answer(400, call.kind, text)
        except Ec2Error as error:
            text = json.dumps({"__type": error.code, "Message": error.message})
            return _Answer(500 if error.code == Code.INTERNAL_ERROR else 400, call.kind, text)
        return _Answer(200, call.kind, json.dumps(members))

    def _allow(self, key: str, request: Request, asked: Asked | None) -> None:
        if asked is not None:
            self._interference.asked(asked)
            self._access.check(key, request.token, asked)

    def _key(self, header: str, service: str) -> str:
        """Whose request it is. Signatures are not checked, but what they were made for is."""
        scope = _SCOPE.match(header)
        if scope is None:
            raise Ec2Error("MissingAuthenticationToken", "Request is missing Authentication Token")
        region = self._place.region
        if scope["region"] != region or scope["service"] != service:
            raise Ec2Error(
                "AuthFailure",
                f"Credential should be scoped to {region}/{service}, not "
                f"{scope['region']}/{scope['service']}",
            )
        return scope["key"]


def _service(header: str) -> str:
    scope = _SCOPE.match(header)
    return "" if scope is None else scope["service"]


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
        request = Request(
            authorization=self.headers.get("Authorization", ""),
            token=self.headers.get("X-Amz-Security-Token", ""),
            target=self.headers.get("X-Amz-Target", ""),
            body=body,
        )
        try:
            answer = self.endpoint.answer(request)
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
