"""The loop: look, plan, make steps, look again; for as long as it runs, or until all is settled.

Level-triggered: each look takes everything as it is, whatever was heard of. What is heard of only
says when: changes are collected for a while, failures cut through whatever is being done. Without
either, a look on a timer repairs what others have changed. Where something cannot be looked at or
is doubtful, everything stays as it is, and is looked at again later.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping

from ipam.errors import BadInputError, ConflictError, ExhaustedError, UnavailableError
from ipam.prefix import Prefix
from vpcrouter.cluster import Cluster, View
from vpcrouter.config import CEILING, Ceiling
from vpcrouter.fabric.port import FabricError
from vpcrouter.model import Plan, Snapshot
from vpcrouter.reconcile.alarm import Alarm, Timing
from vpcrouter.reconcile.events import Ended, Event, Held, Lost
from vpcrouter.reconcile.guard import shrunken
from vpcrouter.reconcile.signals import Signals
from vpcrouter.service import (
    SECONDS_BETWEEN,
    Failed,
    Means,
    NotSwitched,
    Planned,
    Router,
    Switch,
    removals,
    switched_off,
    wanted,
)

Stop = Callable[[], bool]
Planner = Callable[[Snapshot], Plan]

_PASSING = (UnavailableError, ConflictError, BadInputError, ExhaustedError, FabricError)
_IN_A_ROW = 20
"""So many passes that each changed something without an end: somebody works against us."""


class Loop:
    """Keeps the tables of a cluster as planned. ``failed`` is what cannot be done at present.

    A pass that would remove more than ``ceiling`` is reported and not made. One thread runs it; no
    other service may change the tables of the cluster meanwhile.
    """

    def __init__(
        self,
        cluster: Cluster,
        means: Means,
        plan: Planner,
        signals: Signals,
        timing: Timing,
        ceiling: Ceiling = CEILING,
    ) -> None:
        self._cluster = cluster
        self._plan = plan
        self._signals = signals
        self._clock = means.clock
        self._timing = timing
        self._ceiling = ceiling
        self._alarm = Alarm(timing)
        self._router = Router(cluster.fabric, cluster.store, means)
        self._polled = means.clock.now()
        self._in_vain = 0
        self._in_a_row = 0
        self.failed: Mapping[tuple[str, Prefix | None], Failed] = {}

    def run(self, stop: Stop) -> Iterator[Event]:
        """Run until ``stop``, which is asked between any two steps; reports as it happens."""
        while not stop():
            seconds = yield from self._turn(stop)
            self._rest(seconds, stop)

    def _turn(self, stop: Stop) -> Generator[Event, None, float]:
        """One look with what follows from it; how long to rest then, unless something happens."""
        self._listen()
        self._alarm.clear()
        try:
            view = self._cluster.joined()
            problem = shrunken(view)
            if problem is not None:
                yield Held(problem)
                return self._timing.resync
            return (yield from self._pass(view, stop))
        except _PASSING as error:
            self._in_vain += 1
            seconds = self._timing.retry(self._in_vain)
            yield Lost(str(error), seconds)
            return seconds

    def _pass(self, view: View, stop: Stop) -> Generator[Event, None, float]:
        observed = view.snapshot.route_tables
        snapshot = self._router.known(view.snapshot, observed)
        plan = self._plan(snapshot)
        refused = removals(snapshot, plan, self._ceiling)
        if refused:
            text = "; ".join(map(str, refused))
            yield Held(f"{text}: left as they are; run apply if that is meant", refused)
            return self._timing.resync
        ours = switched_off(self._cluster.store)
        switches = wanted(snapshot, view.observation.interfaces, ours)
        yield Planned(1, sum(len(table.steps) for table in plan.tables))
        began = self._clock.now()
        halted = False

        def halt() -> bool:
            nonlocal halted
            halted = halted or stop() or self._is_interrupted(began)
            return halted

        switched: list[Switch | NotSwitched] = []
        for event in self._router.make(snapshot, observed, plan, switches, halt):
            switched += yield from self._switched()
            yield event
        switched += yield from self._switched()
        not_switched = tuple(one for one in switched if isinstance(one, NotSwitched))
        ended = Ended(view, plan, self._router.passed, not_switched, halted)
        # What a pass that was left early has not come to may be as before.
        before = self.failed if halted else {}
        self.failed = {**before, **{(f.table, f.destination): f for f in ended.passed.failed}}
        yield ended
        return self._seconds_until_next(ended, changed=len(switched) > len(not_switched))

    def _switched(self) -> Generator[Event, None, list[Switch | NotSwitched]]:
        """What has become of checks since this was asked last."""
        done, self._router.checks.done = self._router.checks.done, []
        yield from done
        return done

    def _seconds_until_next(self, ended: Ended, *, changed: bool) -> float:
        if ended.halted:
            return 0.0
        if ended.passed.made or changed:
            self._in_vain = 0
            self._in_a_row += 1
            vain = self._in_a_row - _IN_A_ROW
            return self._timing.retry(vain) if vain > 0 else 0.0
        if ended.passed.is_outdated:
            return SECONDS_BETWEEN
        self._in_a_row = 0
        if ended.is_settled:
            self._in_vain = 0
            return self._timing.resync
        self._in_vain += 1
        return min(self._timing.resync, self._timing.retry(self._in_vain))

    def _is_interrupted(self, began: float) -> bool:
        """Whether to leave a pass for what has happened: at once for failures only."""
        now = self._clock.now()
        if now - self._polled >= self._timing.poll:
            self._listen()
        if self._alarm.is_urgent:
            return True
        return now - began >= self._timing.patience and self._alarm.is_due(now)

    def _rest(self, seconds: float, stop: Stop) -> None:
        """Wait so long, or until something has happened."""
        end = self._clock.now() + seconds
        while not stop():
            self._listen()
            now = self._clock.now()
            if now >= end or self._alarm.is_due(now):
                return
            self._clock.sleep(min(self._timing.poll, end - now))

    def _listen(self) -> None:
        self._polled = self._clock.now()
        self._alarm.ring(self._signals.poll(), self._polled)
