"""Address families and prefixes as integers; text is parsed and printed here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import netaddr
from msgspec import Struct
from netaddr.strategy import ipv4 as _ipv4
from netaddr.strategy import ipv6 as _ipv6

from ipam.errors import BadInputError

# Ten times faster than netaddr, which counts: snapshots hold 200,000 IPv4 addresses.
_OCTETS = {str(number): number for number in range(256)}
# Length and host mask by the length's digits, likewise.
_IPV4_LENGTHS = {str(length): (length, (1 << 32 - length) - 1) for length in range(33)}


class Family(StrEnum):
    """An address family, by the name it has in every file and output."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    # An enumeration's own hash is a call of Python for each look into a mapping or set of prefixes.
    __hash__ = str.__hash__

    @property
    def width(self) -> int:
        """Address length in bits."""
        return 32 if self is Family.IPV4 else 128


def parse_address(text: str) -> tuple[Family, int]:
    """The family and number of an address such as ``10.0.0.4`` or ``fd00::4``.

    Raises BadInputError for anything else, shortened IPv4 forms such as ``10.1`` included.
    """
    try:
        first, second, third, fourth = map(_OCTETS.__getitem__, text.split("."))
    except (KeyError, ValueError):
        return _parse_other_address(text)
    return Family.IPV4, first << 24 | second << 16 | third << 8 | fourth


def _parse_other_address(text: str) -> tuple[Family, int]:
    family = Family.IPV6 if ":" in text else Family.IPV4
    try:
        if family is Family.IPV4:
            return family, int(_ipv4.str_to_int(text, netaddr.INET_PTON))
        return family, int(_ipv6.str_to_int(text))
    except (netaddr.AddrFormatError, ValueError) as error:
        raise BadInputError(
            f"{text!r} is not an IP address: write it as 10.0.0.4 or fd00::4"
        ) from error


def format_address(family: Family, value: int) -> str:
    """The canonical text of an address (RFC 5952 for IPv6)."""
    if family is Family.IPV4:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    return str(_ipv6.int_to_str(value))


def canonical_address(text: str) -> tuple[Family, str]:
    """The family and the canonical text of an address; raises BadInputError likewise."""
    try:
        a, b, c, d = text.split(".")
    except ValueError:
        pass
    else:
        if a in _OCTETS and b in _OCTETS and c in _OCTETS and d in _OCTETS:
            return Family.IPV4, text
    family, number = parse_address(text)
    return family, format_address(family, number)


class Prefix(Struct, frozen=True, order=True, gc=False):
    """A CIDR: ``length`` leading bits of ``value``, whose other bits are zero.

    Ordered by family, then address, then from less to more specific.
    """

    family: Family
    value: int
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """The prefix that ``text`` names; raises BadInputError where it is not a canonical CIDR."""
        try:
            address, digits = text.split("/")
            first, second, third, fourth = address.split(".")
            value = _OCTETS[first] << 24 | _OCTETS[second] << 16
            value |= _OCTETS[third] << 8 | _OCTETS[fourth]
            length, mask = _IPV4_LENGTHS[digits]
        except (KeyError, ValueError):
            return cls._parse_other(text)
        return cls._parse_other(text) if value & mask else cls(Family.IPV4, value, length)

    @classmethod
    def _parse_other(cls, text: str) -> Prefix:
        address, slash, digits = text.partition("/")
        if not slash or not (digits.isascii() and digits.isdigit()):
            raise BadInputError(f"{text!r} is not a CIDR: write it as 100.64.0.0/10")
        family, value = parse_address(address)
        length = int(digits)
        if length > family.width:
            raise BadInputError(f"{text!r} is not a CIDR: the length is at most {family.width}")
        if value & host_mask(family, length):
            canonical = cls(family, value & ~host_mask(family, length), length)
            raise BadInputError(f"{text!r} has host bits set: write {canonical}")
        return cls(family, value, length)

    def __str__(self) -> str:
        return f"{format_address(self.family, self.value)}/{self.length}"

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return 1 << (self.family.width - self.length)

    @property
    def last(self) -> int:
        """The number of its last address."""
        return self.value | host_mask(self.family, self.length)

    def contains(self, other: Prefix) -> bool:
        """Whether every address of ``other`` is one of this prefix's (equal prefixes: yes)."""
        return (
            self.family is other.family
            and self.length <= other.length
            and self.value <= other.value <= self.last
        )

    def overlaps(self, other: Prefix) -> bool:
        """Whether the two share an address: one of them then contains the other."""
        return self.contains(other) or other.contains(self)

    def holds(self, address: int) -> bool:
        """Whether the address of this family with this number is inside."""
        return self.value <= address <= self.last

    def ancestor(self, length: int) -> Prefix:
        """The prefix of that shorter (or equal) length which contains this one."""
        return Prefix(self.family, self.value & ~host_mask(self.family, length), length)

    def halves(self) -> tuple[Prefix, Prefix]:
        """Its two children; raises ValueError for a single address."""
        if self.length == self.family.width:
            raise ValueError(f"{self} is a single address")
        length = self.length + 1
        high = self.value | (1 << (self.family.width - length))
        return Prefix(self.family, self.value, length), Prefix(self.family, high, length)


def host_mask(family: Family, length: int) -> int:
    """The bits of an address that a prefix of this length leaves open."""
    return (1 << (family.width - length)) - 1


def merge(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The fewest prefixes with exactly the same addresses, in order: nested and adjacent ones join.

    >>> [str(p) for p in merge([Prefix.parse("10.0.0.0/25"), Prefix.parse("10.0.0.128/25")])]
    ['10.0.0.0/24']
    """
    merged: list[Prefix] = []
    for prefix in sorted(prefixes):
        if merged and merged[-1].contains(prefix):
            continue
        merged.append(prefix)
        while len(merged) > 1 and _are_siblings(merged[-2], merged[-1]):
            last = merged.pop()
            merged[-1] = last.ancestor(last.length - 1)
    return tuple(merged)


def spanned(family: Family, first: int, last: int) -> tuple[Prefix, ...]:
    """The fewest prefixes with exactly the addresses from the first to the last.

    >>> _, first = parse_address("10.0.0.5")
    >>> [str(p) for p in spanned(Family.IPV4, first, first + 4)]
    ['10.0.0.5/32', '10.0.0.6/31', '10.0.0.8/31']
    """
    found = []
    while first <= last:
        bits = min((last - first + 1).bit_length() - 1, family.width)
        if first:
            bits = min(bits, (first & -first).bit_length() - 1)
        found.append(Prefix(family, first, family.width - bits))
        first += 1 << bits
    return tuple(found)


def _are_siblings(left: Prefix, right: Prefix) -> bool:
    return (
        left.family is right.family
        and left.length == right.length > 0
        and left.ancestor(left.length - 1) == right.ancestor(right.length - 1)
    )
