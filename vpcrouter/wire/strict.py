"""Strict reading of JSON: exact types, known fields only, and the path of whatever is wrong.

JSON text becomes ``Record`` objects, which hand out their fields by type and raise BadInputError
with file, path of the field, what is wrong and what to do. What Python's parser lets pass (NaN,
Infinity, a key given twice) is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, format_address, parse_address

COUNT_MAX = 2**53  # beyond it other programs' JSON readers lose digits
_SHOWN = 60
_FAMILIES = {family.value: family for family in Family}


def load_json(text: str | bytes, source: str) -> object:
    """The value that the text holds; an object with a key given twice is found when it is read.

    Raises BadInputError, naming line and column where there are any.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(decoded, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"{source}: byte {error.start} is not UTF-8 text: give a JSON file"
        ) from error
    except json.JSONDecodeError as error:
        raise BadInputError(
            f"{source}: line {error.lineno}, column {error.colno}: not JSON, {_lower(error.msg)}: "
            "correct the file"
        ) from error
    except RecursionError as error:
        raise BadInputError(f"{source}: nested too deeply: correct the file") from error
    except ValueError as error:
        raise BadInputError(f"{source}: not JSON, {error}: correct the file") from error


def shown(value: object) -> str:
    """A value as error messages show it: JSON on one line, shortened, safe to print anywhere."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > COUNT_MAX:
        return "a huge number"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 4] + '..."'


def fail(source: str, path: str, problem: str) -> NoReturn:
    """Raise BadInputError for the field at this path."""
    raise BadInputError(f"{source}: {path}: {problem}" if path else f"{source}: {problem}")


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields that an object must have and may have."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


class Record:
    """One JSON object of a known shape, with its place in the file.

    ``index`` is its position where it is an element of the list at ``path``; the place is put
    into words only when something is wrong, so that a million good records cost little.
    """

    __slots__ = ("_index", "_path", "_raw", "_source")

    def __init__(
        self, raw: object, shape: Shape, source: str, path: str = "", index: int | None = None
    ) -> None:
        """Raises BadInputError where ``raw`` is no object or has other fields than the shape's."""
        self._source = source
        self._path = path
        self._index = index
        if type(raw) is not dict:
            self._refuse_other(raw)
        self._raw: dict[str, object] = raw
        keys = raw.keys()
        if not shape.required <= keys:
            missing = min(shape.required - keys)
            self.fail(missing, "is missing: add it")
        if len(keys) > len(shape.required) and not keys <= shape.required | shape.optional:
            unknown = min(keys - shape.required - shape.optional)
            name = unknown if unknown.isidentifier() else shown(unknown)
            self.fail(name, "unknown field: remove it or correct its name")

    @property
    def place(self) -> str:
        """Where the object is, such as ``nodes[3]``; empty for the whole file."""
        return self._path if self._index is None else f"{self._path}[{self._index}]"

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise BadInputError for one field of this object."""
        place = self.place
        fail(self._source, f"{place}.{key}" if place else key, problem)

    def name(self, key: str) -> str:
        """A text that is not empty and can be printed on one line."""
        value = self._raw[key]
        if type(value) is not str or not value or not value.isprintable():
            self.fail(key, f"{shown(value)} is no name: give a non-empty printable text")
        return value

    def label(self, key: str) -> str:
        """A printable text, possibly empty."""
        value = self._raw[key]
        if type(value) is not str or not value.isprintable():
            self.fail(key, f"{shown(value)} is no text: give a printable text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._raw.get(key, default)
        if type(value) is not bool:
            self.fail(key, f"{shown(value)} is neither true nor false: give one of the two")
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number that is at least 0."""
        value = self._raw.get(key, default)
        if type(value) is float and 0.0 <= value < math.inf:
            return value + 0.0  # turns -0.0 into 0.0
        if type(value) is int and value >= 0:
            try:
                return float(value)
            except OverflowError:
                self.fail(key, "the number is too large: give a finite one")
        if type(value) is float and value == math.inf:
            self.fail(key, "the number is too large: give a finite one")
        self.fail(key, f"{shown(value)} is not a number of at least 0: give one")

    def positive(self, key: str, default: float) -> float:
        """A finite number above 0."""
        value = self.number(key, default)
        if value <= 0.0:
            self.fail(key, f"{shown(self._raw[key])} is not a number above 0: give one")
        return value

    def prefix(self, key: str) -> Prefix:
        """A CIDR without host bits."""
        return self._parse_prefix(key, self._raw[key])

    def prefixes(self, key: str) -> list[Prefix]:
        """A list of CIDRs without host bits; empty where the field is missing."""
        return [
            self._parse_prefix(f"{key}[{position}]", value)
            for position, value in enumerate(self._list(key))
        ]

    def counts(self, key: str) -> dict[Family, int]:
        """A whole number for each family; a family that is missing counts 0."""
        given = self._families(key)
        counts = dict.fromkeys(Family, 0)
        for family, value in given.items():
            if type(value) is not int or not 0 <= value <= COUNT_MAX:
                self.fail(
                    f"{key}.{family}",
                    f"{shown(value)} is not a whole number of at least 0: give a number of entries",
                )
            counts[family] = value
        return counts

    def addresses(self, key: str) -> dict[Family, str]:
        """An address for each family given, in canonical text."""
        found: dict[Family, str] = {}
        for family, value in self._families(key).items():
            place = f"{key}.{family}"
            if type(value) is not str:
                self.fail(place, f"{shown(value)} is no address: give it as text")
            try:
                actual, number = parse_address(value)
            except BadInputError as error:
                self.fail(place, str(error))
            if actual is not family:
                self.fail(place, f"{shown(value)} is {actual}: give an {family} address")
            found[family] = format_address(family, number)
        return found

    def records(self, key: str, shape: Shape) -> Iterator[Record]:
        """The objects of a list; none where the field is missing."""
        place = self.place
        path = f"{place}.{key}" if place else key
        for index, raw in enumerate(self._list(key)):
            yield Record(raw, shape, self._source, path, index)

    def version(self, key: str, expected: int) -> None:
        """Check the format's version, which is a whole number."""
        value = self._raw[key]
        if type(value) is not int or value != expected:
            self.fail(key, f"{shown(value)} is not known: this program reads version {expected}")

    def _families(self, key: str) -> Mapping[Family, object]:
        value = self._raw[key]
        if type(value) is not dict:
            self.fail(key, _not_an_object(value, 'as {"ipv4": ...}'))
        for name in value:
            if name not in _FAMILIES:
                self.fail(key, f"{shown(name)} is no family: use ipv4 and ipv6")
        return {_FAMILIES[name]: item for name, item in value.items()}

    def _list(self, key: str) -> list[object]:
        value = self._raw.get(key, [])
        if type(value) is not list:
            self.fail(key, f"{shown(value)} is no list: give a list in [ ]")
        return value

    def _parse_prefix(self, place: str, value: object) -> Prefix:
        if type(value) is not str:
            self.fail(place, f"{shown(value)} is no CIDR: give it as text")
        try:
            return Prefix.parse(value)
        except BadInputError as error:
            self.fail(place, str(error))

    def _refuse_other(self, raw: object) -> NoReturn:
        fail(self._source, self.place, _not_an_object(raw, "in { }"))


class _Doubled(dict[str, object]):
    """An object in which a key was given more than once; ``key`` is the first such."""

    key: str


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    doubled = _Doubled(value)
    doubled.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return doubled


def _not_an_object(value: object, how: str) -> str:
    if isinstance(value, _Doubled):
        return f"the field {shown(value.key)} is given twice: remove one"
    return f"{shown(value)} is no object: write one {how}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
