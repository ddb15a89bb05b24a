"""Observe, plan, make the steps, observe again: until the tables are as planned.

A pass makes the steps of every table in order, the tables side by side. Each step is checked
against what the table holds by then, recorded as an intent, sent, and recorded as done. What goes
wrong is kept to its entry or its table; only a store or a fabric that cannot be reached ends the
run (UnavailableError), and a second service at work (ConflictError). After a crash at any point,
running again converges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ipam.store.port import Store
from vpcrouter.config import CEILING, Ceiling
from vpcrouter.fabric.port import Clock, Fabric
from vpcrouter.model import Plan, RouteTable, Snapshot
from vpcrouter.service.checks import Checks, Switch, hops_first
from vpcrouter.service.guard import removals
from vpcrouter.service.intents import Intents
from vpcrouter.service.memory import Memory
from vpcrouter.service.pace import LocalPace, Pace
from vpcrouter.service.passes import Pass, Tools
from vpcrouter.service.progress import Failed, Finished, Planned, Progress, Removal
from vpcrouter.service.requests import Lane
from vpcrouter.service.sending import Sender
from vpcrouter.service.turns import Halt, Turns
from vpcrouter.service.workers import InlineWorkers, Workers

Planner = Callable[[Snapshot], Plan]
Confirm = Callable[[Sequence[Removal]], bool]
"""Asked before a pass that would remove much; False: the pass is not made."""

_PASSES = 20  # two are enough, the second to see that nothing is left, unless something fails
SECONDS_BETWEEN = 5.0
"""Before reading again what turned out to be otherwise than it was read."""

_CHECKS = "checks"


@dataclass(frozen=True, slots=True)
class Means:
    """How calls are made: by whom, how fast, and on which time."""

    workers: Workers
    pace: Pace
    clock: Clock


def alone(clock: Clock) -> Means:
    """One call after another, by a process that shares its store with no other."""
    return Means(InlineWorkers(clock), LocalPace(clock.now), clock)


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a pass; ``left`` are steps that were planned and not made."""

    made: int
    left: int
    failed: tuple[Failed, ...]
    is_outdated: bool


class Router:
    """Brings route tables to where the plan wants them. The only one that changes them."""

    def __init__(self, fabric: Fabric, store: Store, means: Means) -> None:
        self._means = means
        self._intents = Intents(store)
        self._memory = Memory(means.clock)
        self._sender = Sender(fabric, means.pace, self._intents, self._memory)
        self.checks = Checks(fabric, store, means.pace)
        self._passed = Passed(0, 0, (), is_outdated=False)

    def run(
        self,
        snapshot: Snapshot,
        plan: Planner,
        observe: Callable[[], Sequence[RouteTable]],
        confirm: Confirm,
        ceiling: Ceiling = CEILING,
    ) -> Iterator[Progress]:
        """Make passes until nothing is left that could be done; reports everything as it happens.

        ``observe`` reads the route tables of the snapshot anew; ``confirm`` is asked about passes
        that would remove more than ``ceiling``. Raises UnavailableError or
        ConflictError; what was made until then stays, and is known.
        """
        observed: Sequence[RouteTable] = snapshot.route_tables
        made = 0
        last = self._passed
        for number in range(1, _PASSES + 1):
            snapshot = self.known(snapshot, observed)
            wanted = plan(snapshot)
            yield Planned(number, sum(len(table.steps) for table in wanted.tables))
            refused = removals(snapshot, wanted, ceiling)
            if refused and not confirm(refused):
                left = sum(len(table.steps) for table in wanted.tables)
                yield Finished(made, left, last.failed, refused)
                return
            yield from self.make(snapshot, observed, wanted, (), lambda: False)
            last = self._passed
            made += last.made
            if not (last.made or last.is_outdated):
                break
            if not last.made:
                self._means.clock.sleep(SECONDS_BETWEEN)
            observed = observe()
        yield Finished(made, last.left, last.failed, ())

    def known(self, snapshot: Snapshot, observed: Sequence[RouteTable]) -> Snapshot:
        """The snapshot with tables as they are, as far as that is known; loads the records."""
        self._intents.load()
        return replace(snapshot, route_tables=self._memory.correct(observed))

    def make(
        self,
        snapshot: Snapshot,
        observed: Sequence[RouteTable],
        wanted: Plan,
        switches: Sequence[Switch],
        halt: Halt,
    ) -> Iterator[Progress]:
        """Make one pass: switch checks, and make the steps of a plan; see ``passed``.

        ``snapshot`` is from ``known``, ``observed`` its tables as they were read. Raises
        UnavailableError or ConflictError.
        """
        reports: list[Progress] = []
        tools = Tools(self._sender, self._intents, self._means.clock, self.checks.pending)
        this = Pass(tools, snapshot, reports.append)
        lanes: dict[str, Lane] = {}
        for table, read, planned in zip(
            snapshot.route_tables, observed, wanted.tables, strict=True
        ):
            lanes[table.id] = this.lane(table, read, planned)
        hops = (s.interface for t in wanted.tables for s in t.steps if s.interface is not None)
        lanes[_CHECKS] = self.checks.lane(hops_first(switches, hops))
        turns = Turns(self._means.workers, self._means.pace, self._means.clock)
        try:
            for _ in turns.run(lanes, halt):
                while reports:
                    yield reports.pop(0)
        finally:
            left = sum(len(table.steps) for table in wanted.tables) - this.made
            self._passed = Passed(
                this.made, max(0, left), tuple(this.failed), is_outdated=this.is_outdated
            )

    @property
    def passed(self) -> Passed:
        """What became of the last pass."""
        return self._passed
