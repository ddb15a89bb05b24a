"""What the plugin does when no agent answers: fail in a way that is tried again, keep deletions.

Runs without site-packages, in a process of its own for each request: standard library only. A DEL
is written to the spool folder beside the agent's socket, which the agent works off before anything
else; so it succeeds, as the specification wants of a DEL.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping

from cni.versions import LATEST, VERSIONS

SPOOL = "spool"
_TRY_LATER = 11
_CANNOT_ADD = 50
_ENVIRONMENT = 4
_MOST = 10_000  # spooled requests; more means that no agent ever comes back

Answer = tuple[int, bytes]
"""Exit status and standard output."""


def answer(environment: Mapping[str, str], request: bytes, stdin: bytes, folder: str) -> Answer:
    """The answer to a request that no agent has taken; ``folder`` is that of its socket."""
    command = environment.get("CNI_COMMAND", "")
    version = _version(stdin)
    if command == "VERSION":
        return 0, _dump({"cniVersion": version, "supportedVersions": list(VERSIONS)})
    if command == "DEL":
        missing = [n for n in ("CNI_CONTAINERID", "CNI_IFNAME") if not environment.get(n)]
        if missing:
            return _error(version, _ENVIRONMENT, f"DEL needs {', '.join(missing)}")
        return _spool(request, version, os.path.join(folder, SPOOL))  # noqa: PTH118 - costs 5 ms
    if command == "STATUS":
        return _error(version, _CANNOT_ADD, "the agent of this node does not answer: start it")
    return _error(version, _TRY_LATER, "the agent of this node does not answer: trying again helps")


def _spool(request: bytes, version: str, folder: str) -> Answer:
    name = f"{time.time_ns():020}-{os.getpid()}"
    part = f"{folder}/.{name}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        if len(os.listdir(folder)) >= _MOST:  # noqa: PTH208
            return _error(version, _TRY_LATER, f"{folder} is full: start the agent of this node")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            rest = memoryview(request)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(part, f"{folder}/{name}")  # noqa: PTH104
    except OSError as error:
        return _error(version, _TRY_LATER, f"{folder} cannot be written: {error.strerror}")
    return 0, b""


def _version(stdin: bytes) -> str:
    try:
        version = json.loads(stdin).get("cniVersion") or VERSIONS[0]
    except (ValueError, RecursionError, AttributeError):
        return LATEST
    return version if version in VERSIONS else LATEST


def _error(version: str, code: int, message: str) -> Answer:
    fields = {"cniVersion": version, "code": code, "msg": message, "details": ""}
    return 1, _dump(fields)


def _dump(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"
