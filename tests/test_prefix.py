"""Prefixes: text and numbers agree, merging loses and adds no address, bad text is refused."""

from __future__ import annotations

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, canonical_address, format_address, merge, parse_address
from tests.generators import addresses, crowded_prefixes, families, prefixes


def every_address(of: tuple[Prefix, ...]) -> set[tuple[Family, int]]:
    return {(p.family, number) for p in of for number in range(p.value, p.last + 1)}


@given(prefixes())
def test_a_prefix_is_read_back_as_it_was_written(prefix: Prefix) -> None:
    assert Prefix.parse(str(prefix)) == prefix


@given(prefixes())
def test_its_text_is_the_canonical_one(prefix: Prefix) -> None:
    assert str(prefix) == str(netaddr.IPNetwork(str(prefix)).cidr)


@given(st.data(), families())
def test_an_address_is_read_back_as_it_was_written(data: st.DataObject, family: Family) -> None:
    address = data.draw(addresses(family))
    assert parse_address(format_address(family, address)) == (family, address)


@given(st.data(), families())
def test_the_canonical_text_of_an_address_is_its_own(data: st.DataObject, family: Family) -> None:
    text = format_address(family, data.draw(addresses(family)))
    assert canonical_address(text) == canonical_address(text.upper()) == (family, text)


@given(prefixes())
def test_halves_share_no_address_and_join_to_the_whole(prefix: Prefix) -> None:
    if prefix.size == 1:
        with pytest.raises(ValueError, match="single address"):
            prefix.halves()
        return
    low, high = prefix.halves()
    assert (low.value, low.last + 1, high.last) == (prefix.value, high.value, prefix.last)
    assert low.size + high.size == prefix.size
    assert low.ancestor(prefix.length) == high.ancestor(prefix.length) == prefix
    assert not low.overlaps(high)


@given(prefixes(), prefixes())
def test_a_prefix_contains_another_when_it_holds_its_first_and_last_address(
    outer: Prefix, inner: Prefix
) -> None:
    same_family = outer.family is inner.family
    ends_inside = outer.holds(inner.value) and outer.holds(inner.last)
    assert outer.contains(inner) == (same_family and ends_inside)
    assert outer.overlaps(inner) == (outer.contains(inner) or inner.contains(outer))


@given(crowded_prefixes())
def test_merging_keeps_exactly_the_same_addresses(crowd: tuple[Prefix, ...]) -> None:
    assert every_address(merge(crowd)) == every_address(crowd)


@given(crowded_prefixes())
def test_merging_leaves_nothing_to_merge(crowd: tuple[Prefix, ...]) -> None:
    merged = merge(crowd)
    assert list(merged) == sorted(merged)
    for prefix in merged:
        assert not any(prefix.overlaps(other) for other in merged if other is not prefix)
        if prefix.length:
            parent = prefix.ancestor(prefix.length - 1)
            sibling = next(half for half in parent.halves() if half != prefix)
            assert sibling not in merged


@given(st.lists(prefixes(), max_size=8))
def test_order_and_repetition_do_not_change_what_is_merged(several: list[Prefix]) -> None:
    assert merge(several) == merge(reversed(several)) == merge(several + several)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "not a CIDR"),
        ("10.0.0.0", "not a CIDR"),
        ("10.0.0.0/", "not a CIDR"),
        ("10.0.0.0/-1", "not a CIDR"),
        ("10.0.0.0/8 ", "not a CIDR"),
        ("10.0.0.0/٨", "not a CIDR"),
        ("10.0.0.0/33", "at most 32"),
        ("fd00::/129", "at most 128"),
        ("10.1/16", "not an IP address"),
        ("010.0.0.0/8", "not an IP address"),
        ("10.0.0.256/32", "not an IP address"),
        ("fd00:::/64", "not an IP address"),
        ("fd00::%eth0/64", "not an IP address"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("fd00::1/64", "write fd00::/64"),
    ],
)
def test_text_that_is_no_canonical_cidr_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(BadInputError, match=advice):
        Prefix.parse(text)
