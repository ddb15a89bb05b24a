"""YAML as plain values that remember the line of every field, so that errors can name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from ipam.errors import BadInputError
from vpcrouter.textfile import read_text

MAX_BYTES = 1 << 20
MAX_DEPTH = 20

Where = tuple[str | int, ...]
"""The keys and indexes that lead to a field from the top of a document."""

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_TEXT_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value"))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: its value (dicts, lists and scalars) and the line of each field."""

    path: Path
    value: object
    lines: Mapping[Where, int]

    def line(self, where: Where) -> int:
        """The line of a field, or of the nearest thing around it where it is absent."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def error(self, where: Where, message: str) -> BadInputError:
        """The error to raise about a field: file, line, field, message."""
        return BadInputError(f"{self.path}:{self.line(where)}: {dotted(where)}{message}")


def dotted(where: Where) -> str:
    """``networks[0].cidrs: `` for a field, nothing for the whole document."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return f"{text}: " if text else ""


def read_yaml(path: Path) -> Document:
    """Read a small YAML file of plain values.

    Raises BadInputError, naming file and line, for whatever is not one document of mappings,
    lists and scalars with each key once. Aliases are refused: a file of a few lines that means
    gigabytes is written with them.
    """
    text = read_text(path, MAX_BYTES, "this is no cluster file")
    try:
        _check_shape(path, text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark)
        reason = " ".join((error.problem or error.context or "syntax error").split())
        raise BadInputError(f"{path}:{line}: is not YAML: {reason}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise BadInputError(f"{path}:{line}: is not YAML: {error.reason}") from error
    if root is None:
        raise BadInputError(f"{path}:1: is empty: a cluster file starts with version: 1")
    lines: dict[Where, int] = {}
    return Document(path, _construct(path, root, (), lines), lines)


def _check_shape(path: Path, text: str) -> None:
    """Refuse what would make composing run away, before composing: aliases and deep nesting."""
    depth = 0
    documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = _line(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise BadInputError(f"{path}:{line}: uses a YAML alias: write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise BadInputError(f"{path}:{line}: is nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadInputError(f"{path}:{line}: has a second document: write one per file")


class _Mark(Protocol):
    @property
    def line(self) -> int: ...


def _line(mark: _Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _construct(path: Path, node: yaml.Node, where: Where, lines: dict[Where, int]) -> object:
    lines.setdefault(where, _line(node.start_mark))
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(path, node, where, lines)
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(path, item, (*where, index), lines) for index, item in enumerate(node.value)
        ]
    return _scalar(path, node)


def _construct_mapping(
    path: Path, node: yaml.MappingNode, where: Where, lines: dict[Where, int]
) -> dict[str, object]:
    result: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = _line(key_node.start_mark)
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise BadInputError(f"{path}:{line}: {dotted(where)}a field's name is a word")
        if key in result:
            raise BadInputError(f"{path}:{line}: {dotted((*where, key))}is given twice")
        lines[(*where, key)] = line
        result[key] = _construct(path, value_node, (*where, key), lines)
    return result


def _scalar(path: Path, node: yaml.Node) -> object:
    if node.tag in _TEXT_TAGS:
        return node.value
    if node.tag not in _PLAIN_TAGS:
        raise BadInputError(f"{path}:{_line(node.start_mark)}: unknown YAML tag {node.tag}")
    try:
        value: object = SafeConstructor().construct_object(node)
    except (ConstructorError, ValueError) as error:
        line = _line(node.start_mark)
        raise BadInputError(f"{path}:{line}: {node.value[:40]!r} is no value") from error
    return value
