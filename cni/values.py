"""Looking into JSON that others wrote: each value is of the expected type, or an error says where.

``None`` and a missing key mean the same, as in the Go programs that write this JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cni.errors import CniError, Code
from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, host_mask, parse_address

Json = Mapping[str, object]


def wrong(field: str, wanted: str) -> CniError:
    """The error for a field that is not what it should be."""
    return CniError(Code.CONFIG, f"field {field} of the network configuration: {wanted}")


def text(value: Json, key: str, field: str) -> str:
    """The text under a key, empty if there is none."""
    found = value.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise wrong(field, "write a text")
    return found


def number(value: Json, key: str, field: str) -> int | None:
    """The whole number from 0 to 2**32 - 1 under a key."""
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 32:
        raise wrong(field, "write a whole number from 0 to 4294967295")
    return found


def mapping(value: Json, key: str, field: str) -> Json | None:
    """The object under a key."""
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise wrong(field, "write an object")
    return found


def items(value: Json, key: str, field: str) -> Iterator[tuple[str, object]]:
    """The items of the list under a key, each with the name of its place; none if no list."""
    found = value.get(key)
    if found is None:
        return
    if not isinstance(found, list):
        raise wrong(field, "write a list")
    for position, item in enumerate(found):
        yield f"{field}[{position}]", item


def objects(value: Json, key: str, field: str) -> Iterator[tuple[str, Json]]:
    """The objects of the list under a key, each with the name of its place."""
    for place, item in items(value, key, field):
        if not isinstance(item, dict):
            raise wrong(place, "write an object")
        yield place, item


def texts(value: Json, key: str, field: str) -> tuple[str, ...]:
    """The texts of the list under a key."""
    found = []
    for place, item in items(value, key, field):
        if not isinstance(item, str):
            raise wrong(place, "write a text")
        found.append(item)
    return tuple(found)


def address(content: str, field: str) -> tuple[Family, int]:
    """An address such as 10.0.0.4."""
    try:
        return parse_address(content)
    except BadInputError as error:
        raise wrong(field, str(error)) from error


def address_with_length(content: str, field: str) -> tuple[Family, int, int]:
    """An address with the length of its prefix, such as 10.0.0.4/24 (alone: its full length)."""
    host, slash, digits = content.partition("/")
    family, value = address(host, field)
    if not slash:
        return family, value, family.width
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 3 or int(digits) > family.width:
        raise wrong(field, f"{content!r} has no prefix length of {family}")
    return family, value, int(digits)


def prefix(content: str, field: str) -> Prefix:
    """A prefix; host bits are cleared, as the kernel does."""
    family, value, length = address_with_length(content, field)
    return Prefix(family, value & ~host_mask(family, length), length)
