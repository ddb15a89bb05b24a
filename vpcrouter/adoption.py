"""Which entries of a former controller may be taken over, and which not, and why. Pure.

Only what leads to a network interface, was made by a call and lies in the named ranges. Everything
else stays whoever's it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipam.errors import BadInputError
from ipam.prefix import Prefix, format_address, parse_address
from vpcrouter.fabric.port import Observation, Origin, Row
from vpcrouter.ownership import RouteRecord, Stage
from vpcrouter.problems import Problem

RouteSpec = Mapping[Prefix, frozenset[str]]
"""The addresses of the hosts that may be the next hop of each destination."""

NO_INTERFACE = "leads to no network interface: stays as it is"
NOT_STATIC = "was not made by a call: stays as it is"
NONE_OF_ITS_HOSTS = "leads to none of the hosts that the route spec names for it: stays as it is"


@dataclass(frozen=True, slots=True)
class Adoption:
    """``records`` would make entries ours, ``left`` names those in the ranges that stay foreign."""

    records: tuple[RouteRecord, ...]
    left: tuple[Problem, ...]


def parse_route_spec(content: bytes, name: str) -> RouteSpec:
    """The route spec of Romana's vpc-router: a JSON object of CIDRs, each with its hosts.

    Raises BadInputError, in one line, where it is none.
    """
    what = 'it should hold {"10.112.0.0/22": ["10.0.1.5"]}, CIDRs with addresses of hosts'
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{name}: is no JSON; {what}") from error
    if not isinstance(document, dict):
        raise BadInputError(f"{name}: is no route spec; {what}")
    spec: dict[Prefix, frozenset[str]] = {}
    for cidr, hosts in document.items():
        try:
            if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
                raise BadInputError(f"the hosts of {cidr} are no list of addresses")
            addresses = frozenset(format_address(*parse_address(host)) for host in hosts)
            spec[Prefix.parse(cidr)] = addresses
        except BadInputError as error:
            raise BadInputError(f"{name}: {error}; {what}") from error
    return spec


def adoption(
    seen: Observation,
    records: Iterable[tuple[str, Prefix]],
    within: Sequence[Prefix],
    tables: Sequence[str],
    spec: RouteSpec | None,
) -> Adoption:
    """What can be taken over in these tables (none named: in all of the VPC)."""
    ours = set(records)
    addresses = {
        interface.id: {address for found in interface.addresses.values() for address in found}
        for interface in seen.interfaces
    }
    found: list[RouteRecord] = []
    left: list[Problem] = []
    for table, row in _rows(seen, within, tables, spec):
        destination = row.destination
        if not isinstance(destination, Prefix) or (table, destination) in ours:
            continue
        reason = _why_not(row, addresses, None if spec is None else spec.get(destination))
        if reason is None:
            found.append(RouteRecord(table, destination, row.target, None, Stage.DONE))
        elif row.origin is not Origin.LOCAL:
            left.append(Problem(reason, f"{table} {destination}"))
    return Adoption(tuple(found), tuple(sorted(left)))


def _rows(
    seen: Observation, within: Sequence[Prefix], tables: Sequence[str], spec: RouteSpec | None
) -> Iterator[tuple[str, Row]]:
    for table in seen.tables:
        if tables and table.id not in tables:
            continue
        for row in table.rows:
            destination = row.destination
            if not isinstance(destination, Prefix):
                continue
            named = any(cidr.contains(destination) for cidr in within)
            if named or (spec is not None and destination in spec):
                yield table.id, row


def _why_not(
    row: Row, addresses: Mapping[str, set[str]], hosts: frozenset[str] | None
) -> str | None:
    if not row.to_interface:
        return NO_INTERFACE
    if row.origin is not Origin.STATIC:
        return NOT_STATIC
    if hosts is not None and hosts.isdisjoint(addresses.get(row.target, set())):
        return NONE_OF_ITS_HOSTS
    return None
