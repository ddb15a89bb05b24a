"""What a node asks for and is told, as keys and values of a store.

Keys, each with the node's name and identity, percent-encoded: ``/claims/NAME/IDENTITY`` and
``/alive/NAME/IDENTITY`` are written by the node's agent, ``/refusals/NAME/IDENTITY`` by the
allocator. ``/allocator`` says who allocates. What was granted is in the records of addresses
(see ``codec``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, unquote

from ipam.codec import check_version
from ipam.errors import BadInputError
from ipam.model import Owner
from ipam.prefix import Family, Prefix

CLAIMS = "/claims/"
ALIVE = "/alive/"
REFUSALS = "/refusals/"
ALLOCATOR = "/allocator"

ANY_NETWORK = ""
"""In place of a network's name: any that the node may have blocks of."""

MOST_WANTED = 65_536
"""So many blocks of one network and family a node may want; more is taken for a mistake."""

_VERSION = 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


Wanted = Mapping[str, Mapping[Family, int]]
"""How many blocks a node wants to have, of each network and family."""


@dataclass(frozen=True, slots=True, order=True)
class Return:
    """A block that its owner gives back.

    ``token`` is that of its record: the same block, granted again later, is another one.
    """

    prefix: Prefix
    token: str


@dataclass(frozen=True, slots=True)
class NodeClaim:
    """What a node asks for: so many blocks in all, and which of those that it has it gives back.

    A return is for good: once it is written, the node uses nothing of that block any more.
    """

    node: str
    identity: str
    subnet: str
    labels: Mapping[str, str]
    wanted: Wanted
    returned: tuple[Return, ...] = ()

    @property
    def owner(self) -> Owner:
        """Who asks."""
        return self.node, self.identity


@dataclass(frozen=True, slots=True)
class RefusalRecord:
    """Why a claim is not granted. ``revision`` is the one that last changed that claim."""

    revision: int
    reason: str


Answer = TypeVar("Answer")


def claim_key(owner: Owner) -> str:
    """The key of a node's claim."""
    return CLAIMS + _tail(owner)


def alive_key(owner: Owner) -> str:
    """The key that is there while the node's agent keeps its lease."""
    return ALIVE + _tail(owner)


def refusal_key(owner: Owner) -> str:
    """The key of the allocator's answer to a claim that it does not grant."""
    return REFUSALS + _tail(owner)


def owner_of(key: str) -> Owner:
    """Whose key of these folders it is. Raises BadInputError where it names nobody."""
    _, _, tail = key[1:].partition("/")
    name, _, identity = tail.partition("/")
    if not name or not identity or "/" in identity:
        raise _no_record(key, ValueError("its key should end with a name and an identity"))
    return unquote(name), unquote(identity)


def encode_claim(claim: NodeClaim) -> bytes:
    """The value of a claim; the same claim always gives the same bytes."""
    fields = {
        "v": _VERSION,
        "subnet": claim.subnet,
        "labels": dict(claim.labels),
        "wanted": {
            network: {str(family): count for family, count in counts.items()}
            for network, counts in claim.wanted.items()
        },
        "returned": {str(one.prefix): one.token for one in claim.returned},
    }
    return _ENCODER.encode(fields).encode()


def decode_claim(key: str, value: bytes) -> NodeClaim:
    """The claim under a key. Raises BadInputError, UnavailableError for a newer version."""
    name, identity = owner_of(key)

    def read(fields: Mapping[str, object]) -> NodeClaim:
        returned = _texts(fields["returned"])
        return NodeClaim(
            name,
            identity,
            _text(fields["subnet"]),
            _texts(fields["labels"]),
            _wanted(fields["wanted"]),
            tuple(sorted(Return(Prefix.parse(p), token) for p, token in returned.items())),
        )

    return _decoded(key, value, read)


def encode_refusal(refusal: RefusalRecord) -> bytes:
    """The value of a refusal."""
    fields = {"v": _VERSION, "revision": refusal.revision, "reason": refusal.reason}
    return _ENCODER.encode(fields).encode()


def decode_refusal(key: str, value: bytes) -> RefusalRecord:
    """The refusal under a key. Raises BadInputError, UnavailableError for a newer version."""
    return _decoded(
        key, value, lambda f: RefusalRecord(_count(f["revision"], 1 << 63), _text(f["reason"]))
    )


def _tail(owner: Owner) -> str:
    return f"{quote(owner[0], safe='')}/{quote(owner[1], safe='')}"


def _decoded(key: str, value: bytes, read: Callable[[Mapping[str, object]], Answer]) -> Answer:
    try:
        fields = json.loads(value)
        check_version(key, fields["v"], _VERSION)
        return read(fields)
    except (ValueError, KeyError, TypeError, AttributeError, BadInputError) as error:
        raise _no_record(key, error) from error


def _no_record(key: str, error: Exception) -> BadInputError:
    return BadInputError(
        f"key {key} of the store holds no such record ({error}): restart the agent of that node, "
        "which writes it anew, or delete it"
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _count(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise TypeError(f"{value!r} is not a number from 0 to {most}")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not a mapping")
    return {_text(name): _text(text) for name, text in value.items()}


def _wanted(value: object) -> dict[str, dict[Family, int]]:
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise TypeError("wanted is not a mapping of networks to families and counts")
    return {
        network: {Family(family): _count(count, MOST_WANTED) for family, count in counts.items()}
        for network, counts in value.items()
    }
