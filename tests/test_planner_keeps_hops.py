"""What is too heavy is cut where its entry keeps the next hop: only new entries are changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from tests.counts import examples
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.planner import plan
from vpcrouter.planner.incremental import Joined, Planned
from vpcrouter.planner.part import around

V4 = Family.IPV4
HOME = Prefix.parse("10.0.0.0/21")
SLACKS = st.sampled_from([0.0, 0.05, 0.5])


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks (a place among the 32 of a /21, a weight) of one node each; one is the next hop."""

    weights: dict[int, int]
    hop: int

    def snapshot(self, budget: int, entries: Sequence[Entry]) -> Snapshot:
        limit = {V4: budget}
        table = RouteTable("t", limit, limit, entries=tuple(entries))
        nodes = [self.node(place) for place in self.weights]
        blocks = [self.block(place) for place in self.weights]
        return snapshot([Subnet("a", "a", "t", (HOME,))], nodes, blocks, [table])

    def node(self, place: int) -> Node:
        return Node(f"n{place}", "a", f"eni-{place}", {})

    def block(self, place: int) -> Block:
        value = HOME.value + (place << 6)
        return Block(Prefix(V4, value, 26), f"n{place}", float(self.weights[place]))


@dataclass(frozen=True, slots=True)
class Fewest:
    """The fewest entries inside a piece, and the fewest with which its next hop can stay."""

    entries: int
    staying: int | None

    @classmethod
    def of(cls, piece: Piece, allowed: float) -> Fewest:
        """By trying every partition."""
        ways = [
            (entries, rest)
            for entries, rest in _ways(piece, sorted(piece.weights), allowed)
            if _fits(piece, rest, allowed)
        ]
        staying = [
            entries
            for entries, rest in ways
            if piece.hop in rest
            and sum(piece.weights[place] for place in rest - {piece.hop}) <= allowed
        ]
        return cls(min(entries for entries, _ in ways), min(staying, default=None))


Way = tuple[int, frozenset[int]]


def _ways(piece: Piece, places: Sequence[int], allowed: float) -> Iterator[Way]:
    """The entries inside, and what they leave to the entry around."""
    if len(places) == 1:
        yield 0, frozenset(places)
        return
    bit = 1 << (places[0] ^ places[-1]).bit_length() - 1
    sides = [[p for p in places if not p & bit], [p for p in places if p & bit]]
    low, high = (
        [
            way
            for entries, rest in _ways(piece, side, allowed)
            for way in _open_or_closed(piece, entries, rest, allowed)
        ]
        for side in sides
    )
    for one, left in low:
        for other, right in high:
            yield one + other, left | right


def _open_or_closed(
    piece: Piece, entries: int, rest: frozenset[int], allowed: float
) -> Iterator[Way]:
    yield entries, rest
    if rest and _fits(piece, rest, allowed):
        yield entries + 1, frozenset()


def _fits(piece: Piece, rest: frozenset[int], allowed: float) -> bool:
    """Whether the best owner could carry this."""
    own = max((piece.weights[place] for place in rest), default=0)
    return sum(piece.weights[place] for place in rest) - own <= allowed


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    places = draw(st.lists(st.integers(0, 31), min_size=2, max_size=6, unique=True))
    weights = {place: draw(st.integers(1, 6)) for place in sorted(places)}
    return Piece(weights, draw(st.sampled_from(places)))


@settings(max_examples=examples(test=150, prove=5_000))
@given(piece=pieces(), budget=st.integers(2, 4), slack=SLACKS)
def test_an_entry_that_can_keep_its_next_hop_does(piece: Piece, budget: int, slack: float) -> None:
    cover = Entry(HOME, f"eni-{piece.hop}")
    (made,) = plan(piece.snapshot(budget, [cover]), slack).tables
    fewest = Fewest.of(piece, made.proof[V4].least_load * (1 + slack))
    assert len(made.steps) >= fewest.entries, "every entry inside is a change"
    if fewest.staying == fewest.entries:
        assert len(made.steps) == fewest.entries
        assert cover in made.target


@settings(max_examples=examples(test=150, prove=5_000))
@given(piece=pieces(), weight=st.integers(1, 9), place=st.integers(0, 31), budget=st.integers(2, 4))
def test_so_it_does_when_a_node_joins(piece: Piece, weight: int, place: int, budget: int) -> None:
    cover = Entry(HOME, f"eni-{piece.hop}")
    planned = Planned.of(piece.snapshot(budget, [cover]), 1.0)
    (part,) = (part for part in planned.parts if part.pieces)
    if place in piece.weights:
        return
    more = Piece({**piece.weights, place: weight}, piece.hop)
    _, changed = planned.after(Joined(more.node(place), (more.block(place),)))
    caught = around(more.block(place).prefix, part.pieces)
    assert caught is not None
    owners = [planned.roster.node(each).name for each in part.pieces[caught].owner.tolist()]
    places = [int(name.removeprefix("n")) for name in owners]
    hop = planned.roster.node(part.pieces[caught].hop).name
    weights = {each: more.weights[each] for each in [*places, place]}
    touched = Piece(weights, int(hop.removeprefix("n")))
    fewest = Fewest.of(touched, part.allowed)
    if fewest.staying == fewest.entries <= budget - len(part.pieces):
        assert len(changed) == fewest.entries
