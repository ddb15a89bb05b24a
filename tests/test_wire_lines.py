"""How JSON output is laid out: a line for each object in a list, whatever texts look like."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.counts import examples
from vpcrouter.wire.dump import dump_json

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(("", "é", "}, {", "[{", '"}, {"', "\n", "},\n  {", "a")),
)
_NAMES = st.sampled_from(("a", "b", "}, {", "[{"))
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_NAMES, inner, max_size=3),
        st.lists(st.dictionaries(_NAMES, inner, max_size=2), max_size=4),
    ),
    max_leaves=15,
)


def is_long(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], dict)
    return isinstance(value, dict) and any(map(is_long, value.values()))


def laid_out(value: object, indent: str = "") -> str:
    """The layout in the plainest way, one value after the other."""
    if not is_long(value):
        return json.dumps(value)
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {laid_out(item, inner)}" for key, item in value.items()]
        start, end = "{", "}"
    else:
        assert isinstance(value, list)
        items = [laid_out(item, inner) for item in value]
        start, end = "[", "]"
    return f"{start}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{end}"


@given(_DOCUMENTS)
@example([{"a": [1, {"b": 1}, {"c": 2}]}, 5])
@example([{"a": "}, {"}])
@example([{"a": [[], {"b": 1}, {"c": 2}]}, {}])
@example([{"a": 1}, {"a": {"b": [{"c": 1}]}}])
@example([{}, {}])
@settings(max_examples=examples(test=300, prove=20_000))
def test_each_object_in_a_list_has_a_line(document: object) -> None:
    assert dump_json(document) == laid_out(document) + "\n"
    assert json.loads(dump_json(document)) == document


@given(
    st.integers(1, 700),
    st.dictionaries(
        st.integers(0, 699), st.dictionaries(_NAMES, _DOCUMENTS, max_size=2), max_size=3
    ),
)
@example(256, {})
@example(257, {256: {"a": "}, {"}})
@example(512, {300: {"a": [{"b": 1}]}})
def test_so_has_each_of_many(count: int, special: dict[int, dict[str, object]]) -> None:
    document = [special.get(number, {"number": number}) for number in range(count)]
    assert dump_json(document) == laid_out(document) + "\n"
