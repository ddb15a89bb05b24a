"""What a node wants: always a free address ahead, nothing that it does not need, no to and fro."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cni.demand import demand
from ipam.prefix import Family, Prefix

LARGE = [Prefix(Family.IPV4, 0x0A400000 + 64 * i, 26) for i in range(6)]
SMALL = [Prefix(Family.IPV4, 0x0A400000 + 2 * i, 31) for i in range(6)]


@st.composite
def nodes(draw: st.DrawFn) -> tuple[list[Prefix], set[int]]:
    blocks = draw(st.sampled_from((LARGE, SMALL)))[: draw(st.integers(0, 6))]
    every = [a for block in blocks for a in range(block.value, block.last + 1)]
    used = draw(st.sets(st.sampled_from(every))) if every else set()
    many = draw(st.sets(st.sampled_from(blocks))) if blocks else set()
    return blocks, used | {a for block in many for a in range(block.value, block.last + 1)}


@given(nodes())
def test_a_node_that_runs_short_claims_one_block_more(node: tuple[list[Prefix], set[int]]) -> None:
    blocks, used = node
    free = sum(block.size for block in blocks) - len(used)
    wish = demand(blocks, {Family.IPV4: used}, [Family.IPV4])
    if not blocks or not free:
        assert wish.wanted == {Family.IPV4: len(blocks) + 1}
    assert len(blocks) - len(wish.spare) <= wish.wanted[Family.IPV4] <= len(blocks) + 1
    assert not wish.spare or wish.wanted[Family.IPV4] == len(blocks) - len(wish.spare)


@given(nodes())
def test_only_empty_blocks_are_spare_and_one_stays(node: tuple[list[Prefix], set[int]]) -> None:
    blocks, used = node
    wish = demand(blocks, {Family.IPV4: used}, [Family.IPV4])
    assert all(not any(map(block.holds, used)) for block in wish.spare)
    assert not blocks or len(wish.spare) < len(blocks)


@given(nodes())
def test_what_was_given_back_is_not_claimed_again(node: tuple[list[Prefix], set[int]]) -> None:
    blocks, used = node
    wish = demand(blocks, {Family.IPV4: used}, [Family.IPV4])
    left = [block for block in blocks if block not in wish.spare]
    if wish.spare:
        again = demand(left, {Family.IPV4: used}, [Family.IPV4])
        assert again.wanted == {Family.IPV4: len(left)}
        assert again.spare == ()


@given(nodes())
def test_what_was_granted_is_not_given_back(node: tuple[list[Prefix], set[int]]) -> None:
    blocks, used = node
    wish = demand(blocks, {Family.IPV4: used}, [Family.IPV4])
    if wish.wanted[Family.IPV4] > len(blocks) > 0:
        more = [*blocks, Prefix(Family.IPV4, 0x0B000000, blocks[0].length)]
        assert demand(more, {Family.IPV4: used}, [Family.IPV4]).spare == ()


def test_every_family_of_the_networks_is_wanted() -> None:
    assert demand(LARGE[:1], {}, Family).wanted == {Family.IPV4: 1, Family.IPV6: 1}


def test_a_large_block_lasts() -> None:
    block = Prefix.parse("fd00::/64")
    used = {block.value + i for i in range(1000)}
    assert demand([block], {Family.IPV6: used}, []).wanted == {Family.IPV6: 1}
