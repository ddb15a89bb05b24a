"""A table on its way to a target, in one family: what differs, and steps that lower no level."""

from __future__ import annotations

from collections.abc import Iterable

from ipam.prefix import Family, Prefix
from vpcrouter.model import Action, Entry, RouteTable, Step
from vpcrouter.reachability.ground import Ground
from vpcrouter.reachability.levels import Fall, check_step
from vpcrouter.reachability.matching import Destinations, TableState
from vpcrouter.transition.reasons import Reasons


class Change:
    """Steps made so far, the state that they lead to, and what still differs from the target.

    ``creates`` and ``deletes`` are destinations that only the target or only the state has,
    ``replaces`` those whose next hops differ. A destination of a foreign entry is in none.
    """

    def __init__(
        self, ground: Ground, table: RouteTable, target: Iterable[Entry], family: Family
    ) -> None:
        self.ground = ground
        self.table = table
        self.family = family
        self.limit = table.limit.get(family, 0)
        ours = [entry for entry in table.entries if entry.destination.family is family]
        foreign = [prefix for prefix in table.foreign if prefix.family is family]
        self.state = TableState(ours, foreign)
        self.destinations = self.state.destinations[family]
        self.target = {e.destination: e.interface for e in target if e.destination.family is family}
        self.in_the_way = sorted(set(foreign) & set(self.target))
        for prefix in self.in_the_way:
            del self.target[prefix]
        self.wanted = Destinations(family, self.target.items())
        self.reasons = Reasons(ground, self.wanted)
        self.steps: list[Step] = []
        self.creates: set[Prefix] = set()
        self.replaces: set[Prefix] = set()
        self.deletes: set[Prefix] = set()
        for prefix in self.target.keys() | {entry.destination for entry in ours}:
            self._sort(prefix)

    @property
    def room(self) -> int:
        """How many entries more the table takes; negative where it is over its limit."""
        return self.limit - self.state.count(self.family)

    @property
    def is_done(self) -> bool:
        """Whether the state is the target."""
        return not (self.creates or self.replaces or self.deletes)

    def hop(self, destination: Prefix | None) -> str | None:
        """Where the state's entry leads; None for a foreign one and for none."""
        return None if destination is None else self.state.interface(destination)

    def cover(self, destination: Prefix) -> Prefix | None:
        """The entry, ours or foreign, that catches what is around this destination."""
        return self.destinations.cover(destination)

    def towards_target(self, destination: Prefix) -> Step:
        """The step that makes this destination as the target has it."""
        present, wanted = self.state.interface(destination), self.target.get(destination)
        if wanted is None:
            reason = self.reasons.delete(self.destinations, destination)
            return Step(Action.DELETE, destination, None, present, reason)
        if present is None:
            reason = self.reasons.create(destination, wanted)
            return Step(Action.CREATE, destination, wanted, None, reason)
        reason = self.reasons.replace(destination, present, wanted)
        return Step(Action.REPLACE, destination, wanted, present, reason)

    def fall(self, destination: Prefix) -> Fall | None:
        """What the step towards the target would lower now."""
        present, wanted = self.state.interface(destination), self.target.get(destination)
        action = Action.DELETE if wanted is None else Action.REPLACE
        action = Action.CREATE if present is None else action
        step = Step(action, destination, wanted, present, "")
        return check_step(self.ground, self.state, step)

    def attempt(self, destination: Prefix) -> bool:
        """Make the step towards the target, unless it lowers a level or there is no room for it."""
        if destination not in self.destinations and self.room <= 0:
            return False
        if self.fall(destination) is not None:
            return False
        self.do(self.towards_target(destination))
        return True

    def do(self, step: Step) -> None:
        """Make a step that is known to be safe."""
        self.steps.append(step)
        self.state.apply(step)
        self._sort(step.destination)

    def undo(self) -> Step:
        """Take the last step back, as if it had never been made; returns it."""
        step = self.steps.pop()
        if step.previous_interface is None:
            self.destinations.remove(step.destination)
        else:
            self.destinations.put(step.destination, step.previous_interface)
        self._sort(step.destination)
        return step

    def _sort(self, destination: Prefix) -> None:
        present, wanted = self.state.interface(destination), self.target.get(destination)
        for pending in (self.creates, self.replaces, self.deletes):
            pending.discard(destination)
        if present == wanted:
            return
        if present is None:
            self.creates.add(destination)
        elif wanted is None:
            self.deletes.add(destination)
        else:
            self.replaces.add(destination)
