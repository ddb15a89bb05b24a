"""All records at once are read as each is by itself, and what is none is refused as it is there."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ipam import codec
from ipam.bulk import decode_all
from ipam.codec import Record
from ipam.errors import VpcrouterError
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


def at_once(key: str, value: bytes) -> Record | str:
    try:
        (record,) = decode_all([(key, value)])
    except VpcrouterError as error:
        return f"{type(error).__name__}: {error}"
    return record


@given(_KEYS, _BYTES)
@settings(max_examples=examples(test=200, prove=20_000))
def test_each_record_is_read_as_by_itself(key: str, value: bytes) -> None:
    assert at_once(key, value) == one_by_one(key, value)


@given(st.lists(st.tuples(_KEYS, _BYTES), max_size=8))
@settings(max_examples=examples(test=100, prove=20_000))
def test_all_are_read_in_their_order(items: list[tuple[str, bytes]]) -> None:
    wanted = [one_by_one(key, value) for key, value in items]
    if not any(isinstance(record, str) for record in wanted):
        assert list(decode_all(items)) == wanted
