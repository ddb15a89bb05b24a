"""All records of a store at once. Pure.

Of a large store nearly all records are blocks and nodes as they are written today: those are read
by their types, in a fraction of the time. Whatever is unlike them in anything is left to ``codec``,
which reads all that was ever written and says what is wrong with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec

from ipam.codec import BLOCKS, NODES, BlockRecord, NodeRecord, Record, decode
from ipam.errors import BadInputError
from ipam.prefix import Prefix
from ipam.store.port import KeyValue


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


_Kind = TypeVar("_Kind", BlockRecord, NodeRecord)

_ODD = (msgspec.MsgspecError, UnicodeDecodeError, BadInputError)

_read_block = msgspec.json.Decoder(_Block).decode
_read_node = msgspec.json.Decoder(_Node).decode


class Decoded(NamedTuple):
    """The records of blocks, nodes and all others, each in the order of their keys.

    ``agree``: every block is named at its owner, which is there, and nobody names any other.
    """

    blocks: list[BlockRecord]
    nodes: list[NodeRecord]
    rest: list[Record]
    agree: bool


def decode_all(
    blocks: Iterable[KeyValue], nodes: Iterable[KeyValue], rest: Iterable[KeyValue]
) -> Decoded:
    """The records of items, as ``codec.decode`` gives each. Raises likewise.

    Whether they agree is not looked for where a node has come back with another identity, or a
    record is unlike those that are written today.
    """
    unnamed: dict[str, BlockRecord] = {}  # by the texts by which their nodes name them
    odd: list[str] = []  # keys
    block_records = [_block(item, unnamed, odd) for item in blocks]
    node_records = [_node(item, unnamed, odd) for item in nodes]
    others = [decode(item.key, item.value) for item in rest]
    former = any(isinstance(record, NodeRecord) for record in others)
    names = {record.name for record in node_records}
    agree = not (odd or unnamed or former) and len(names) == len(node_records)
    return Decoded(block_records, node_records, others, agree)


def _block(item: KeyValue, unnamed: dict[str, BlockRecord], odd: list[str]) -> BlockRecord:
    key = item.key
    try:
        block = _read_block(item.value)
        text = key[len(BLOCKS) :]
        record = BlockRecord(Prefix.parse(text), block.node, block.identity, block.token)
    except _ODD:
        odd.append(key)
        return _carefully(BlockRecord, item)
    unnamed[text] = record
    return record


def _node(item: KeyValue, unnamed: dict[str, BlockRecord], odd: list[str]) -> NodeRecord:
    """The record of a node; its key is put among the odd ones where a block is not its own."""
    key = item.key
    try:
        node = _read_node(item.value)
        name = _name(key[len(NODES) :])
        blocks = []
        for text in node.blocks:
            block = unnamed.pop(text, None)
            if block is not None and block.node == name and block.identity == node.identity:
                blocks.append(block.prefix)
            else:
                blocks.append(Prefix.parse(text))
                odd.append(key)
        labels = tuple(sorted(node.labels.items())) if node.labels else ()
        return NodeRecord(name, node.identity, node.subnet, node.token, tuple(blocks), labels)
    except _ODD:
        odd.append(key)
        return _carefully(NodeRecord, item)


def _carefully(kind: type[_Kind], item: KeyValue) -> _Kind:
    """By itself, which says what is wrong, if anything is."""
    record = decode(item.key, item.value)
    assert isinstance(record, kind)  # noqa: S101 - its key says so
    return record


def _name(part: str) -> str:
    return unquote(part.partition("/")[0]) if "%" in part or "/" in part else part
