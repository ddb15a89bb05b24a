"""All records at once are read as each is by itself, and what is none is refused as it is there."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from ipam import codec
from ipam.bulk import Decoded, decode_all
from ipam.codec import BlockRecord, NodeRecord, Record
from ipam.errors import VpcrouterError
from ipam.prefix import Prefix
from ipam.store.port import KeyValue
from tests.counts import examples
from tests.generators import prefixes, spoilt

_NAMES = st.sampled_from(("n1", "a b", "n%41", "é", "n/1", "x" * 40, "n%2Fm"))
_KEYS = st.one_of(
    prefixes().map(lambda prefix: f"/blocks/{prefix}"),
    st.sampled_from(("/blocks/FD00::/64", "/blocks/10.0.0.1/26", "/blocks/", "/nodes/n%41")),
    _NAMES.map(codec.node_key),
    st.sampled_from(("/nodes/", "/nodes/a/b", "/subnets/a", "/meta")),
    st.tuples(_NAMES, _NAMES).map(lambda names: codec.former_key(*names)),
)
_VALUES = st.sampled_from(
    (
        {"v": 2, "node": "n1", "identity": "i-1", "token": "ab"},
        {"v": 1, "node": "n1", "identity": "i-1"},
        {"v": 2, "identity": "i-1", "subnet": "a", "token": "ab", "blocks": ["10.0.0.0/26"]},
        {
            "v": 2,
            "identity": "i-1",
            "subnet": "a",
            "token": "ab",
            "blocks": ["10.0.0.0/26", "fd00::/80"],
            "labels": {"rack": "2", "hall": "é"},
        },
        {"v": 1, "identity": "i-1", "subnet": "a", "token": "ab"},
        {"v": 1, "prefixes": ["10.0.0.0/16"], "groups": ["10.0.0.0/16"]},
        {"v": 1, "cluster": "test"},
    )
).flatmap(spoilt)
_BYTES = st.one_of(
    _VALUES.map(lambda value: json.dumps(value).encode()),
    _VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="replace")),
    _VALUES.map(lambda value: json.dumps(value).encode("utf-16")),
    st.sampled_from((b"", b"{", b"\xff", b'{"v":2,"node":"\xff"}', b'{"v":NaN}', b"[]", b"null")),
)


def one_by_one(key: str, value: bytes) -> Record | str:
    try:
        return codec.decode(key, value)
    except VpcrouterError as error:
        return f"{type(error).__name__}: {error}"


def item(key: str, value: bytes) -> KeyValue:
    return KeyValue(key, value, 1, 1, None)


def decoded(items: Iterable[tuple[str, bytes]]) -> Decoded:
    found: dict[str, list[KeyValue]] = {codec.BLOCKS: [], codec.NODES: [], "": []}
    for key, value in items:
        folder = next(folder for folder in found if key.startswith(folder))
        found[folder].append(item(key, value))
    return decode_all(found[codec.BLOCKS], found[codec.NODES], found[""])


def at_once(key: str, value: bytes) -> Record | str:
    try:
        found = decoded([(key, value)])
    except VpcrouterError as error:
        return f"{type(error).__name__}: {error}"
    records: list[Record] = [*found.blocks, *found.nodes, *found.rest]
    return records.pop()


@given(_KEYS, _BYTES)
@settings(max_examples=examples(test=200, prove=20_000))
def test_each_record_is_read_as_by_itself(key: str, value: bytes) -> None:
    assert at_once(key, value) == one_by_one(key, value)


@given(st.lists(st.tuples(_KEYS, _BYTES), max_size=8))
@settings(max_examples=examples(test=100, prove=20_000))
def test_all_are_read_in_their_order(items: list[tuple[str, bytes]]) -> None:
    values = dict(sorted(items))
    wanted = {key: one_by_one(key, value) for key, value in values.items()}
    if any(isinstance(record, str) for record in wanted.values()):
        return
    found = decoded(values.items())
    assert found.blocks == [wanted[key] for key in wanted if key.startswith(codec.BLOCKS)]
    assert found.nodes == [wanted[key] for key in wanted if key.startswith(codec.NODES)]
    folders = (codec.BLOCKS, codec.NODES)
    assert found.rest == [wanted[key] for key in wanted if not key.startswith(folders)]


_BLOCKS = [Prefix.parse(f"10.0.0.{64 * number}/26") for number in range(3)]


@st.composite
def small_stores(draw: st.DrawFn) -> dict[str, bytes]:
    """Two nodes and three blocks, which mostly agree."""
    owners = [draw(st.sampled_from((("n1", "i-1"), ("n2", "i-2"), ("n2", "i-3")))) for _ in _BLOCKS]
    there = [draw(st.sampled_from((True, True, True, False))) for _ in _BLOCKS]
    pairs = list(zip(_BLOCKS, owners, there, strict=True))
    records: dict[str, Record] = {
        codec.block_key(block): BlockRecord(block, *owner, "t")
        for block, owner, held in pairs
        if held
    }
    for name, identity in (("n1", "i-1"), ("n2", "i-2")):
        named = [block for block, owner, _ in pairs if owner == (name, identity)]
        named += draw(st.lists(st.sampled_from(_BLOCKS), max_size=1)) if draw(_SELDOM) else []
        key = draw(st.sampled_from((codec.node_key(name), codec.node_key(name), "/nodes/%6E1")))
        records[key] = NodeRecord(name, identity, "a", "t", tuple(named))
    if draw(_SELDOM):
        records[codec.former_key("n2", "i-3")] = NodeRecord("n2", "i-3", "a", "t", ())
    return {key: codec.encode(records[key]) for key in sorted(records)}


_SELDOM = st.sampled_from((False, False, False, True))


@given(small_stores())
@settings(max_examples=examples(test=200, prove=4_000))
def test_records_agree_where_each_block_is_named_once_by_its_owner(store: dict[str, bytes]) -> None:
    records = {key: codec.decode(key, value) for key, value in store.items()}
    nodes = [record for record in records.values() if isinstance(record, NodeRecord)]
    named = [(block, node.name, node.identity) for node in nodes for block in node.blocks or ()]
    blocks = [r for r in records.values() if isinstance(r, BlockRecord)]
    held = [(block.prefix, block.node, block.identity) for block in blocks]
    plain = len({node.name for node in nodes}) == len(nodes)
    plain = plain and not any(key.startswith(codec.FORMER) for key in store)
    assert decoded(store.items()).agree == (plain and sorted(named) == sorted(held))
