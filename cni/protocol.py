"""Requests of the CNI specification 0.1.0 to 1.1.0: environment and standard input become a value.

Whatever a caller sends gives a request or a CniError with the code that the specification asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cni.errors import CniError, Code
from cni.results import NO_DNS, Dns, Result, parse_dns, parse_result
from cni.values import Json, address_with_length, mapping, objects, text, texts, wrong
from cni.versions import LATEST, VERSIONS
from ipam.prefix import Family

MAX_INPUT = 1 << 20
"""Standard input that is longer, in bytes, is refused."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_LONGEST_INTERFACE = 15


class Command(StrEnum):
    """What a runtime asks for."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"
    VERSION = "VERSION"


class Mode(StrEnum):
    """How a pod is linked: a veth pair, or an ipvlan interface of the uplink."""

    VETH = "veth"
    IPVLAN = "ipvlan"


_REQUIRED = {
    Command.ADD: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    Command.CHECK: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    Command.DEL: ("CNI_CONTAINERID", "CNI_IFNAME"),
    Command.GC: ("CNI_PATH",),
    Command.STATUS: ("CNI_PATH",),
    Command.VERSION: (),
}
_SINCE = {Command.CHECK: "0.4.0", Command.GC: "1.1.0", Command.STATUS: "1.1.0"}


@dataclass(frozen=True, slots=True, order=True)
class Attachment:
    """One interface of one container: what ADD makes and DEL removes."""

    container: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.ifname} of container {self.container}"


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request.

    ``attachment`` is there for ADD, DEL and CHECK; ``netns`` is the path of the pod's network
    namespace, empty where a DEL comes after it is gone; ``namespace`` and ``pod`` are the names of
    the pod in Kubernetes, empty where the runtime says none; ``wanted`` and ``mac`` are what the
    runtime wants the pod to have; ``valid`` are the attachments that GC must keep; ``mode`` is how
    a new pod is linked.
    """

    command: Command
    version: str
    network: str
    attachment: Attachment | None = None
    netns: str = ""
    namespace: str = ""
    pod: str = ""
    wanted: tuple[tuple[Family, int], ...] = ()
    mac: str | None = None
    dns: Dns = NO_DNS
    previous: Result | None = None
    valid: frozenset[Attachment] = field(default_factory=frozenset)
    mode: Mode = Mode.VETH


def parse_request(environment: Mapping[str, str], stdin: bytes) -> Request:
    """The request that a runtime made; raises CniError where it is none."""
    command = _command(environment)
    attachment, netns = _environment(command, environment)
    if command is Command.VERSION:
        return Request(command, answer_version(stdin), "")
    config = _decode(stdin)
    version = _version(command, config)
    name = text(config, "name", "name")
    if not _NAME.fullmatch(name):
        raise wrong("name", "start it with a letter or digit, go on with these and _ . -")
    if not text(config, "type", "type"):
        raise wrong("type", "write the name of the plugin")
    previous = _previous(command, config, version)
    wanted, mac = _runtime_config(config)
    valid = _valid_attachments(config) if command is Command.GC else frozenset()
    dns = parse_dns(config, "dns")
    said = _arguments(environment)
    namespace, pod = (said.get(f"K8S_POD_{key}", "") for key in ("NAMESPACE", "NAME"))
    return Request(
        *(command, version, name, attachment, netns, namespace, pod, wanted, mac, dns),
        *(previous, valid, _mode(config)),
    )


def answer_version(stdin: bytes) -> str:
    """The version in which to answer: the caller's, 0.1.0 if it names none, else the latest."""
    try:
        version = text(_decode(stdin), "cniVersion", "cniVersion") or VERSIONS[0]
    except CniError:
        return LATEST
    return version if version in VERSIONS else LATEST


def dump_error(code: int, message: str, version: str) -> dict[str, object]:
    """An error as it goes to standard output."""
    return {"cniVersion": version, "code": int(code), "msg": message, "details": ""}


def dump_versions(version: str) -> dict[str, object]:
    """The answer to VERSION."""
    return {"cniVersion": version, "supportedVersions": list(VERSIONS)}


def _bad_environment(message: str) -> CniError:
    return CniError(Code.ENVIRONMENT, message)


def _command(environment: Mapping[str, str]) -> Command:
    name = environment.get("CNI_COMMAND", "")
    try:
        return Command(name)
    except ValueError as error:
        known = ", ".join(Command)
        raise _bad_environment(f"CNI_COMMAND is {name!r}: set it to one of {known}") from error


def _environment(command: Command, environment: Mapping[str, str]) -> tuple[Attachment | None, str]:
    required = _REQUIRED[command]
    missing = [name for name in required if not environment.get(name)]
    if missing:
        raise _bad_environment(f"{command} needs {', '.join(missing)} in the environment")
    if "CNI_CONTAINERID" not in required:
        return None, ""
    container, ifname = environment["CNI_CONTAINERID"], environment["CNI_IFNAME"]
    if not _NAME.fullmatch(container):
        raise _bad_environment(
            f"CNI_CONTAINERID is {container!r}: start it with a letter or digit, "
            "go on with these and _ . -"
        )
    if not _is_interface_name(ifname):
        raise _bad_environment(
            f"CNI_IFNAME is {ifname!r}: write 1 to {_LONGEST_INTERFACE} printable ASCII characters "
            "without / and :"
        )
    netns = environment.get("CNI_NETNS", "")
    if netns and (not netns.startswith("/") or not netns.isprintable() or len(netns) > 4000):
        raise _bad_environment(f"CNI_NETNS is {netns[:100]!r}: write an absolute path")
    _arguments(environment)
    return Attachment(container, ifname), netns


def _is_interface_name(name: str) -> bool:
    printable = all("!" <= character <= "~" for character in name)
    allowed = printable and not set(name) & set("/:%") and name not in (".", "..")
    return allowed and len(name) <= _LONGEST_INTERFACE


def _mode(config: Json) -> Mode:
    name = text(config, "mode", "mode")
    try:
        return Mode(name) if name else Mode.VETH
    except ValueError as error:
        raise wrong("mode", f"{name[:20]!r} is none of {', '.join(Mode)}") from error


def _arguments(environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for pair in filter(None, environment.get("CNI_ARGS", "").split(";")):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise _bad_environment(f"CNI_ARGS holds {pair[:100]!r}: write KEY=VALUE;KEY=VALUE")
        found[key] = value
    return found


def _decode(stdin: bytes) -> Json:
    if len(stdin) > MAX_INPUT:
        raise CniError(
            Code.DECODE, f"the network configuration is longer than {MAX_INPUT} bytes: shorten it"
        )
    try:
        config = json.loads(stdin)
    except (ValueError, RecursionError) as error:
        raise CniError(Code.DECODE, f"standard input is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise CniError(Code.DECODE, "standard input is no JSON object: send a configuration")
    return config


def _version(command: Command, config: Json) -> str:
    version = text(config, "cniVersion", "cniVersion") or VERSIONS[0]
    if version not in VERSIONS:
        raise CniError(
            Code.VERSION, f"cniVersion {version[:20]!r} is none of {', '.join(VERSIONS)}"
        )
    since = _SINCE.get(command, VERSIONS[0])
    if VERSIONS.index(version) < VERSIONS.index(since):
        raise CniError(Code.VERSION, f"{command} needs cniVersion {since} or newer, not {version}")
    return version


def _previous(command: Command, config: Json, version: str) -> Result | None:
    if command not in (Command.ADD, Command.CHECK):
        return None
    value = mapping(config, "prevResult", "prevResult")
    if value is not None:
        return parse_result(value, version)
    if command is Command.CHECK:
        raise wrong("prevResult", "CHECK needs the result of ADD")
    return None


def _runtime_config(config: Json) -> tuple[tuple[tuple[Family, int], ...], str | None]:
    fields = mapping(config, "runtimeConfig", "runtimeConfig") or {}
    wanted = []
    for place, content in enumerate(texts(fields, "ips", "runtimeConfig.ips")):
        family, value, _ = address_with_length(content, f"runtimeConfig.ips[{place}]")
        wanted.append((family, value))
    _check_wanted(wanted)
    mac = text(fields, "mac", "runtimeConfig.mac")
    if mac and not _is_unicast(mac):
        raise wrong("runtimeConfig.mac", "write a unicast address as 0a:58:0a:01:02:03")
    return tuple(wanted), mac.lower() or None


def _check_wanted(wanted: Iterable[tuple[Family, int]]) -> None:
    families = [family for family, _ in wanted]
    if len(set(families)) < len(families):
        raise wrong("runtimeConfig.ips", "write one address of each family at most")


def _is_unicast(mac: str) -> bool:
    if not _MAC.fullmatch(mac):
        return False
    octets = bytes.fromhex(mac.replace(":", ""))
    return not octets[0] & 1 and any(octets)


def _valid_attachments(config: Json) -> frozenset[Attachment]:
    """What GC keeps. Raises CniError if it is missing: nothing is freed for want of input."""
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        if config.get(key) is not None:
            return frozenset(
                Attachment(
                    _present(item, "containerID", f"{place}.containerID"),
                    _present(item, "ifname", f"{place}.ifname"),
                )
                for place, item in objects(config, key, key)
            )
    raise wrong("cni.dev/valid-attachments", "GC needs the list of attachments to keep")


def _present(item: Json, key: str, field_name: str) -> str:
    found = text(item, key, field_name)
    if not found:
        raise wrong(field_name, "write what ADD was called with")
    return found
