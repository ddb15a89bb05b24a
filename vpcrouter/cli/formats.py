"""The formats of ``-o``: tables for people, in two widths, and one document in two notations."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from vpcrouter.wire.dump import dump_json

if TYPE_CHECKING:
    import yaml

# Text that needs no quotes in YAML 1.1 and 1.2: begins with a letter, or is an IPv4 address or
# CIDR. Quoted is more than has to be; a name such as 1e5 is then text to every reader.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|[0-9]+(\.[0-9]+){3}(/[0-9]+)?")
_RESERVED = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
# All that JSON has words for, and under None what refuses everything else.
_WORDS: tuple[Any, ...] = (str, int, float, bool, type(None), list, tuple, dict, None)


class Output(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_document(self) -> bool:
        """Whether it is for programs: everything in one document, and nothing else."""
        return self in (Output.JSON, Output.YAML)

    def text(self, document: object) -> str:
        """A document in this notation.

        Raises ValueError for a number that is not finite, TypeError for what JSON has no word for.
        """
        return dump_yaml(document) if self is Output.YAML else dump_json(document)


def dump_yaml(document: object) -> str:
    """YAML text of a document: what any reader of YAML 1.1 or 1.2 takes for the same as its JSON.

    Raises ValueError for a number that is not finite, TypeError for what JSON has no word for.
    """
    import yaml

    try:
        # One line for each scalar, however long: a line can be searched and compared.
        return yaml.dump(document, Dumper=_dumper(), sort_keys=False, width=1 << 30)
    except yaml.representer.RepresenterError as error:
        raise TypeError(f"{type(error.args[1]).__name__} has no word in JSON") from error


@cache
def _dumper() -> type[yaml.CSafeDumper]:
    import yaml

    class Dumper(yaml.CSafeDumper):
        """Writes everything out, and quotes what could be taken for something else than text."""

        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
            return True

    def text(dumper: yaml.CSafeDumper, value: str) -> yaml.ScalarNode:
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if is_plain else '"')

    def number(dumper: yaml.CSafeDumper, value: float) -> yaml.ScalarNode:
        if value - value:
            raise ValueError(f"{value} is not a finite number")
        return dumper.represent_float(value)

    known = yaml.CSafeDumper.yaml_representers
    Dumper.yaml_representers = {kind: known[kind] for kind in _WORDS}
    Dumper.add_representer(str, text)
    Dumper.add_multi_representer(StrEnum, lambda dumper, value: text(dumper, str(value)))
    Dumper.add_representer(float, number)
    return Dumper
