"""The parameters of one EC2 Query request, each of which must be used: others are refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from vpcrouter.fabric.codes import Code, Ec2Error

MISSING = "MissingParameter"
UNKNOWN = "UnknownParameter"
MALFORMED = "MalformedQueryString"
FILTER_LIMIT = "FilterLimitExceeded"

_FILTER_VALUES = 200
_ALWAYS = ("Action", "Version", "DryRun")


class Parameters:
    """What was sent, by name; reading a parameter counts as knowing it. Raises Ec2Error."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = dict(fields)
        self._unused = set(fields) - set(_ALWAYS)

    @classmethod
    def parse(cls, body: str) -> Parameters:
        """The parameters in the body of a request, form encoded."""
        try:
            pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body))
        except ValueError as error:
            raise Ec2Error(MALFORMED, "The query string is malformed.") from error
        return cls(dict(pairs))

    @property
    def fields(self) -> Mapping[str, str]:
        """Everything as it was sent, for who decides whether it is allowed."""
        return dict(self._fields)

    @property
    def action(self) -> str:
        """The call's name."""
        return self.text("Action")

    @property
    def dry_run(self) -> bool:
        """Whether only permission is asked for."""
        return self.flag("DryRun") or False

    def optional(self, name: str) -> str | None:
        """A text; None where it is absent."""
        self._unused.discard(name)
        return self._fields.get(name)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.optional(name)
        if not value:
            raise Ec2Error(MISSING, f"The request must contain the parameter {name}")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false; None where it is absent."""
        value = self.optional(name)
        if value not in (None, "true", "false"):
            raise Ec2Error(Code.INVALID_PARAMETER, f"Invalid value '{value}' for {name}")
        return None if value is None else value == "true"

    def number(self, name: str, low: int, high: int) -> int | None:
        """A whole number in a range; None where it is absent."""
        value = self.optional(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise Ec2Error(
                Code.INVALID_PARAMETER,
                f"Value ( {value} ) for parameter {name} is invalid. Expecting a value between "
                f"{low} and {high}.",
            )
        return int(value)

    def texts(self, name: str) -> list[str]:
        """The texts of a list: ``Name.1``, ``Name.2`` and so on."""
        found: list[str] = []
        while (value := self.optional(f"{name}.{len(found) + 1}")) is not None:
            found.append(value)
        return found

    def filters(self, known: Iterable[str]) -> dict[str, list[str]]:
        """The filters by name, each of them known."""
        allowed = set(known)
        found: dict[str, list[str]] = {}
        count = 0
        while (name := self.optional(f"Filter.{len(found) + 1}.Name")) is not None:
            values = self.texts(f"Filter.{len(found) + 1}.Value")
            if name not in allowed:
                raise Ec2Error(Code.INVALID_PARAMETER, f"The filter '{name}' is invalid")
            if not values or name in found:
                raise Ec2Error(Code.INVALID_PARAMETER, f"The filter '{name}' has no single meaning")
            found[name] = values
            count += len(values)
        if count > _FILTER_VALUES:
            raise Ec2Error(FILTER_LIMIT, f"The maximum number of filter values is {_FILTER_VALUES}")
        return found

    def end(self) -> None:
        """Nothing else may have been sent."""
        if self._unused:
            name = min(self._unused)
            raise Ec2Error(UNKNOWN, f"The parameter {name} is not recognized")
