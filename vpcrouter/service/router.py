"""Observe, plan, make the steps, observe again: until the tables are as planned.

A pass makes the steps of every table in order. Each is checked against what the table holds by
then, recorded as an intent, sent, and recorded as done. What goes wrong is kept to its entry or
its table; only a store or a fabric that cannot be reached ends the run (UnavailableError), and a
second service at work (ConflictError). After a crash at any point, running again converges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ipam.store.port import Store
from vpcrouter.fabric.port import Clock, Fabric
from vpcrouter.model import Plan, RouteTable, Snapshot
from vpcrouter.service.calls import Caller
from vpcrouter.service.guard import removals
from vpcrouter.service.intents import Intents
from vpcrouter.service.memory import Memory
from vpcrouter.service.passes import Pass
from vpcrouter.service.progress import Failed, Finished, Planned, Progress, Removal

Planner = Callable[[Snapshot], Plan]
Confirm = Callable[[Sequence[Removal]], bool]
"""Asked before a pass that would remove much; False: the pass is not made."""

_PASSES = 20  # two are enough, the second to see that nothing is left, unless something fails
_SECONDS_BETWEEN = 5.0  # before reading again what turned out to be otherwise than it was read


class Router:
    """Brings route tables to where the plan wants them. The only one that changes them."""

    def __init__(self, fabric: Fabric, store: Store, clock: Clock) -> None:
        self._clock = clock
        self._caller = Caller(fabric, clock)
        self._intents = Intents(store)
        self._memory = Memory(clock)

    def run(
        self,
        snapshot: Snapshot,
        plan: Planner,
        observe: Callable[[], Sequence[RouteTable]],
        confirm: Confirm,
    ) -> Iterator[Progress]:
        """Make passes until nothing is left that could be done; reports everything as it happens.

        ``observe`` reads the route tables of the snapshot anew. Raises UnavailableError or
        ConflictError; what was made until then stays, and is known.
        """
        observed: Sequence[RouteTable] = snapshot.route_tables
        failed: tuple[Failed, ...] = ()
        made = left = 0
        for number in range(1, _PASSES + 1):
            self._intents.load()
            snapshot = replace(snapshot, route_tables=self._memory.correct(observed))
            wanted = plan(snapshot)
            left = sum(len(table.steps) for table in wanted.tables)
            yield Planned(number, left)
            refused = removals(snapshot, wanted)
            if refused and not confirm(refused):
                yield Finished(made, left, failed, refused)
                return
            this = Pass(self._caller, self._intents, self._memory, snapshot)
            for table, read, planned in zip(
                snapshot.route_tables, observed, wanted.tables, strict=True
            ):
                yield from this.change(table, read, planned)
            failed = tuple(this.failed)
            made += this.made
            left = max(0, left - this.made)
            if not (this.made or this.is_outdated):
                break
            if not this.made:
                self._clock.sleep(_SECONDS_BETWEEN)
            observed = observe()
        yield Finished(made, left, failed, ())
