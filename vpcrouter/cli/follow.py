"""``vpcrouter apply --follow``: runs the loop until a signal, and prints what it reports."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.output import complain, counted, few, write
from vpcrouter.cli.report import say_blocked, say_unserved, say_view
from vpcrouter.cluster import Cluster
from vpcrouter.config import Planning
from vpcrouter.fabric.port import Listening
from vpcrouter.model import Step
from vpcrouter.reconcile import (
    CloudEvents,
    Ended,
    Event,
    Held,
    Loop,
    Lost,
    NodeListChanges,
    Signals,
    Timing,
    Together,
    means_of,
)
from vpcrouter.reconcile.following import Following
from vpcrouter.service import Failed, Made, NotSwitched, Switch
from vpcrouter.usage import running_short
from vpcrouter.wire.dump import Json, step_document

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def follow(path: Path, said: Callable[[Planning], Planning], output: Output) -> ExitCode:
    """Keep the tables of a cluster as planned until SIGTERM or SIGINT.

    ``said`` changes what the cluster file says about planning.
    """
    cluster = Cluster.live(path)
    means = means_of(cluster)
    with closing(cluster), closing(means.workers), stopped_by_signals() as stop:
        planning = said(cluster.file.planning)
        signals: list[Signals] = [NodeListChanges(cluster.file.nodes)]
        events = cluster.fabric.listen() if isinstance(cluster.fabric, Listening) else None
        if events is not None and isinstance(cluster.fabric, Listening):
            signals.append(CloudEvents(events, cluster.fabric))
        loop = Loop(
            cluster,
            means,
            Following(planning.slack),
            Together(signals),
            Timing(),
            planning.ceiling,
        )
        printer = _Printer(output)
        for event in loop.run(stop):
            printer.show(event)
            printer.say_deaf("" if events is None else events.problem)
        if events is not None:
            events.close()
    return ExitCode.DONE


@contextmanager
def stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether a signal has asked to stop; a second one interrupts whatever is being done."""
    asked = False

    def ask(number: int, frame: object) -> None:  # noqa: ARG001
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Printer:
    """One line for each thing that happens; what stays as it was is not said again."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last: dict[str, object] = {}

    def show(self, event: Event) -> None:
        """Print an event, if it is news."""
        if isinstance(event, Made):
            document = {"event": "made", "table": event.table, **step_document(event.step)}
            self._say(f"{event.table}: {_step(event.step)}", document)
        elif isinstance(event, Switch):
            state = "on" if event.on else "off"
            self._say(
                f"{event.interface}: source/destination check switched {state}",
                {"event": "switched", "interface": event.interface, "source_dest_check": event.on},
            )
        elif isinstance(event, Lost):
            self._complain("lost", event.problem, f"; looking again in {event.seconds:.0f} s")
        elif isinstance(event, Held):
            self._complain("held", event.problem, "")
        elif isinstance(event, Ended):
            self._ended(event)

    def say_deaf(self, problem: str) -> None:
        """Complain where events are not heard of."""
        if self._is_news("events", problem):
            complain(problem)

    def _ended(self, event: Ended) -> None:
        if event.halted:
            return
        for key in ("lost", "held", *(["settled"] if event.passed.made else [])):
            self._last.pop(key, None)
        self._say_problems(event)
        if event.is_settled and not event.passed.made and self._is_news("settled", True):
            say_blocked(event.plan, event.view.snapshot)
            entries = sum(len(table.entries) for table in event.plan.tables)
            text = f"settled: {counted(entries, 'entry', 'entries')} as planned"
            self._say(text, {"event": "settled", "entries": entries})

    def _say_problems(self, event: Ended) -> None:
        problems = _problems(event)
        if self._is_news("failed", problems):
            for line, document in problems:
                if line:
                    complain(line)
                if self._output.is_document:
                    self._print(document)
        odd = (event.view.problems, event.view.notes, event.view.warnings)
        if self._is_news("odd", odd if any(odd) else ()):
            say_view(event.view)
        short = running_short(event.view.snapshot)
        if self._is_news("short", short):
            for line in short:
                complain(line)
        unserved = tuple(each for table in event.plan.tables for each in table.unserved)
        if self._is_news("unserved", unserved):
            say_unserved(event.plan)

    def _complain(self, kind: str, problem: str, more: str) -> None:
        self._last.pop("settled", None)
        if self._is_news(kind, problem):
            complain(problem + more)
            if self._output.is_document:
                self._print({"event": kind, "problem": problem})

    def _is_news(self, key: str, value: object) -> bool:
        news = bool(value) and self._last.get(key) != value
        self._last[key] = value
        return news

    def _say(self, text: str, document: dict[str, Json]) -> None:
        if self._output.is_document:
            self._print(document)
        else:
            write(f"{_now()} {text}\n")

    def _print(self, document: dict[str, Json]) -> None:
        whole = {"time": _now(), **document}
        if self._output is Output.YAML:
            write(f"---\n{self._output.text(whole)}")
        else:
            write(json.dumps(whole) + "\n")


def _problems(event: Ended) -> list[tuple[str, dict[str, Json]]]:
    """What could not be done, a line and a document each; several entries of one reason share."""
    places: dict[str, list[Failed]] = {}
    for one in event.passed.failed:
        places.setdefault(str(one), []).append(one)
    found: list[tuple[str, dict[str, Json]]] = []
    for reason, failures in places.items():
        names = few(f"{one.table} {one.destination or ''}".strip() for one in failures)
        for number, one in enumerate(failures):
            line = f"{names}: {reason}" if number == 0 else ""
            found.append((line, failure_document(one)))
    found += [(str(switch), not_switched_document(switch)) for switch in event.not_switched]
    return found


def failure_document(one: Failed) -> dict[str, Json]:
    """A failed step for programs."""
    return {
        "event": "failed",
        "table": one.table,
        "destination": None if one.destination is None else str(one.destination),
        "code": one.code,
        "problem": one.problem,
        "remedy": one.remedy,
    }


def not_switched_document(one: NotSwitched) -> dict[str, Json]:
    """A check that stays, for programs."""
    return {
        "event": "not switched",
        "interface": one.switch.interface,
        "code": one.code,
        "problem": one.problem,
        "remedy": one.remedy,
    }


def _step(step: Step) -> str:
    hop = "" if step.interface is None else f" to {step.interface}"
    return f"{step.action} {step.destination}{hop}: {step.reason}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
