"""Room in a full table: entries are deleted and created in turn, with little load on the way.

A deleted entry's addresses fall to its cover until the entry that is to catch them is created, so
each delete is the one after which the cover's node has the least load, and each create the one
that relieves the most loaded node. What serves nothing goes first. Where no delete is safe, in
this order: a cover gets the next hop that the target gives it; entries are created that make a
delete safe; another node takes a cover over for a while; an entry of the target goes for a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from ipam.prefix import Prefix, merge
from vpcrouter.model import Action, Role, Step
from vpcrouter.reachability.levels import check_move
from vpcrouter.reachability.matching import Destinations
from vpcrouter.transition.change import Change
from vpcrouter.transition.loads import Loads


def shrink(change: Change) -> None:
    """Delete what can go as things are while the table is over its limit."""
    if change.room >= 0:
        return
    room = _Room(change)
    while change.room < 0 and (destination := room.best_delete()) is not None:
        room.step(destination)


def make_room(change: Change) -> None:
    """Delete and create until what is left to create fits, or no safe way is found."""
    if change.room >= len(change.creates):
        return
    room = _Room(change)
    while change.room < len(change.creates) and room.advance():
        pass


@dataclass(frozen=True, slots=True)
class _Move:
    """What a step would move: addresses that one node gives and another takes.

    ``relief`` and ``burden`` are the loads that the two lose and gain; ``idle`` says that nothing
    reaches the addresses as it is, ``safe`` that the level of none falls.
    """

    giver: int | None
    taker: int | None
    relief: float
    burden: float
    idle: bool
    safe: bool


class _Room:
    """The loads in a changing table, and what each possible step would do to them."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._ground = change.ground
        self._moves: dict[Prefix, _Move] = {}
        self._known = Destinations(change.family, ())
        self._loads = Loads(change)
        self._spent: set[Prefix] = set()

    def advance(self) -> bool:
        """Make the next step, or the few that belong together; False if there is none."""
        change = self._change
        delete = self.best_delete()
        if delete is not None and (change.room <= 0 or self._move(delete).idle):
            cover = change.cover(delete)
            self.step(cover if cover is not None and self._relieves(cover, delete) else delete)
            return True
        if delete is None and self._settle_cover():
            return True
        if change.room > 0:
            create = self._key_create() or self._best_create()
            if create is not None:
                self.step(create)
            return create is not None
        return self._lend_cover() or self._vacate()

    def best_delete(self) -> Prefix | None:
        """The safe delete that leaves its cover's node with the least load.

        One that others would have to fall to, with nothing around it to fall to instead, is last.
        """

        def key(destination: Prefix) -> tuple[bool, bool, float, float, Prefix]:
            move = self._move(destination)
            load = self._loads.of(move.taker) + move.burden
            return self._strands(destination), not move.idle, load, move.burden, destination

        return min((d for d in self._change.deletes if self._move(d).safe), key=key, default=None)

    def _strands(self, destination: Prefix) -> bool:
        change = self._change
        if self._forwards(change.cover(destination)) or not self._forwards(destination):
            return False
        return any(nested in change.deletes for nested in change.destinations.within(destination))

    def _forwards(self, destination: Prefix | None) -> bool:
        """Whether an entry of ours is there and its node may forward."""
        node = self._ground.node(self._change.hop(destination))
        if node is None:
            return False
        return self._ground.role(node, self._ground.nodes[node].subnet) is Role.FORWARD

    def step(self, destination: Prefix) -> None:
        """Make the step towards the target for this destination."""
        self._do(self._change.towards_target(destination))

    def _relieves(self, cover: Prefix, delete: Prefix) -> bool:
        """Whether what a delete lets fall is too much for the cover, but not for the target's."""
        move = self._move(delete)
        load = self._loads.of(move.taker) + move.burden
        if cover not in self._change.replaces or load <= self._loads.peak:
            return False
        node = self._ground.node(self._change.target[cover])
        pieces = self._loads.of_piece(cover, node) + self._loads.of_piece(delete, node)
        return self._loads.of(node) + pieces < load and self._change.fall(cover) is None

    def _best_create(self) -> Prefix | None:
        """The safe create that relieves the most loaded node.

        Those that would load their own node beyond what any node has had so far come last.
        """

        def key(destination: Prefix) -> tuple[bool, float, float, float, Prefix]:
            move = self._move(destination)
            beyond = max(0.0, self._loads.of(move.taker) + move.burden - self._loads.peak)
            return not move.idle, beyond, -self._loads.of(move.giver), -move.relief, destination

        return min((d for d in self._change.creates if self._move(d).safe), key=key, default=None)

    # Where no delete is safe.

    def _settle_cover(self) -> bool:
        """Give a cover the target's next hop, where that makes a delete safe."""
        for destination, cover, _ in self._by_cover():
            wanted = self._change.target.get(cover)
            if cover in self._change.replaces and wanted is not None:
                step = self._change.towards_target(cover)
                if self._frees(step, destination):
                    self._do(step)
                    return True
        return False

    def _lend_cover(self) -> bool:
        """Let another node take a cover over, delete what is under it; the one that costs least."""
        choices = [
            (cover not in self._change.replaces | self._change.deletes, destination, cover, present)
            for destination, cover, present in self._by_cover()
            if cover not in self._spent
        ]
        for _, destination, cover, present in sorted(choices):
            lender = self._lender(destination)
            if lender is None or lender == present:
                continue
            reason = self._change.reasons.lend(destination, lender)
            step = Step(Action.REPLACE, cover, lender, present, reason)
            if self._frees(step, destination):
                self._spent.add(cover)
                self._do(step)
                self.step(destination)
                return True
        return False

    def _key_create(self) -> Prefix | None:
        """A create without which no delete would be safe soon; None while others can go first.

        What is left of the room, with that of the deletes that are safe, is kept for the smallest
        group of creates that makes one more delete safe.
        """
        safe = sum(self._move(destination).safe for destination in self._change.deletes)
        left = self._change.room + safe
        for delete, creates in self._keys():
            if len(creates) > left:
                return None
            made = self._made(creates)
            useful = made == len(creates) and self._move(delete).safe
            self._undo(made)
            if useful:
                return creates[0] if len(creates) == left else None
        return None

    def _vacate(self) -> bool:
        """Delete entries of the target for a while, where that lets another delete become safe."""
        for delete, creates in self._keys():
            lent = self._made_vacant(len(creates) - self._change.room)
            made = len(lent)
            if self._change.room >= len(creates):
                made += self._made(creates)
            if made == len(lent) + len(creates) and self._move(delete).safe:
                self.step(delete)
                self._spent.update(lent)
                return True
            self._undo(made)
        return False

    def _made(self, creates: Sequence[Prefix]) -> int:
        """Make creates until one is not safe, whatever the room; how many it made."""
        for number, create in enumerate(creates):
            if self._change.fall(create) is not None:
                return number
            self.step(create)
        return len(creates)

    def _made_vacant(self, count: int) -> list[Prefix]:
        """Delete so many entries that the target has, the least loaded first; those it deleted."""
        change = self._change
        vacated: list[Prefix] = []
        while len(vacated) < count:
            safe = [
                (move.burden, destination)
                for destination in change.target.keys() - change.creates - change.replaces
                if destination not in self._spent
                and self._may_come_back(destination)
                and (move := self._loan(destination)).safe
            ]
            if not safe:
                break
            destination = min(safe)[1]
            reason = change.reasons.vacate(change.cover(destination))
            present = change.hop(destination)
            self._do(Step(Action.DELETE, destination, None, present, reason))
            vacated.append(destination)
        return vacated

    def _may_come_back(self, destination: Prefix) -> bool:
        """Whether the entry could be made anew: one that only stays as it is could not."""
        node = self._ground.node(self._change.hop(destination))
        if node is None:
            return False
        home = self._ground.nodes[node].subnet
        subnets = self._ground.snapshot.subnets
        prefixes = merge(next(subnet.prefixes for subnet in subnets if subnet.id == home))
        return self._ground.role(node, home) is not Role.NOTHING and any(
            prefix.contains(destination) for prefix in prefixes
        )

    def _keys(self) -> Iterator[tuple[Prefix, Sequence[Prefix]]]:
        """Deletes with missing creates that may make them safe, the fewest first."""
        creates = Destinations(self._change.family, ((d, None) for d in self._change.creates))
        found: dict[frozenset[Prefix], Prefix] = {}
        for delete in sorted(d for d in self._change.deletes if not self._move(d).safe):
            choices = self._takers(creates.within(delete), {delete})
            cover = self._change.wanted.cover(delete)
            if cover is not None and cover in creates:
                around = {delete, self._change.cover(cover)}
                inner = self._takers(creates.within(cover), around)
                choices += [[cover], *([cover, *choice] for choice in inner)]
            for choice in choices:
                if choice:
                    found.setdefault(frozenset(choice), delete)
        for group in sorted(found, key=lambda group: (len(group), sorted(group))):
            yield found[group], sorted(group, key=lambda p: (-p.length, p.value))

    def _takers(self, creates: Sequence[Prefix], pieces: Set[Prefix | None]) -> list[list[Prefix]]:
        """Those creates that would catch some of these entries' pieces: all, and the widest."""
        takers = [create for create in creates if self._change.cover(create) in pieces]
        widest: list[Prefix] = []
        for create in takers:
            if not widest or not widest[-1].contains(create):
                widest.append(create)
        return [takers, widest]

    def _by_cover(self) -> list[tuple[Prefix, Prefix, str]]:
        """The deletes that fall to an entry of ours, with it and its interface; lightest first."""
        found = []
        for destination in self._change.deletes:
            cover = self._change.cover(destination)
            hop = self._change.hop(cover)
            if cover is not None and hop is not None:
                move = self._move(destination)
                found.append((move.relief, destination, cover, hop))
        return [(destination, cover, hop) for _, destination, cover, hop in sorted(found)]

    def _frees(self, replace: Step, destination: Prefix) -> bool:
        """Whether this change of a cover is safe and makes the delete safe."""
        state, hop = self._change.state, self._change.hop
        cover, interface = replace.destination, replace.interface
        return (
            check_move(self._ground, state, cover, hop(cover), interface) is None
            and check_move(self._ground, state, destination, hop(destination), interface) is None
        )

    def _lender(self, destination: Prefix) -> str | None:
        """The forwarder with the least load in the subnet that this entry serves."""
        node = self._ground.node(self._change.hop(destination))
        if node is None:
            return None
        subnet, nodes = self._ground.nodes[node].subnet, self._ground.nodes
        able = [i for i in range(len(nodes)) if self._ground.role(i, subnet) is Role.FORWARD]
        if not able:
            return None
        best = min(able, key=lambda i: (nodes[i].avoid, self._loads.of(i), i))
        return nodes[best].interface

    # Steps and what they move.

    def _do(self, step: Step) -> None:
        self._account(step, 1.0)
        self._change.do(step)
        self._forget(step.destination)

    def _undo(self, count: int) -> None:
        for _ in range(count):
            step = self._change.undo()
            self._account(step, -1.0)
            self._forget(step.destination)

    def _account(self, step: Step, sign: float) -> None:
        """Move the load that a step moves (or with -1 back), as long as it is not made."""
        around = self._change.hop(self._change.cover(step.destination))
        giver = self._ground.node(step.previous_interface or around)
        taker = self._ground.node(step.interface or around)
        for node, gain in ((giver, -sign), (taker, sign)):
            self._loads.add(node, gain * self._loads.of_piece(step.destination, node))

    def _move(self, destination: Prefix) -> _Move:
        """What the create or delete of this destination would move now."""
        move = self._moves.get(destination)
        if move is None:
            around = self._change.hop(self._change.cover(destination))
            if destination in self._change.creates:
                move = self._moved(destination, around, self._change.target[destination])
            else:
                move = self._moved(destination, self._change.hop(destination), around)
            self._moves[destination] = move
            self._known.put(destination, None)
        return move

    def _loan(self, destination: Prefix) -> _Move:
        around = self._change.hop(self._change.cover(destination))
        return self._moved(destination, self._change.hop(destination), around)

    def _moved(self, destination: Prefix, before: str | None, after: str | None) -> _Move:
        giver, taker = self._ground.node(before), self._ground.node(after)
        return _Move(
            giver,
            taker,
            self._loads.of_piece(destination, giver),
            self._loads.of_piece(destination, taker),
            not any(
                self._ground.role(giver, tree.subnet)
                for first, last in self._change.destinations.piece(destination)
                for tree, _, _ in self._ground.trees_over(self._change.family, first, last)
            ),
            check_move(self._ground, self._change.state, destination, before, after) is None,
        )

    def _forget(self, destination: Prefix) -> None:
        """Drop what is known about destinations whose piece or cover a step there changes."""
        known = [destination, *self._known.within(destination)]
        cover = self._known.cover(destination)
        while cover is not None:
            known.append(cover)
            cover = self._known.cover(cover)
        for each in known:
            if self._moves.pop(each, None) is not None:
                self._known.remove(each)
