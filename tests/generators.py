"""Hypothesis strategies that several test files share: small functions, one section per subject."""

from __future__ import annotations

from hypothesis import strategies as st

from ipam.prefix import Family, Prefix, host_mask

# Prefixes


def families() -> st.SearchStrategy[Family]:
    """Both address families."""
    return st.sampled_from(tuple(Family))


def addresses(family: Family) -> st.SearchStrategy[int]:
    """Any address of the family, as a number."""
    return st.integers(0, host_mask(family, 0))


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    """Any prefix."""
    family = draw(families())
    value = draw(addresses(family))
    return Prefix(family, value, family.width).ancestor(draw(st.integers(0, family.width)))


@st.composite
def crowded_prefixes(draw: st.DrawFn) -> tuple[Prefix, ...]:
    """Prefixes of both families that sit close together: often nested, adjacent or the same.

    Of each family they lie in a range of 64 addresses, few enough to be counted one by one.
    """
    drawn = []
    for _ in range(draw(st.integers(0, 12))):
        family = draw(families())
        base = 0x64400000 if family is Family.IPV4 else 0xFD00 << 112
        address = Prefix(family, base + draw(st.integers(0, 63)), family.width)
        drawn.append(address.ancestor(family.width - draw(st.integers(0, 5))))
    return tuple(drawn)
