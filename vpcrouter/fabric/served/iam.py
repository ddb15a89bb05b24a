"""IAM policies: whether one allows what is asked for. Pure.

Evaluated as IAM does for one identity: what no statement allows is denied, and a statement that
denies wins. Elements and operators that are not known are refused, so that none is passed over.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ipam.errors import BadInputError

ANY = "*"

_ELEMENTS = frozenset({"Sid", "Effect", "Action", "Resource", "Condition"})
_WHAT = "it should be an IAM policy, as 'vpcrouter aws iam-policy' prints one"

Match = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing to be allowed: an action on a resource (its ARN; ``*``: it has none).

    ``context`` has the values of condition keys, by their names in lower case; a key that the
    action does not support is not there, and so matches nothing.
    """

    action: str
    resource: str
    context: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Statement:
    """Some actions on some resources under some conditions, allowed or denied."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def matches(self, asked: Asked) -> bool:
        """Whether it is about this."""
        return (
            any(_is_like(asked.action.lower(), text.lower()) for text in self.actions)
            and any(_is_resource_like(asked.resource, text) for text in self.resources)
            and all(self._holds(asked, *condition) for condition in self.conditions)
        )

    def _holds(self, asked: Asked, operator: str, key: str, wanted: Sequence[str]) -> bool:
        match = _OPERATORS[operator]
        values = asked.context.get(key, ())
        return any(match(value, pattern) for value in values for pattern in wanted)


@dataclass(frozen=True, slots=True)
class Policy:
    """What an identity may do."""

    statements: tuple[Statement, ...]

    def allows(self, asked: Asked) -> bool:
        """Whether this is allowed."""
        found = [statement.allows for statement in self.statements if statement.matches(asked)]
        return bool(found) and all(found)


def parse_policy(document: object, file: str) -> Policy:
    """A policy from its JSON. Raises BadInputError; ``file`` is where it is from."""
    if not isinstance(document, dict) or "Statement" not in document:
        raise BadInputError(f"{file}: has no Statement; {_WHAT}")
    statements = document["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    return Policy(tuple(_statement(item, file, index) for index, item in enumerate(listed)))


def _statement(item: object, file: str, index: int) -> Statement:
    where = f"{file}: Statement[{index}]"
    if not isinstance(item, dict):
        raise BadInputError(f"{where} should be an object; {_WHAT}")
    unknown = sorted(item.keys() - _ELEMENTS)
    if unknown:
        raise BadInputError(f"{where}: {unknown[0]} is not understood here; leave it out")
    if item.get("Effect") not in ("Allow", "Deny"):
        raise BadInputError(f"{where}: Effect should be Allow or Deny")
    return Statement(
        allows=item["Effect"] == "Allow",
        actions=_texts(item.get("Action"), f"{where}: Action"),
        resources=_texts(item.get("Resource"), f"{where}: Resource"),
        conditions=tuple(_conditions(item.get("Condition", {}), where)),
    )


def _conditions(value: object, where: str) -> list[tuple[str, str, tuple[str, ...]]]:
    if not isinstance(value, dict):
        raise BadInputError(f"{where}: Condition should be an object")
    found = []
    for operator, keys in value.items():
        if operator not in _OPERATORS or not isinstance(keys, dict):
            known = ", ".join(_OPERATORS)
            raise BadInputError(
                f"{where}: condition {operator} is not understood: known are {known}"
            )
        for key, wanted in keys.items():
            texts = _texts(wanted, f"{where}: Condition.{operator}.{key}")
            found.append((operator, key.lower(), texts))
    return found


def _texts(value: object, where: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise BadInputError(f"{where} should be a text or a list of texts")
    return tuple(texts)


def _is_like(value: str, pattern: str) -> bool:
    """With ``*`` and ``?``; brackets mean themselves."""
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def _is_arn_like(value: str, pattern: str) -> bool:
    """Each part of an ARN for itself: a wildcard does not reach over colons."""
    parts, wanted = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(wanted) and all(map(_is_like, parts, wanted))


def _is_resource_like(value: str, pattern: str) -> bool:
    return pattern == ANY or (value != ANY and _is_arn_like(value, pattern))


def _is_same(value: str, wanted: str) -> bool:
    return value == wanted


def _is_same_word(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


_OPERATORS: Mapping[str, Match] = {
    "StringEquals": _is_same,
    "StringEqualsIgnoreCase": _is_same_word,
    "StringLike": _is_like,
    "Bool": _is_same_word,
    "ArnEquals": _is_arn_like,
    "ArnLike": _is_arn_like,
}
