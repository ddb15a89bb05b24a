"""Networks are divided among subnets: apart from each other, something spare, and to the end."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.model import Claim, Network, state
from ipam.placement import join
from ipam.prefix import Family, Prefix, merge
from ipam.shares import first_shares, further_share, spare
from tests.address_checks import assert_disjoint, blocks_of
from tests.counts import examples
from tests.generators import families, small_networks

V4, V6 = Family.IPV4, Family.IPV6


def network(*cidrs: str, exclude: tuple[str, ...] = (), block: int = 26, node: int = 24) -> Network:
    return Network(
        "pods",
        tuple(Prefix.parse(cidr) for cidr in cidrs),
        block={V4: block, V6: 80},
        node={V4: node, V6: 64},
        exclude=tuple(Prefix.parse(prefix) for prefix in exclude),
    )


def texts(shares: dict[str, Prefix]) -> dict[str, str]:
    return {subnet: str(prefix) for subnet, prefix in shares.items()}


def test_a_network_is_split_by_a_power_of_two_that_leaves_something_spare() -> None:
    pods = (network("100.64.0.0/10"),)
    assert texts(first_shares(pods, V4, {"a": 1})) == {"a": "100.64.0.0/11"}
    assert texts(first_shares(pods, V4, {"c": 1, "a": 1, "b": 1})) == {
        "a": "100.64.0.0/12",
        "b": "100.96.0.0/12",
        "c": "100.80.0.0/12",
    }
    assert {p.length for p in first_shares(pods, V4, dict.fromkeys("abcd", 1)).values()} == {13}


def test_a_subnet_that_would_fill_most_of_its_prefix_gets_a_wider_one() -> None:
    pods = (network("100.64.0.0/10"),)  # 16,384 node prefixes
    for nodes, length in ((1024, 13), (1025, 12), (2049, 11), (9000, 11)):
        shares = first_shares(pods, V4, {"a": 10, "b": nodes, "c": 10, "d": 10})
        lengths = {subnet: prefix.length for subnet, prefix in shares.items()}
        assert lengths == {"a": 13, "b": length, "c": 13, "d": 13}
        assert spare(pods, shares.values(), V4)


def test_families_are_divided_apart() -> None:
    pods = (network("10.0.0.0/16", "fd00:0:0:ff00::/56"),)
    now = join(state("test", pods), [Claim("n", "a", "id"), Claim("m", "b", "id")], {}).state
    assert [str(prefix) for prefix in now.prefixes("a")] == ["10.0.0.0/18", "fd00:0:0:ff00::/58"]


def test_later_subnets_and_full_ones_take_half_of_the_largest_spare_prefix() -> None:
    pods = (network("100.64.0.0/10"),)
    taken = list(first_shares(pods, V4, dict.fromkeys("abc", 1)).values())
    own = [Prefix.parse("100.96.0.0/12")]
    for expected in ("100.112.0.0/13", "100.120.0.0/14", "100.124.0.0/15"):
        share = further_share(pods, taken, V4, own)
        assert str(share) == expected
        assert share is not None
        taken.append(share)


def test_a_full_subnet_takes_the_neighbour_of_its_prefix_if_as_much_is_spare_besides() -> None:
    pods = (network("100.64.0.0/10"),)
    taken = list(first_shares(pods, V4, dict.fromkeys("abcd", 1)).values())
    own = [Prefix.parse("100.80.0.0/13")]
    share = further_share(pods, taken, V4, own)
    assert str(share) == "100.88.0.0/13"
    assert share is not None
    assert [str(p) for p in merge([*own, share])] == ["100.80.0.0/12"]


def test_a_node_that_joins_a_full_subnet_widens_its_prefix() -> None:
    batch = [Claim(f"{subnet}0", subnet, "id") for subnet in "abcd"]
    now = join(state("test", [network("10.0.0.0/20")]), batch, {V4: 44}).state
    assert [str(prefix) for prefix in now.prefixes("a")] == ["10.0.0.0/23"]
    now = join(now, [Claim("a1", "a", "id"), Claim("a2", "a", "id")], {V4: 44}).state
    assert [str(prefix) for prefix in merge(now.prefixes("a"))] == ["10.0.0.0/22"]


def test_a_further_prefix_does_not_make_more_groups_than_the_budget() -> None:
    batch = [Claim(f"n{number:02}", "a", "id") for number in range(33)]
    now = join(state("test", [network("10.0.0.0/18")]), batch[:30], {V4: 15}).state
    assert (len(now.prefixes("a")), len(now.subnets["a"].groups)) == (1, 15)
    now = join(now, batch[30:], {V4: 15}).state
    assert len(now.prefixes("a")) == 2
    assert len(now.subnets["a"].groups) == 15


def test_while_prefixes_are_few_for_the_budget_nobody_shares() -> None:
    batch = [Claim(f"n{number:02}", "a", "id") for number in range(5)]
    for entries, prefixes in ((44, 2), (3, 1)):
        now = join(state("test", [network("10.0.0.0/21")]), batch, {V4: entries}).state
        assert len(now.prefixes("a")) == prefixes
        homes = {node_prefix for name in now.nodes for node_prefix in now.node_prefixes(name)}
        assert len(homes) == (5 if prefixes > 1 else 4)


def test_what_is_excluded_is_not_given_to_a_subnet() -> None:
    pods = (network("10.0.0.0/16", exclude=("10.0.0.0/17",)),)
    assert texts(first_shares(pods, V4, {"a": 1})) == {"a": "10.0.128.0/18"}
    assert [str(prefix) for prefix in spare(pods, (), V4)] == ["10.0.128.0/17"]
    assert spare((network("10.0.0.0/25", exclude=("10.0.0.64/26", "10.0.0.9/32")),), (), V4) == []


def test_a_half_whose_blocks_are_all_excluded_is_passed_over() -> None:
    pods = (network("10.0.0.0/23", exclude=("10.0.0.1/32", "10.0.0.65/32", "10.0.0.128/25")),)
    assert str(further_share(pods, (), V4, ())) == "10.0.1.0/24"
    pods = (network("10.0.0.0/24", node=25, exclude=("10.0.0.1/32", "10.0.0.65/32")),)
    assert str(further_share(pods, (), V4, ())) == "10.0.0.128/25"


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([network("10.0.0.0/27")], "network pods: 10.0.0.0/27 is smaller than a block"),
        ([network("10.0.0.0/8", node=27)], "cannot hold blocks of /26"),
        ([network("fd00::/48", block=26), network("10.0.0.0/8", node=2)], "from 2 to 18"),
        ([network("10.0.0.0/8"), network("10.9.0.0/16")], "10.9.0.0/16 of network pods overlap"),
        ([network("10.0.0.0/8", "10.0.0.0/8")], "overlap"),
    ],
)
def test_networks_that_cannot_be_given_out_are_refused(
    networks: list[Network], message: str
) -> None:
    with pytest.raises(BadInputError, match=re.escape(message)):
        state("test", networks)


def test_a_network_of_one_block_serves_one_subnet() -> None:
    pods = (network("10.0.0.0/26"),)
    batch = [Claim("n", "a", "id"), Claim("m", "b", "id"), Claim("o", "a", "id")]
    outcome = join(state("test", pods), batch, {V4: 10})
    assert set(outcome.state.nodes) == {"m"} or set(outcome.state.nodes) == {"n"}
    assert len(outcome.refused) == 2
    assert "no ipv4 block is left" in outcome.refused[0].reason


def test_large_networks_with_small_blocks_and_small_ones_with_large_blocks() -> None:
    for pods in (
        network("10.0.0.0/8", block=28, node=24),
        network("10.0.0.0/8", block=28, node=28),
        network("10.0.0.7/32", block=32, node=32),
        network("fd00::/48"),
        network("fd00::/16"),
    ):
        outcome = join(state("test", (pods,)), [Claim("n", "a", "id")], dict.fromkeys(Family, 9))
        assert not outcome.refused
        assert len(outcome.state.blocks("n")) == 1


@given(small_networks(), st.integers(0, 9), families())
@settings(max_examples=examples(test=60, prove=5_000))
def test_shares_are_apart_and_of_one_size_and_all_is_given_out_in_the_end(
    networks: tuple[Network, ...], count: int, family: Family
) -> None:
    first = first_shares(networks, family, {f"s{n}": n for n in range(1, count + 1)})
    taken = list(first.values())
    while (share := further_share(networks, taken, family, taken[:1])) is not None:
        taken.append(share)
        assert len(taken) < 200
    assert_disjoint(tuple(taken))
    for network_ in networks:
        for cidr in network_.cidrs:
            if cidr.family is family:
                for block in blocks_of(cidr, network_.block[family]):
                    usable = not any(block.overlaps(e) for e in network_.exclude)
                    assert not usable or any(prefix.contains(block) for prefix in taken)
    if len(first) < count:
        assert taken == list(first.values())
