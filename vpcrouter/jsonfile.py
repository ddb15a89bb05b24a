"""Other programs' JSON files: read once, each field checked where it is used, errors with a path.

What is not asked for is ignored: such files carry far more than is needed. What there is very much
of is decoded by its type, where it is as it should be; ``JsonObject`` reads everything else, and
says what is wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from ipam.errors import BadInputError
from ipam.prefix import Prefix

_SHOWN = 60

_Typed = TypeVar("_Typed")


class UnlikeError(Exception):
    """Something is not as it nearly always is: read it with ``JsonObject``, which can judge it."""


@dataclass(frozen=True, slots=True)
class JsonObject:
    """An object of a file, which knows where it stands (``RouteTables[3].Routes[0]``).

    ``file`` may also be the name of whoever answered with it.
    Every accessor raises BadInputError where the field has another type. Null counts as absent.
    """

    file: Path | str
    where: str
    fields: dict[str, object]

    def error(self, message: str) -> BadInputError:
        """The error to raise about this object."""
        return BadInputError(f"{self.file}: {self.where + ': ' if self.where else ''}{message}")

    def optional_text(self, key: str) -> str | None:
        """A printable text; None where it is absent or empty."""
        value = self.fields.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not value.isprintable():
            raise self._wrong(key, value, "text on one line")
        return value

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self.optional_text(key)
        if value is None:
            raise self.error(f"{key} is missing")
        return value

    def optional_prefix(self, key: str) -> Prefix | None:
        """A canonical CIDR; None where it is absent."""
        value = self.optional_text(key)
        if value is None:
            return None
        try:
            return Prefix.parse(value)
        except BadInputError as error:
            raise self.error(f"{key}: {error}") from error

    def flag(self, key: str, *, absent: bool) -> bool:
        """True or false, with what an absent one means."""
        value = self.fields.get(key)
        if value is None:
            return absent
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def whole_number(self, key: str) -> int | None:
        """A whole number of at least 0 (50.0 is one); None where it is absent."""
        value = self.fields.get(key)
        if value is None:
            return None
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise self._wrong(key, value, "a whole number of at least 0")
        return number

    def child(self, key: str) -> JsonObject | None:
        """An object inside this one; None where it is absent."""
        value = self.fields.get(key)
        if value is None:
            return None
        return self._object(self._place(key), value)

    def children(self, key: str) -> list[JsonObject]:
        """The objects of a list; none where it is absent."""
        value = self.fields.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        place = self._place(key)
        return [self._object(f"{place}[{index}]", item) for index, item in enumerate(value)]

    def texts(self, key: str) -> list[str]:
        """The texts of a list; none where it is absent."""
        value = self.fields.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, value, "a list of texts")
        return value

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _object(self, where: str, value: object) -> JsonObject:
        if not isinstance(value, dict):
            raise BadInputError(f"{self.file}: {where} should be an object, is {_shown(value)}")
        return JsonObject(self.file, where, value)

    def _wrong(self, key: str, value: object, wanted: str) -> BadInputError:
        return self.error(f"{key} should be {wanted}, is {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def read_json(path: Path, what: str) -> JsonObject:
    """The object that a JSON file holds; ``what`` says how to get such a file.

    Raises BadInputError, in one line, for whatever is none.
    """
    return parse_json(path, read_content(path, what), what)


def read_content(path: Path, what: str) -> bytes:
    """What a file holds. Raises BadInputError likewise where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}; {what}") from error


def parse_typed(decoder: msgspec.json.Decoder[_Typed], content: bytes) -> _Typed:
    """What a file holds by its type. Raises UnlikeError, also where it is no JSON at all."""
    try:
        if not content.isascii():
            content.decode()  # the decoder does not look at texts that nobody asks for
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnlikeError from error


def is_plain(content: bytes) -> bool:
    """Whether every text in a JSON file can be printed on one line, seen without looking at one.

    JSON has control characters as escapes only, but for DEL.
    """
    return content.isascii() and b"\\" not in content and b"\x7f" not in content


def printable(text: str) -> str:
    """The text. Raises UnlikeError where it cannot be printed on one line."""
    if not text.isprintable():
        raise UnlikeError
    return text


def parse_json(path: Path, content: bytes, what: str) -> JsonObject:
    """The object that the content of a file holds. Raises BadInputError likewise."""
    try:
        value: object = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: is not UTF-8 text at byte {error.start}; {what}") from error
    except json.JSONDecodeError as error:
        raise BadInputError(f"{path}:{error.lineno}: is not JSON: {error.msg}; {what}") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: is no JSON that can be read; {what}") from error
    if not isinstance(value, dict):
        raise BadInputError(f"{path}: should be an object, is {_shown(value)}; {what}")
    return JsonObject(path, "", value)
