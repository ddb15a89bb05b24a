"""All records of a store at once. Pure.

Of a large store nearly all records are blocks and nodes as they are written today: those are read
by their types, in a fraction of the time. Whatever is unlike them in anything is left to ``codec``,
which reads all that was ever written and says what is wrong with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal
from urllib.parse import unquote

import msgspec

from ipam.codec import BLOCKS, NODES, BlockRecord, NodeRecord, Record, decode
from ipam.errors import BadInputError
from ipam.prefix import Prefix


class _Block(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    v: Literal[2]
    node: str
    identity: str
    token: str


class _Node(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    v: Literal[2]
    identity: str
    subnet: str
    token: str
    blocks: list[str]
    labels: dict[str, str] = {}


_read_block = msgspec.json.Decoder(_Block).decode
_read_node = msgspec.json.Decoder(_Node).decode


def decode_all(items: Iterable[tuple[str, bytes]]) -> Iterator[Record]:
    """The records of keys with their values, as ``codec.decode`` gives each. Raises likewise."""
    known: dict[str, Prefix] = {}  # of blocks, by their texts: they are named at their nodes too
    for key, value in items:
        try:
            if key.startswith(BLOCKS):
                block = _read_block(value)
                text = key[len(BLOCKS) :]
                known[text] = prefix = Prefix.parse(text)
                yield BlockRecord(prefix, block.node, block.identity, block.token)
                continue
            if key.startswith(NODES):
                node = _read_node(value)
                yield NodeRecord(
                    _name(key[len(NODES) :]),
                    node.identity,
                    node.subnet,
                    node.token,
                    tuple([known.get(text) or Prefix.parse(text) for text in node.blocks]),
                    tuple(sorted(node.labels.items())) if node.labels else (),
                )
                continue
        except (msgspec.MsgspecError, UnicodeDecodeError, BadInputError):
            pass  # what is wrong is said below
        yield decode(key, value)


def _name(part: str) -> str:
    return unquote(part.partition("/")[0]) if "%" in part or "/" in part else part
