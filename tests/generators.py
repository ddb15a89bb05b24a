"""Hypothesis strategies that several test files share: small functions, one section per subject."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from ipam.model import Network
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


# Addresses: networks small enough to be counted block by block


@st.composite
def small_networks(draw: st.DrawFn) -> tuple[Network, ...]:
    """One or two networks of one or both families, with up to 64 blocks in each range.

    Ranges can be excluded, from a single address to half a range.
    """
    cidrs = {
        Family.IPV4: [Prefix(Family.IPV4, 0x0A000000 + (i << 16), 32) for i in range(3)],
        Family.IPV6: [Prefix(Family.IPV6, (0xFD00 + i) << 112, 128) for i in range(3)],
    }
    networks = []
    block, node = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    for number in range(draw(st.integers(1, 2))):
        chosen: list[Prefix] = []
        for family in draw(st.sets(families(), min_size=1)):
            for _ in range(draw(st.integers(1, 2) if not number else st.just(1))):
                if cidrs[family]:
                    width = family.width - draw(st.integers(block, block + 5))
                    chosen.append(cidrs[family].pop().ancestor(width))
        if chosen:
            exclude = draw(st.lists(st.sampled_from(chosen).flatmap(_inside), max_size=3))
            networks.append(
                Network(
                    f"net{number}",
                    tuple(sorted(chosen)),
                    block={family: family.width - block for family in Family},
                    node={family: family.width - block - node for family in Family},
                    exclude=tuple(exclude),
                )
            )
    return tuple(networks)


def _inside(prefix: Prefix) -> st.SearchStrategy[Prefix]:
    """Any prefix inside one, but for itself where it can be halved."""
    family = prefix.family
    length = st.integers(min(prefix.length + 1, family.width), family.width)
    return st.builds(
        lambda value, length: Prefix(family, value, family.width).ancestor(length),
        st.integers(prefix.value, prefix.last),
        length,
    )


# JSON of others

_ODD: tuple[object, ...] = (
    *(None, True, False, 0, 1, 2, 50.0, -1, 2.5, 1 << 70, "", "x", "\x07", "\ud800", "é", "0"),
    *("Ready", "10.0.0.1", "10.0.0.01", "fd00::1", "10.0.0.0/26", "10.0.0.1/26", "FD00::/64"),
    *([], {}, [None], [{}], ["x"], {"x": "y"}, {"x": None}),
)


@st.composite
def spoilt(draw: st.DrawFn, document: object) -> object:
    """A JSON document in which up to three values anywhere are others, are missing or are new."""
    copy = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(copy))
        if not places:
            break
        inside, key = draw(st.sampled_from(places))
        change = draw(st.integers(0, 5))
        if change == 0:
            del inside[key]
        elif change == 1 and isinstance(inside, dict):
            inside[draw(st.sampled_from(("x", "v", "kind", "labels")))] = draw(_odd())
        else:
            inside[key] = draw(_odd())
    return copy


def _odd() -> st.SearchStrategy[object]:
    return st.sampled_from(_ODD).map(lambda value: json.loads(json.dumps(value)))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each value inside this one, as what it is in and its key or index there."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
