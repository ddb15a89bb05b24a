"""Which entries are ours: those that were recorded in the store as an intent before their call.

One key for each: ``/routes/<table>/<destination>``. An intent says what a call is about to change;
once its effect is known, it is marked done, or the key is removed after a delete. So after a
crash at any point, an entry that we made is known as ours, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Prefix
from vpcrouter.fabric.port import Origin, Row

ROUTES = "/routes/"
CHECKS = "/checks/"
"""One key for each interface whose source/destination check was switched off here."""

VERSION = 1


class Stage(StrEnum):
    """How far a change is known to have come."""

    INTENT = "intent"  # the call may have been sent or not
    DONE = "done"


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """What the store says about one destination of one table.

    ``interface`` is the next hop that it has or is about to get (None: it is about to be
    deleted), ``previous`` the one that an intent replaces or deletes (None: it creates). ``maybe``
    are others that it has where earlier calls of unknown outcome have, or have not, happened.
    """

    table: str
    destination: Prefix
    interface: str | None
    previous: str | None
    stage: Stage
    maybe: tuple[str, ...] = ()

    @property
    def hops(self) -> tuple[str, ...]:
        """Every next hop that it may have, the likeliest first."""
        found = (self.interface, self.previous, *self.maybe)
        return tuple(dict.fromkeys(hop for hop in found if hop is not None))

    def owns(self, row: Row) -> bool:
        """Whether a row of this table and destination is ours.

        While the outcome of a call is open, only a row that leads where the call found or left it:
        somebody else may have come first. Rows to no interface are never ours.
        """
        if not row.to_interface or row.origin is not Origin.STATIC:
            return False
        return self.stage is Stage.DONE or row.target in self.hops


def route_key(table: str, destination: Prefix) -> str:
    """The key in the store."""
    return f"{ROUTES}{table}/{destination}"


def encode_route(record: RouteRecord) -> bytes:
    """The value in the store."""
    document = {
        "version": VERSION,
        "state": record.stage.value,
        "interface": record.interface,
        "previous": record.previous,
        **({"maybe": list(record.maybe)} if record.maybe else {}),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_route(key: str, value: bytes) -> RouteRecord:
    """The record of a key. Raises UnavailableError where a newer program or nobody wrote it."""
    table, _, destination = key.removeprefix(ROUTES).partition("/")
    try:
        document: object = json.loads(value)
        if isinstance(document, dict) and document.get("version") == VERSION:
            return RouteRecord(
                table=table,
                destination=Prefix.parse(destination),
                interface=_interface(document["interface"]),
                previous=_interface(document["previous"]),
                stage=Stage(document["state"]),
                maybe=_interfaces(document.get("maybe", [])),
            )
        if isinstance(document, dict) and isinstance(document.get("version"), int):
            raise UnavailableError(
                f"store: {key} is of version {document['version']}, this program knows {VERSION}: "
                "use the newer program"
            )
    except (ValueError, KeyError, RecursionError, BadInputError) as error:
        raise _damaged(key) from error
    raise _damaged(key)


def decode_routes(items: Iterable[tuple[str, bytes]]) -> Mapping[tuple[str, Prefix], RouteRecord]:
    """All records by table and destination, from keys and values."""
    records = (decode_route(key, value) for key, value in items)
    return {(record.table, record.destination): record for record in records}


def _interfaces(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(value)
    return tuple(value)


def _interface(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and value):
        raise ValueError(value)
    return value


def _damaged(key: str) -> UnavailableError:
    return UnavailableError(f"store: {key} is damaged: restore the store from a backup")
