"""One pass over the tables: every planned step checked, recorded, sent, and recorded again.

Each table is a lane of its own. What goes wrong with an entry is kept to it, and to those that
share addresses with it: what they would do to those is not known then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from ipam.errors import UnavailableError
from ipam.prefix import Family, Prefix
from vpcrouter.fabric.codes import Code
from vpcrouter.fabric.port import (
    Clock,
    FabricError,
    FabricUnavailableError,
    FullError,
    OutdatedError,
    RetryLaterError,
    TableGoneError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.model import Action, RouteTable, Snapshot, Step, TablePlan
from vpcrouter.ownership import RouteRecord, Stage
from vpcrouter.reachability import Ground, TableState, check_step, contradiction
from vpcrouter.service.intents import Intents
from vpcrouter.service.progress import Failed, Made, Progress
from vpcrouter.service.requests import Asking, Lane, Outcome, Pause
from vpcrouter.service.sending import ATTEMPTS, Sender, seconds_to_wait

_LEFT_OVER = "left over from an interrupted change"
_UNKNOWN = "the outcome of an earlier call is not known"
_DOUBTFUL = (OutdatedError, UnknownOutcomeError)
_BEHIND_OTHERS_SECONDS = 0.25


class Pending(Protocol):
    """The interfaces to which nothing may be sent yet."""

    def __contains__(self, interface: object, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a pass works with; ``pending`` are interfaces whose check is still on."""

    sender: Sender
    intents: Intents
    clock: Clock
    pending: Pending


class Pass:
    """The steps of one plan. ``is_outdated``: some table was not as it was read."""

    def __init__(
        self, tools: Tools, snapshot: Snapshot, report: Callable[[Progress], None]
    ) -> None:
        self.tools = tools
        self.ground = Ground.physical(snapshot)
        self.has_nodes = bool(snapshot.nodes)
        self.made = 0
        self.failed: list[Failed] = []
        self.is_outdated = False
        self._report = report

    def lane(self, table: RouteTable, read: RouteTable, planned: TablePlan) -> Lane:
        """Make the steps of one table, then put its records in order.

        ``table`` is what it holds as far as known, ``read`` what the last read showed.
        """
        return _TableLane(self, table, read, planned).run()

    def count(self, table: str, step: Step) -> None:
        """A step has been made."""
        self.made += 1
        self._report(Made(table, step, self.made))

    def note(self, failure: Failed) -> None:
        """Something was not done."""
        self.failed.append(failure)
        self._report(failure)


@dataclass(slots=True)
class _Job:
    """A step to be made, not before a time; so many attempts were refused for now."""

    step: Step
    ready: float = 0.0
    attempts: int = 0


class _TableLane:
    """One table on its way."""

    def __init__(
        self, whole: Pass, table: RouteTable, read: RouteTable, planned: TablePlan
    ) -> None:
        self._whole = whole
        self._tools = whole.tools
        self._table = table
        self._read = read
        self._wanted = {entry.destination: entry.interface for entry in planned.entries}
        self._jobs = [_Job(step) for step in planned.steps]
        self._state = TableState(table.entries, table.foreign)
        self._full: set[Family] = set()
        self._doubtful: list[Prefix] = []
        self._open: set[Prefix] = set()
        self._is_gone = False

    def run(self) -> Lane:
        yield from self._find_out()
        while self._jobs:
            before = len(self._jobs)
            waits: list[float] = []
            for job in list(self._jobs):
                wait = self._wait(job, behind=bool(waits))
                if wait > 0:
                    waits.append(wait)
                    continue
                self._jobs.remove(job)
                yield from self._do(job)
                if self._is_gone:  # which that has found out
                    return
            if waits and len(self._jobs) == before:
                yield Pause(min(waits))
        yield from self._tidy()

    def _wait(self, job: _Job, *, behind: bool) -> float:
        """How long a step has to wait for itself, its next hop, or one that comes before it."""
        if job.step.interface in self._tools.pending:
            return _BEHIND_OTHERS_SECONDS
        later = job.ready - self._tools.clock.now()
        if later > 0:
            return later
        return _BEHIND_OTHERS_SECONDS if behind and self._problem(job.step) is not None else 0.0

    def _do(self, job: _Job) -> Lane:
        step = job.step
        if self._is_doubtful(step.destination):
            return
        if step.destination not in self._open and any(map(step.destination.overlaps, self._open)):
            self._whole.is_outdated = True
            return
        failure = self._problem(step)
        if failure is not None:
            self._whole.note(failure)
            return
        error = yield from self._send(step)
        if error is None:
            self._state.apply(step)
            self._open.discard(step.destination)
            self._whole.count(self._table.id, step)
        elif isinstance(error, RetryLaterError) and job.attempts + 1 < ATTEMPTS:
            job.attempts += 1
            job.ready = self._tools.clock.now() + seconds_to_wait(error, job.attempts)
            self._jobs.append(job)
        else:
            self._fail(step, error)

    def _send(self, step: Step) -> Asking[Outcome]:
        """Make a step. Raises UnavailableError where no other call would be answered either."""
        urgent = step.action is Action.REPLACE and self._whole.ground.is_dead(
            step.previous_interface
        )
        error = yield from self._tools.sender.send(self._table.id, step, urgent=urgent)
        if isinstance(error, FabricUnavailableError):
            raise error
        if isinstance(error, ThrottledError):
            raise UnavailableError(
                f"{error}: other tools use up the account's calls: run apply again later"
            ) from error
        return error

    def _fail(self, step: Step, error: FabricError) -> None:
        self._whole.note(failed(self._table.id, step, error))
        if isinstance(error, TableGoneError):
            self._is_gone = True
        elif isinstance(error, _DOUBTFUL):
            self._whole.is_outdated = True
            self._doubtful.append(step.destination)
        elif isinstance(error, FullError):
            self._full.add(step.destination.family)

    def _problem(self, step: Step) -> Failed | None:
        """Why a step must not be sent as things are by now."""
        table = self._table
        if step.action is Action.CREATE and step.destination.family in self._full:
            text = "not created: the table is full"
            return Failed(table.id, step.destination, "", text, "raise its quota")
        problem = contradiction(self._state, table.limit, step)
        if problem is None:
            fall = check_step(self._whole.ground, self._state, step)
            problem = None if fall is None else str(fall)
        if problem is None:
            return None
        remedy = "see to what failed before it, then run apply again"
        return Failed(table.id, step.destination, "", f"{step.action} not sent: {problem}", remedy)

    def _is_doubtful(self, destination: Prefix) -> bool:
        """Whether it shares addresses with an entry of which nobody knows where it leads."""
        return any(destination.overlaps(prefix) for prefix in self._doubtful)

    # Calls of unknown outcome. What a read shows of them is no proof, since it may be old.

    def _find_out(self) -> Lane:
        """Make sure where calls have happened or not, before anything rests on that."""
        found = [record for record in self._records() if self._is_open(record)]
        self._open = {record.destination for record in found}
        for record in found:
            if not self._is_gone:
                yield from self._settle(record)

    def _is_open(self, record: RouteRecord) -> bool:
        """Whether it may be there or not, or lead elsewhere than is shown.

        What is shown to be gone after a call that deletes it is gone.
        """
        if record.stage is not Stage.INTENT or record.destination in self._table.foreign:
            return False
        return record.interface is not None or self._state.interface(record.destination) is not None

    def _settle(self, record: RouteRecord) -> Lane:
        """Replace an entry by what it should be: the answer tells whether there is one."""
        shown = self._state.interface(record.destination)
        target = self._wanted.get(record.destination, shown or record.interface)
        if target is None or target in self._tools.pending:
            return
        dead = self._whole.ground.is_dead(target)
        if dead and any(job.step.destination == record.destination for job in self._jobs):
            return  # its own step will tell
        hops = dict.fromkeys(hop for hop in (shown, *record.hops) if hop is not None)
        steps = [Step(Action.REPLACE, record.destination, target, hop, _UNKNOWN) for hop in hops]
        if any(map(self._would_fall, steps)):
            return
        for step in steps:
            error = yield from self._send(step)
            if not isinstance(error, OutdatedError) or error.code:
                break  # by the code there is none, wherever it led; without, it leads elsewhere
        if error is None:
            self._take_in(record.destination, shown, target)
        elif isinstance(error, OutdatedError) and shown is None:
            self._open.discard(record.destination)
            self._tools.intents.forget(self._table.id, record.destination)
        elif isinstance(error, OutdatedError) and error.code:
            self._take_out(record)
        elif dead and error.code == Code.INTERFACE_NOT_FOUND:
            self._open.discard(record.destination)  # it leads nowhere, whatever it is
        else:
            self._fail(step, error)

    def _would_fall(self, step: Step) -> bool:
        """Whether a replace would lower an address if the entry led where the step says."""
        assumed = TableState(self._state.entries(), self._table.foreign)
        assumed.apply(replace(step, interface=step.previous_interface))
        return check_step(self._whole.ground, assumed, step) is not None

    def _take_in(self, destination: Prefix, shown: str | None, target: str) -> None:
        """An entry is there for certain, and leads to this target."""
        self._open.discard(destination)
        self._state.apply(Step(Action.REPLACE, destination, target, shown, _UNKNOWN))
        for job in list(self._jobs):
            if job.step.destination == destination and job.step.interface == target:
                self._jobs.remove(job)
                self._whole.count(self._table.id, job.step)

    def _take_out(self, record: RouteRecord) -> None:
        """An entry is gone for certain, and old reads show it."""
        destination = record.destination
        self._open.discard(destination)
        self._tools.sender.gone(record)
        self._state.apply(Step(Action.DELETE, destination, None, None, _UNKNOWN))
        self._jobs = [job for job in self._jobs if job.step.destination != destination]
        self._whole.is_outdated |= destination in self._wanted

    # Records that no step of this plan has brought up to date.

    def _tidy(self) -> Lane:
        """Bring the records of interrupted changes up to date."""
        seen = {entry.destination for entry in self._read.entries}
        for record in self._records():
            now = self._state.interface(record.destination)
            if now is not None:
                if record.stage is Stage.INTENT:
                    self._tools.intents.settle(self._table.id, record.destination, now)
            elif record.interface is None:
                if record.destination not in seen:
                    self._tools.intents.forget(self._table.id, record.destination)
            elif record.destination in self._table.foreign:
                self._tools.intents.forget(self._table.id, record.destination)
            elif record.destination not in self._wanted and self._whole.has_nodes:
                yield from self._remove(record)

    def _records(self) -> Iterable[RouteRecord]:
        return [
            record
            for record in self._tools.intents.records.values()
            if record.table == self._table.id
            and record.destination not in self._open
            and not self._is_doubtful(record.destination)
        ]

    def _remove(self, record: RouteRecord) -> Lane:
        """Delete an entry that was ours and does not show: a read may not show it yet."""
        for interface in record.hops:
            step = Step(Action.DELETE, record.destination, None, interface, _LEFT_OVER)
            assumed = TableState(self._state.entries(), self._table.foreign)
            assumed.apply(Step(Action.CREATE, record.destination, interface, None, _LEFT_OVER))
            if check_step(self._whole.ground, assumed, step) is not None:
                return
            error = yield from self._send(step)
            if isinstance(error, OutdatedError):
                continue
            if error is None:
                self._whole.count(record.table, step)
            else:
                self._whole.note(failed(record.table, step, error))
            return
        self._tools.intents.forget(record.table, record.destination)


_REMEDIES = {
    "RouteLimitExceeded": "raise the quota (L-93826ACB), or remove entries of others",
    "InvalidNetworkInterfaceID.NotFound": "the node is going: run apply again once it is gone",
    "InvalidRouteTableID.NotFound": "check which table the subnet uses",
    "InvalidRouteTableId.NotFound": "check which table the subnet uses",
    "UnauthorizedOperation": "allow it: vpcrouter aws iam-policy prints what is needed",
    "RouteAlreadyExists": "somebody else made this entry: remove it, or exclude its range",
}


def failed(table: str, step: Step, error: FabricError) -> Failed:
    """What became of a step that was sent in vain."""
    remedy = _REMEDIES.get(error.code, "run apply again; if it stays, look at the table")
    destination = None if isinstance(error, TableGoneError) else step.destination
    problem = str(error).removeprefix(f"{table} {step.destination}: ")
    return Failed(table, destination, error.code, problem, remedy)
