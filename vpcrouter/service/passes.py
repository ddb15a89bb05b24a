"""One pass over the tables: every planned step checked, recorded, sent, and recorded again."""

from __future__ import annotations

from collections.abc import Iterator

from ipam.errors import UnavailableError
from ipam.prefix import Family
from vpcrouter.fabric.port import (
    FabricError,
    FabricUnavailableError,
    FullError,
    OutdatedError,
    TableGoneError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.model import Action, RouteTable, Snapshot, Step, TablePlan
from vpcrouter.ownership import RouteRecord, Stage
from vpcrouter.reachability import Ground, TableState, check_step, contradiction
from vpcrouter.service.calls import Caller
from vpcrouter.service.intents import Intents
from vpcrouter.service.memory import Memory
from vpcrouter.service.progress import Failed, Made, Progress

_LEFT_OVER = "left over from an interrupted change"
_ENDS_TABLE = (OutdatedError, TableGoneError, UnknownOutcomeError)


class Pass:
    """The steps of one plan. ``is_outdated``: some table was not as it was read."""

    def __init__(
        self, caller: Caller, intents: Intents, memory: Memory, snapshot: Snapshot
    ) -> None:
        self._caller = caller
        self._intents = intents
        self._memory = memory
        self._snapshot = snapshot
        self._ground = Ground.physical(snapshot)
        self.made = 0
        self.failed: list[Failed] = []
        self.is_outdated = False

    def change(self, table: RouteTable, read: RouteTable, planned: TablePlan) -> Iterator[Progress]:
        """Make the steps of one table, then put its records in order.

        ``table`` is what it holds as far as known, ``read`` what the last read showed.
        """
        state = TableState(table.entries, table.foreign)
        full: set[Family] = set()
        for step in planned.steps:
            failure = self._problem(table, state, step, full)
            if failure is None:
                try:
                    self._send(table.id, step)
                except FabricError as error:
                    failure = _failed(table.id, step, error)
                    if isinstance(error, _ENDS_TABLE):
                        self.is_outdated |= not isinstance(error, TableGoneError)
                        yield self._note(failure)
                        return
                    if isinstance(error, FullError):
                        full.add(step.destination.family)
            if failure is None:
                state.apply(step)
                yield self._count(table.id, step)
            else:
                yield self._note(failure)
        yield from self._tidy(state, table, read, planned)

    def _problem(
        self, table: RouteTable, state: TableState, step: Step, full: set[Family]
    ) -> Failed | None:
        """Why a step must not be sent as things are by now."""
        if step.action is Action.CREATE and step.destination.family in full:
            text = "not created: the table is full"
            return Failed(table.id, step.destination, "", text, "raise its quota")
        problem = contradiction(state, table.limit, step)
        if problem is None:
            fall = check_step(self._ground, state, step)
            problem = None if fall is None else str(fall)
        if problem is None:
            return None
        remedy = "see to what failed before it, then run apply again"
        return Failed(table.id, step.destination, "", f"{step.action} not sent: {problem}", remedy)

    def _send(self, table: str, step: Step) -> None:
        """Record, send, record. Raises FabricError, of the kinds that concern this table only."""
        before = self._intents.get(table, step.destination)
        self._intents.intend(table, step)
        try:
            self._caller.make(table, step, before)
        except UnknownOutcomeError:
            raise
        except FabricError as error:
            self._intents.restore(table, step.destination, before)
            if isinstance(error, FabricUnavailableError):
                raise
            if isinstance(error, ThrottledError):
                raise UnavailableError(
                    f"{error}: other tools use up the account's calls: run apply again later"
                ) from error
            if isinstance(error, OutdatedError):
                self._memory.forget(table, step.destination)
            raise
        self._memory.note(table, step.destination, step.interface)
        self._intents.done(table, step)

    # Records that no step of this plan has brought up to date.

    def _tidy(
        self, state: TableState, table: RouteTable, read: RouteTable, planned: TablePlan
    ) -> Iterator[Progress]:
        """Bring the records of interrupted changes up to date."""
        seen = {entry.destination for entry in read.entries}
        wanted = {entry.destination for entry in planned.entries}
        for record in list(self._intents.records.values()):
            if record.table != table.id:
                continue
            now = state.interface(record.destination)
            if now is not None:
                if record.stage is Stage.INTENT:
                    self._intents.settle(table.id, record.destination, now)
            elif record.interface is None:
                if record.destination not in seen:
                    self._intents.forget(table.id, record.destination)
            elif record.destination in table.foreign:
                self._intents.forget(table.id, record.destination)
            elif record.destination not in wanted and self._snapshot.nodes:
                yield from self._remove(table, state, record)

    def _remove(
        self, table: RouteTable, state: TableState, record: RouteRecord
    ) -> Iterator[Progress]:
        """Delete an entry that was ours and does not show: a read may not show it yet."""
        for interface in dict.fromkeys((record.interface, record.previous)):
            if interface is None:
                continue
            step = Step(Action.DELETE, record.destination, None, interface, _LEFT_OVER)
            assumed = TableState(state.entries(), table.foreign)
            assumed.apply(Step(Action.CREATE, record.destination, interface, None, _LEFT_OVER))
            if check_step(self._ground, assumed, step) is not None:
                return
            try:
                self._send(record.table, step)
            except OutdatedError:
                continue
            except FabricError as error:
                yield self._note(_failed(record.table, step, error))
                return
            yield self._count(record.table, step)
            return
        self._intents.forget(record.table, record.destination)

    def _count(self, table: str, step: Step) -> Made:
        self.made += 1
        return Made(table, step, self.made)

    def _note(self, failure: Failed) -> Failed:
        self.failed.append(failure)
        return failure


_REMEDIES = {
    "RouteLimitExceeded": "raise the quota (L-93826ACB), or remove entries of others",
    "InvalidNetworkInterfaceID.NotFound": "the node is going: run apply again once it is gone",
    "InvalidRouteTableID.NotFound": "check which table the subnet uses",
    "InvalidRouteTableId.NotFound": "check which table the subnet uses",
    "UnauthorizedOperation": "allow it: vpcrouter aws iam-policy prints what is needed",
    "RouteAlreadyExists": "somebody else made this entry: remove it, or exclude its range",
}


def _failed(table: str, step: Step, error: FabricError) -> Failed:
    remedy = _REMEDIES.get(error.code, "run apply again; if it stays, look at the table")
    destination = None if isinstance(error, TableGoneError) else step.destination
    problem = str(error).removeprefix(f"{table} {step.destination}: ")
    return Failed(table, destination, error.code, problem, remedy)
