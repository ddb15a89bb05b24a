"""What nodes' agents report about the use of their blocks, as it is read from the store. Pure.

One key for each node, ``/reports/<node>/<identity>``, both percent-encoded: a JSON object with
``v``, ``seconds`` and ``blocks``, which says for each block how many ``pods`` it has and how many
``bytes`` went to and from them in that time. Fields that are not named here are the agents' own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ipam.errors import BadInputError
from ipam.prefix import Prefix

REPORTS = "/reports/"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Use:
    """How one block is used: its pods, and bytes a second to and from them."""

    pods: float
    rate: float


def decode_report(key: str, value: bytes) -> Mapping[Prefix, Use]:
    """The blocks of a report. Raises BadInputError, naming the key, for what is none."""
    try:
        document: object = json.loads(value)
        if isinstance(document, dict) and document.get("v") == VERSION:
            seconds = _number(document["seconds"])
            if seconds > 0:
                return {
                    Prefix.parse(block): Use(_number(use["pods"]), _number(use["bytes"]) / seconds)
                    for block, use in document["blocks"].items()
                }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadInputError) as e:
        raise BadInputError(f"{key}: is no report that can be read: update its agent") from e
    raise BadInputError(f"{key}: is no report of version {VERSION}: update its agent")


def _number(value: object) -> float:
    """A count. Raises ValueError for anything else, and for what no counter reaches."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**64:
        raise ValueError(value)
    return float(value)
