"""An overlay agrees with a plain dictionary, and what it was made from stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.overlay import Overlay
from tests.counts import examples

keys = st.integers(0, 200)
histories = st.lists(st.lists(st.tuples(st.booleans(), keys), max_size=60), max_size=8)


def assert_same(overlay: Overlay[int, str], plain: dict[int, str]) -> None:
    assert overlay == plain
    assert plain == overlay.flat()
    assert (len(overlay), len(list(overlay))) == (len(plain), len(plain))
    for key in range(-1, 202):
        assert (key in overlay) is (key in plain)
        assert overlay.get(key) == plain.get(key)
        assert overlay.get(key, "none") == plain.get(key, "none")
        if key in plain:
            assert overlay[key] == plain[key]
        else:
            with pytest.raises(KeyError):
                overlay[key]


@given(st.dictionaries(keys, st.text(max_size=1)), histories)
@settings(max_examples=examples(test=60, prove=4_000))
def test_every_history_agrees_with_a_dictionary(
    first: dict[int, str], history: list[list[tuple[bool, int]]]
) -> None:
    plain, overlay = dict(first), Overlay(first)
    kept: list[tuple[Overlay[int, str], dict[int, str]]] = []
    for number, changes in enumerate(history):
        kept.append((overlay, dict(plain)))
        overlay = Overlay(overlay)
        for put, key in changes:
            if put:
                overlay.put(key, str(number))
                plain[key] = str(number)
            elif key in plain:
                overlay.remove(key)
                del plain[key]
            else:
                with pytest.raises(KeyError):
                    overlay.remove(key)
        assert_same(overlay, plain)
    for earlier, expected in kept:
        assert_same(earlier, expected)


def test_what_is_copied_for_a_change_is_bounded() -> None:
    overlay: Overlay[int, int] = Overlay(dict.fromkeys(range(10_000), 0))
    most = 0
    for number in range(1_000):
        overlay = Overlay(overlay)
        overlay.put(number, 1)
        most = max(most, len(overlay.latest))
    assert most < 150
