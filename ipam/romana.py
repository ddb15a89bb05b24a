"""Topologies of Romana: its JSON as networks of ours, or a refusal that names what has no equal.

Romana's file has ``networks`` (name, cidr, block_mask, tenants) and ``topologies``: for some of
the networks a ``map`` of nested groups. A group has groups, or hosts (a name and an ip), or an
empty list, which makes it a leaf; ``assignment`` are labels that its hosts have.

Groups stay what they are, one for one, and share their network evenly. Where several take the same
nodes (the same assignment beside each other, or none at all) Romana gives a new host to the one
with the fewest; so does placement here, by load. Addresses of hosts are not needed, since nodes are
known by name; they are kept beside the groups, to be shown. Everything else that a file says and
that is not kept is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ipam.errors import BadInputError
from ipam.model import Network
from ipam.network import check_network, check_networks
from ipam.prefix import Family, Prefix, parse_address
from ipam.topology import NamedGroup, topology

BLOCK_MASK = 29
"""The length of a block where a network says nothing."""

_NODE = {Family.IPV4: 24, Family.IPV6: 64}
MAX_DEPTH = 8
_MAX_NAME = 253
_MAX_NETWORK_NAME = 63


@dataclass(frozen=True, slots=True)
class Imported:
    """Networks with their groups; ``hosts`` are the addresses of hosts by name."""

    networks: tuple[Network, ...]
    hosts: Mapping[str, str]


def read_romana(text: str, source: str) -> Imported:
    """The networks of a file; ``source`` names it in messages.

    Raises BadInputError, naming the network, group or field, where it is no such file, contradicts
    itself, or says what has no equal here.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
        return _Reader().file(value)
    except _DuplicateError as error:
        raise BadInputError(f"{source}: field {error} is given twice: give it once") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "nests too deep"
        raise BadInputError(f"{source}: is not JSON: {reason}") from error
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from error


class _DuplicateError(Exception):
    """A field that an object has twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateError(repr(next(name for name in names if names.count(name) > 1)))
    return fields


class _Reader:
    """Reads one file."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}

    def file(self, value: object) -> Imported:
        fields = _object(value, "the file", ("networks", "topologies"))
        networks = self._networks(_list(fields, "networks", "the file"))
        placed: dict[str, Network] = {}
        for number, item in enumerate(_list(fields, "topologies", "the file")):
            for network in self._topology(item, f"topologies[{number}]", networks):
                if network.name in placed:
                    raise BadInputError(
                        f"network {network.name} is in two topologies: leave it in one"
                    )
                placed[network.name] = network
        for name in networks:
            if name not in placed:
                raise BadInputError(
                    f"network {name} is in no topology, so nothing is given out of it: add it to "
                    "one, or leave it out"
                )
        found = tuple(placed[name] for name in networks)
        for network in found:
            check_network(network)
        check_networks(found)
        return Imported(found, self._hosts)

    def _networks(self, items: Sequence[object]) -> dict[str, Network]:
        networks: dict[str, Network] = {}
        for number, item in enumerate(items):
            where = f"networks[{number}]"
            fields = _object(item, where, ("name", "cidr", "block_mask", "tenants"))
            network = _network(fields, where)
            if network.name in networks:
                raise BadInputError(f"two networks are named {network.name}: rename one")
            networks[network.name] = network
        if not networks:
            raise BadInputError("networks is empty: list at least one")
        return networks

    def _topology(
        self, value: object, where: str, networks: Mapping[str, Network]
    ) -> Iterator[Network]:
        fields = _object(value, where, ("networks", "map"))
        names = _list(fields, "networks", where)
        groups = tuple(self._groups(_list(fields, "map", where), f"{where}.map", 1))
        if not groups:
            raise BadInputError(f"{where}.map is empty, so no host has a place: list its groups")
        made = topology((), groups)
        for name in names:
            if not isinstance(name, str) or name not in networks:
                raise BadInputError(f"{where}: there is no network {name!r}: define it")
            yield replace(networks[name], topology=made)

    def _groups(self, items: Sequence[object], where: str, depth: int) -> Iterator[NamedGroup]:
        if depth > MAX_DEPTH:
            raise BadInputError(f"{where}: groups nest more than {MAX_DEPTH} deep: flatten them")
        names: set[str] = set()
        for number, item in enumerate(items):
            group = self._group(item, f"{where}[{number}]", f"group-{number + 1}", depth)
            if group.name in names:
                raise BadInputError(f"{where}: two groups are named {group.name!r}: rename one")
            names.add(group.name)
            yield group

    def _group(self, value: object, where: str, otherwise: str, depth: int) -> NamedGroup:
        known = ("name", "groups", "assignment", "ip", "routing", "dummy")
        fields = _object(value, where, known)
        name = _text(fields, "name", where) or otherwise
        what = f"group {name!r} ({where})"
        if _text(fields, "ip", where):
            raise BadInputError(
                f"host {name!r} ({where}) stands where a group should: put it into a group"
            )
        _refuse_unkept(fields, what)
        labels = _labels(fields, what)
        inner = _list(fields, "groups", what)
        hosts = [item for item in inner if isinstance(item, dict) and item.get("ip")]
        if not hosts:
            groups = tuple(self._groups(inner, f"{where}.groups", depth + 1))
            return NamedGroup(name, labels=labels, groups=groups)
        if len(hosts) < len(inner):
            raise BadInputError(f"{what} has hosts and groups beside each other: give it one kind")
        if labels:
            raise BadInputError(
                f"{what} has hosts and an assignment: they would have to agree for every host; "
                "give it one of the two"
            )
        names = [self._host(host, f"{where}.groups[{number}]") for number, host in enumerate(hosts)]
        return NamedGroup(name, hosts=tuple(names))

    def _host(self, fields: Mapping[str, object], where: str) -> str:
        _object(fields, where, ("name", "ip", "groups", "assignment", "routing", "dummy"))
        name = _text(fields, "name", where)
        if not name:
            raise BadInputError(f"{where}: a host has no name: name it as its node")
        what = f"host {name!r} ({where})"
        _refuse_unkept(fields, what)
        if fields.get("groups") or fields.get("assignment"):
            raise BadInputError(
                f"{what} is a host, but has groups or an assignment: leave them out"
            )
        address = str(fields["ip"])
        try:
            parse_address(address)
        except BadInputError as error:
            raise BadInputError(f"{what}: {error}") from error
        if self._hosts.setdefault(name, address) != address:
            raise BadInputError(f"{what} has two addresses: give it one")
        return name


def _network(fields: Mapping[str, object], where: str) -> Network:
    name = _text(fields, "name", where)
    if not _is_network_name(name):
        raise BadInputError(
            f"{where}: a network cannot be named {name!r} here: use letters, digits, '.', '_' and "
            f"'-', at most {_MAX_NETWORK_NAME}"
        )
    what = f"network {name}"
    try:
        cidr = Prefix.parse(_text(fields, "cidr", what))
    except BadInputError as error:
        raise BadInputError(f"{what}: cidr {error}") from error
    block = _block_mask(fields, what, cidr)
    lengths = {Family.IPV4: 26, Family.IPV6: 80} | {cidr.family: block}
    nodes = _NODE | {cidr.family: min(block, max(_NODE[cidr.family], cidr.length))}
    return Network(name, (cidr,), lengths, nodes, tenants=tuple(_tenants(fields, what)))


def _block_mask(fields: Mapping[str, object], what: str, cidr: Prefix) -> int:
    """The length of a block; Romana takes 0 for none given."""
    value = fields.get("block_mask")
    if value is None or (value == 0 and not isinstance(value, bool)):
        if cidr.family is Family.IPV6:
            raise BadInputError(f"{what}: {cidr} needs a block_mask: the default is for IPv4")
        value = BLOCK_MASK
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInputError(f"{what}: block_mask {_short(value)} should be a whole number")
    if not cidr.length <= value <= cidr.family.width:
        raise BadInputError(
            f"{what}: block_mask {value} should be from {cidr.length} (the cidr) to "
            f"{cidr.family.width}"
        )
    return value


def _tenants(fields: Mapping[str, object], what: str) -> Iterator[str]:
    for tenant in _list(fields, "tenants", what):
        if not isinstance(tenant, str) or not _is_network_name(tenant):
            raise BadInputError(
                f"{what}: tenant {_short(tenant)} cannot be kept: tenants are Kubernetes namespaces"
            )
        yield tenant


def _refuse_unkept(fields: Mapping[str, object], what: str) -> None:
    if fields.get("routing"):
        raise BadInputError(
            f"{what}: routing {_short(fields['routing'])} has no equal: every entry of a route "
            "table is planned; leave it out"
        )
    if fields.get("dummy"):
        raise BadInputError(
            f"{what}: dummy is only padding, which is not needed here: leave the group out"
        )


def _labels(fields: Mapping[str, object], what: str) -> tuple[tuple[str, str], ...]:
    value = fields.get("assignment")
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise BadInputError(f"{what}: assignment should be a mapping of labels to values")
    for label, wanted in value.items():
        if not isinstance(wanted, str) or not _is_text(label) or not (_is_text(wanted)):
            raise BadInputError(
                f"{what}: assignment {_short(label)}: {_short(wanted)} is no label of a node"
            )
    return tuple(sorted(value.items()))


def _object(value: object, where: str, known: Iterable[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BadInputError(f"{where} should be an object, not {_short(value)}")
    for field in value:
        if field not in known:
            raise BadInputError(
                f"{where}: field {_short(field)} cannot be kept: known are {', '.join(known)}"
            )
    return value


def _list(fields: Mapping[str, object], field: str, where: str) -> list[object]:
    """A list, empty where it is absent."""
    value = fields.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInputError(f"{where}: {field} should be a list, not {_short(value)}")
    return value


def _text(fields: Mapping[str, object], field: str, where: str) -> str:
    """A text, empty where it is absent."""
    value = fields.get(field)
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not _is_text(value):
        raise BadInputError(f"{where}: {field} {_short(value)} should be text on one line")
    return value


def _is_text(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAME and text.isprintable()


def _is_network_name(name: str) -> bool:
    """A name that a cluster file takes for a network, and Kubernetes for a namespace."""
    plain = name.replace(".", "").replace("_", "").replace("-", "")
    return (
        0 < len(name) <= _MAX_NETWORK_NAME
        and name.isascii()
        and plain.isalnum()
        and name[0].isalnum()
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
