"""What a node last knew of its surroundings, kept on its disk for a start with the store away.

One JSON file, written whole or not at all. It may be old: whoever uses it adds what is missing by
it, and takes nothing away (``Host.put_back``).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cni.hostroutes import HostRoute
from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Prefix, format_address, parse_address

FILE = "surroundings.json"
"""Its name in the agent's state folder."""

_VERSION = 1
_NO_RECORD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class LastKnown:
    """Ranges of the networks, the node's own blocks, its host routes; by which store revision."""

    revision: int
    ranges: tuple[Prefix, ...]
    blocks: tuple[Prefix, ...]
    routes: tuple[HostRoute, ...]


class LastKnownFile:
    """The file of one node, by name and identity: what another one knew is of no use here."""

    def __init__(self, path: Path, node: str, identity: str) -> None:
        self._path = path
        self._owner = {"node": node, "identity": identity}

    def read(self) -> LastKnown | None:
        """What is there; None where nothing is.

        Raises UnavailableError where it cannot be read now, BadInputError where it is damaged,
        another node's or of another version. None of that keeps an agent from starting.
        """
        try:
            fields = json.loads(self._path.read_bytes())
            owner = {name: fields[name] for name in self._owner}
            version, revision = fields["v"], fields["revision"]
            ranges, blocks = (tuple(map(Prefix.parse, fields[n])) for n in ("ranges", "blocks"))
            routes = tuple(_route(*pair) for pair in fields["routes"].items())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(
                f"{self._path} cannot be read ({error.strerror}): check the disk"
            ) from error
        except (*_NO_RECORD, BadInputError) as error:
            raise BadInputError(
                f"{self._path} is damaged: it is left aside, and written anew from the store"
            ) from error
        if owner != self._owner or version != _VERSION or not isinstance(revision, int):
            raise BadInputError(
                f"{self._path} is of node {owner['node']} ({owner['identity']}), version {version}:"
                " it is left aside, and written anew from the store"
            )
        return LastKnown(revision, ranges, blocks, routes)

    def write(self, known: LastKnown) -> None:
        """Put this in place of what is there. Raises UnavailableError; then that stays."""
        fields = {
            "v": _VERSION,
            **self._owner,
            "revision": known.revision,
            "ranges": list(map(str, known.ranges)),
            "blocks": list(map(str, known.blocks)),
            "routes": {
                str(r.destination): format_address(r.destination.family, r.via)
                for r in known.routes
            },
        }
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            with part.open("wb") as file:
                file.write(json.dumps(fields, indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise UnavailableError(
                f"{self._path} cannot be written ({error.strerror}): after a restart with the "
                "store away this node would know its neighbours as they were before"
            ) from error


def _route(destination: str, via: str) -> HostRoute:
    prefix, (family, value) = Prefix.parse(destination), parse_address(via)
    if family is not prefix.family:
        raise ValueError(via)
    return HostRoute(prefix, value)
