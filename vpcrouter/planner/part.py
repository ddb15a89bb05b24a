"""One table and family of a plan that follows events: its pieces, their loads, and the bound.

A ``Part`` is a value; an event is worked out by an ``_Edit``, which starts from one and ends as
another. What cannot be mended within the budget stays as it is, and ``stale`` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipam.prefix import Family, Prefix, host_mask
from vpcrouter.model import Block, Entry, Role, RouteTable
from vpcrouter.planner.carried import NOTHING, Carried, carry
from vpcrouter.planner.pieces import Piece
from vpcrouter.planner.plan import Chosen
from vpcrouter.planner.problem import FamilyView
from vpcrouter.planner.roster import Roster
from vpcrouter.planner.trie import Keys

_ROUNDING = 1e-9  # relative: what sums of the same weights may differ by
_CANDIDATES = 8  # owners of a piece that are looked at, those who own most


@dataclass(frozen=True, slots=True)
class Part:
    """``load`` is per next hop. ``carried`` is the bound and the least load. ``allowed`` is what a
    node may carry before something is changed for it. ``clear`` is False where only a full pass
    can decide, and nothing is followed. ``factors`` multiply the weights of each subnet's blocks,
    ``merged`` are its maximal prefixes.
    """

    table: RouteTable
    family: Family
    pieces: Mapping[Prefix, Piece]
    load: Mapping[int, float]
    carried: Carried
    allowed: float
    clear: bool
    factors: tuple[float, ...]
    merged: tuple[tuple[Prefix, ...], ...]

    @property
    def max_load(self) -> float:
        """The largest load of a node."""
        return max(self.load.values(), default=0.0)

    @property
    def budget(self) -> int:
        """The most entries."""
        return self.table.budget.get(self.family, 0)

    def stale(self, slack: float) -> bool:
        """Whether only a full pass can tell that this is within the slack."""
        return not self.clear or self.max_load > self.carried.least * (1 + slack) * (1 + _ROUNDING)

    def entries(self, roster: Roster) -> list[Entry]:
        """What the table should hold."""
        return [Entry(p.destination, roster.interface(p.hop)) for p in self.pieces.values()]

    def changes(self, other: Part) -> dict[Prefix, tuple[int | None, int | None]]:
        """The destinations whose next hop is another one there, with both; None: no entry."""
        found: dict[Prefix, tuple[int | None, int | None]] = {}
        for destination, piece in self.pieces.items():
            now = other.pieces.get(destination)
            if now is not piece and (now is None or now.hop != piece.hop):
                found[destination] = piece.hop, None if now is None else now.hop
        for destination, piece in other.pieces.items():
            if destination not in self.pieces:
                found[destination] = None, piece.hop
        return found

    # What happens.

    def grown(self, before: Roster, after: Roster, node: int) -> Part:
        """The bound where the largest capacity of a subnet may have become larger."""
        home = after.home(node)
        times = before.most[home] / after.most[home]
        return replace(self, carried=self.carried.scaled(times))

    def joined(self, roster: Roster, node: int, blocks: Sequence[Block]) -> Part:
        """A node with its blocks."""
        if not self.clear:
            return self.lapsed()
        edit = _Edit(self, roster)
        home = roster.home(node)
        for block in blocks:
            if block.prefix.family is self.family:
                edit.add(node, block.prefix, block.weight * self.factors[home])
        return edit.result()

    def left(self, roster: Roster, node: int, blocks: Sequence[Prefix]) -> Part:
        """A node is gone with its blocks."""
        if not self.clear:
            return self.lapsed()
        edit = _Edit(self, roster)
        weight = sum(edit.remove(block) for block in blocks if block.family is self.family)
        edit.replace_hop(node)
        entries = len(blocks) if node in roster.able else 0
        home = roster.home(node)
        # What was caught with these blocks may now be all of one node that forwards nothing else.
        load = np.inf if home in roster.keepers else weight / roster.least[home]
        return edit.result().without(float(load), entries)

    def failed(self, roster: Roster, node: int) -> Part:
        """A node is not healthy."""
        if not self.clear:
            return self.lapsed()
        edit = _Edit(self, roster)
        edit.replace_hop(node)
        return edit.result()

    def revived(self, roster: Roster, node: int, blocks: Sequence[Prefix]) -> Part:
        """A node is healthy that never was; it may keep what it owns."""
        if not self.clear:
            return self.lapsed()
        edit = _Edit(self, roster)
        weight = sum(edit.weight(block) for block in blocks if block.family is self.family)
        return self.without(weight / roster.least[roster.home(node)], 0)

    def weighed(self, roster: Roster, block: Prefix, weight: float) -> Part:
        """A block has another weight; raises KeyError if there is no such block."""
        if block.family is not self.family:
            return self
        if not self.clear:
            return self.lapsed()
        edit = _Edit(self, roster)
        less, owner = edit.weigh(block, weight, self.factors)
        if less <= 0:
            return edit.result()
        entries = 1 if owner in roster.able else 0
        return edit.result().without(less / roster.least[roster.home(owner)], entries)

    def lapsed(self) -> Part:
        """The same after an event that is not followed: of what was known no bound is left."""
        return replace(self, carried=NOTHING)

    def without(self, load: float, entries: int) -> Part:
        """The same where something is gone that made so much load, or took so many entries."""
        return replace(self, carried=self.carried.without(load, entries)) if load else self


def part_of(view: FamilyView, table: RouteTable, chosen: Chosen, slack: float) -> Part:
    """The part that a full pass makes."""
    solved, problem, settled = chosen.solved, chosen.problem, chosen.settled
    pieces: dict[Prefix, Piece] = {}
    carried = NOTHING
    weight = view.weight
    if solved is not None and problem is not None and settled is not None:
        weight = problem.weight
        if solved.ground is not None:
            carried = carry(problem, solved.owned, solved.best.load)
        layout = settled.layout
        rows: list[list[slice]] = [[] for _ in layout.destinations]
        segments = zip(layout.start.tolist(), layout.end.tolist(), layout.piece, strict=True)
        for first, last, position in segments:
            rows[position].append(slice(first, last))
        for destination, hop, mine in zip(
            layout.destinations, settled.hops.tolist(), rows, strict=True
        ):
            pieces[destination] = _piece(view, weight, destination, hop, mine)
    factors = tuple(
        table.own_subnet_weight if subnet.route_table == table.id else 1.0
        for subnet in view.snapshot.subnets
    )
    avoid = np.frombuffer(view.snapshot.node_columns.avoid, dtype=np.bool_)
    reluctant = bool((avoid & (view.role == Role.FORWARD)).any())
    plain = not (chosen.kept or chosen.fixed or chosen.unserved or table.foreign)
    edit = Part(
        table,
        view.family,
        pieces,
        {},
        carried,
        carried.found * (1 + slack),
        plain and not reluctant,
        factors,
        view.merged,
    )
    load: dict[int, float] = {}
    for piece in pieces.values():
        load[piece.hop] = load.get(piece.hop, 0.0) + piece.others / float(view.capacity[piece.hop])
    return replace(edit, load=load)


def _piece(
    view: FamilyView,
    weight: np.typing.NDArray[np.float64],
    destination: Prefix,
    hop: int,
    rows: Sequence[slice],
) -> Piece:
    if not rows:
        rows = (slice(0, 0),)
    if len(rows) == 1:
        keys, (mine,) = view.keys, rows
        part = Keys(view.family, keys.high[mine], keys.low[mine], keys.length[mine])
        return Piece.of(destination, hop, part, view.owner[mine].astype(np.int64), weight[mine])
    index = np.concatenate([np.arange(mine.start, mine.stop) for mine in rows])
    owner = view.owner[index].astype(np.int64)
    return Piece.of(destination, hop, view.keys.take(index), owner, weight[index])


def around(prefix: Prefix, pieces: Mapping[Prefix, Piece]) -> Prefix | None:
    """The most specific of these destinations that contains a prefix, or None."""
    family, value = prefix.family, prefix.value
    for length in range(prefix.length, -1, -1):
        candidate = Prefix(family, value & ~host_mask(family, length), length)
        if candidate in pieces:
            return candidate
    return None


class _Edit:
    """One event being worked out: the pieces so far, the loads, and how often a node is a hop."""

    def __init__(self, part: Part, roster: Roster) -> None:
        self.part = part
        self.roster = roster
        self.pieces = dict(part.pieces)
        self.load = dict(part.load)
        self.uses = Counter(piece.hop for piece in part.pieces.values())
        self.clear = part.clear
        self.lost: set[Prefix] = set()  # trees without a block left: their entries are free
        self.touched: set[int] = set()

    def result(self) -> Part:
        """What has come of it; sums are made anew, so that none drifts."""
        load = {node: each for node, each in self.load.items() if node not in self.touched}
        for piece in self.pieces.values():
            if piece.hop in self.touched:
                load[piece.hop] = load.get(piece.hop, 0.0) + self._cost(piece)
        part = replace(self.part, pieces=self.pieces, load=load, clear=self.clear)
        return replace(part, carried=NOTHING) if self.lost else part

    def _cost(self, piece: Piece) -> float:
        return piece.others / self.roster.capacity(piece.hop)

    def _put(self, piece: Piece) -> None:
        self._drop(piece.destination)
        self.pieces[piece.destination] = piece
        self.uses[piece.hop] += 1
        self.touched.add(piece.hop)
        self.load[piece.hop] = self.load.get(piece.hop, 0.0) + self._cost(piece)

    def _drop(self, destination: Prefix) -> None:
        piece = self.pieces.pop(destination, None)
        if piece is not None:
            self.uses[piece.hop] -= 1
            self.touched.add(piece.hop)
            self.load[piece.hop] -= self._cost(piece)

    # The blocks.

    def add(self, node: int, block: Prefix, weight: float) -> None:
        """A block more."""
        for destination, piece in list(self.pieces.items()):
            splits = block.contains(destination) and block != destination
            if splits and not len(piece.owner):
                self._drop(destination)
        catches = around(block, self.pieces)
        home = self.roster.home(node)
        if catches is None:
            tree = next((p for p in self.part.merged[home] if p.contains(block)), None)
            if tree is None:
                raise ValueError(f"{block} is outside the prefixes of the node's subnet")
            self._found(tree, node)
            catches = tree
        self._put(self.pieces[catches].with_block(block, node, weight))
        self._settle(catches)

    def _found(self, tree: Prefix, node: int) -> None:
        """A tree gets its first block, and so a cover."""
        family = self.part.family
        nothing = Keys(
            family, np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.uint8)
        )
        self._free(1, None)
        if len(self.pieces) >= self.part.budget or self.roster.role(node) is Role.NOTHING:
            self.clear = False
        self._put(Piece.of(tree, node, nothing, np.zeros(0, np.int64), np.zeros(0)))

    def _place(self, block: Prefix) -> tuple[Piece, int]:
        destination = around(block, self.pieces)
        piece = None if destination is None else self.pieces[destination]
        row = None if piece is None else piece.row(block)
        if piece is None or row is None:
            raise KeyError(str(block))
        return piece, row

    def remove(self, block: Prefix) -> float:
        """A block less; its weight."""
        piece, row = self._place(block)
        self._put(piece.without([row]))
        if len(piece.owner) == 1:
            self._forget_empty(piece.destination)
        return float(piece.weight[row])

    def _forget_empty(self, destination: Prefix) -> None:
        tree = next(p for mine in self.part.merged for p in mine if p.contains(destination))
        inside = [d for d in self.pieces if tree.contains(d)]
        if not any(len(self.pieces[d].owner) for d in inside):
            self.lost.add(tree)

    def weight(self, block: Prefix) -> float:
        """The weight of a block."""
        piece, row = self._place(block)
        return float(piece.weight[row])

    def weigh(self, block: Prefix, weight: float, factors: Sequence[float]) -> tuple[float, int]:
        """Another weight; how much less that is, and who owns it."""
        piece, row = self._place(block)
        owner = int(piece.owner[row])
        weight *= factors[self.roster.home(owner)]
        self._put(piece.weighing(row, weight))
        self._settle(piece.destination)
        return float(piece.weight[row]) - weight, owner

    # Who forwards.

    def replace_hop(self, node: int) -> None:
        """Find somebody else for whatever a node is the next hop of."""
        for destination, piece in list(self.pieces.items()):
            if piece.hop == node and self.pieces.get(destination) is piece:
                cover = any(destination in mine for mine in self.part.merged)
                if not len(piece.owner) and (destination in self.lost or not cover):
                    self._drop(destination)
                else:
                    self._settle(destination)

    def _may(self, piece: Piece, node: int) -> bool:
        role = self.roster.role(node)
        return role is Role.FORWARD or (role is Role.OWN and bool((piece.owner == node).all()))

    def _settle(self, destination: Prefix) -> None:
        """Bring one piece's next hop under what is allowed: another one, or a part less."""
        piece = self.pieces[destination]
        allowed = self.part.allowed * (1 + _ROUNDING)
        may = self._may(piece, piece.hop)
        if may and self.load[piece.hop] <= allowed:
            return
        node, load = self._best(piece)
        if node is None:
            self.clear = self.clear and may
            return
        if not may or load <= allowed:
            piece = piece.through(node)
            self._put(piece)
        if self.load[piece.hop] > allowed:
            self._cut(piece)

    def _best(self, piece: Piece) -> tuple[int | None, float]:
        """The node that carries a piece best, and its load then."""
        before = self.pieces.get(piece.destination)

        def others(node: int) -> float:
            load = self.load.get(node, 0.0)
            return load - self._cost(before) if before and before.hop == node else load

        nodes, owns = piece.owns()
        if len(nodes) == 1 and self.roster.role(int(nodes[0])) is not Role.NOTHING:
            return int(nodes[0]), others(int(nodes[0]))
        options: list[tuple[float, int]] = []
        for position in np.argsort(-owns, kind="stable").tolist():
            node = int(nodes[position])
            if self.roster.role(node) is Role.FORWARD:
                rest = (piece.total - float(owns[position])) / self.roster.capacity(node)
                options.append((others(node) + rest, node))
                if len(options) == _CANDIDATES:
                    break
        subnet = self.roster.home(piece.hop)
        unused = (n for n in self.roster.forwarders(subnet) if not self.uses[n])
        idle = next(unused, None)
        options += [
            (others(node) + piece.total / self.roster.capacity(node), node)
            for node in (self.uses if idle is None else (idle,))
            if self.roster.home(node) == subnet and self.roster.role(node) is Role.FORWARD
        ]
        if not options:
            return None, 0.0
        load, best = min(options)
        return best, load

    def _cut(self, piece: Piece) -> None:
        """Give parts of a piece entries of their own, or all of it the best next hop."""
        inner = self._parts(piece) if len(piece.owner) else []
        for destination in sorted(inner, key=lambda prefix: prefix.length):
            outer = around(destination, self.pieces)
            if outer is None or outer == destination:
                continue
            rest, part = self.pieces[outer].split(destination)
            self._put(rest)
            node, _ = self._best(part)
            self._put(part.through(part.hop if node is None else node))
        for destination in (piece.destination, *inner):
            self._improve(destination)

    def _parts(self, piece: Piece) -> list[Prefix]:
        """The fewest destinations in a piece that leave no part too heavy; none if too many."""
        strongest = self.roster.most[self.roster.home(piece.hop)]
        ratio = strongest / self.roster.capacity(piece.hop)
        inner = piece.cut_for(self.part.allowed * strongest, self.roster.role, ratio)
        self._free(len(inner), piece.destination)
        return inner if len(self.pieces) + len(inner) <= self.part.budget else []

    def _improve(self, destination: Prefix) -> None:
        """Another next hop for a piece that has become smaller, where that is needed."""
        piece = self.pieces[destination]
        if self.load[piece.hop] <= self.part.allowed and self._may(piece, piece.hop):
            return
        node, load = self._best(piece)
        if node is not None and load < self.load[piece.hop]:
            self._put(piece.through(node))

    def _free(self, number: int, kept: Prefix | None) -> None:
        """Make room for so many entries: drop what catches nothing, join what is light."""
        wanted = self.part.budget - number
        if len(self.pieces) <= wanted:
            return
        covers = {prefix for mine in self.part.merged for prefix in mine}
        inner = [p for p in self.pieces.values() if p.destination not in covers]
        for piece in sorted(inner, key=lambda p: (len(p.owner) > 0, p.total, p.destination)):
            if len(self.pieces) <= wanted:
                return
            self._join(piece, kept)

    def _join(self, piece: Piece, kept: Prefix | None) -> None:
        """Leave a piece to the entry around it, if that one's next hop can take it."""
        outer = around(piece.destination.ancestor(piece.destination.length - 1), self.pieces)
        if outer is None or piece.destination == kept or (outer == kept and len(piece.owner)):
            return
        both = self.pieces[outer].joined(piece)
        load = self.load[both.hop] - self._cost(self.pieces[outer]) + self._cost(both)
        if both.hop == piece.hop:
            load -= self._cost(piece)
        if not len(piece.owner) or (self._may(both, both.hop) and load <= self.part.allowed):
            self._drop(piece.destination)
            self._put(both)
