"""Pings that go on while something else happens: who loses how many, and for how long.

Where a packet goes is decided by the node that sends it and by its destination. So one pod of each
node pings every pod of the others, over and over.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vpcrouter.lab.pinger import TIMEOUT, Answer, Pair, Pinger

_A_SECOND = 2000  # pings
_BATCH = 20
_PATIENCE = 60.0  # seconds


@dataclass(slots=True)
class Course:
    """How the pings of one pair went, in the order in which they were sent."""

    pair: Pair
    answers: list[Answer] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many were lost."""
        return sum(answer.seconds is None for answer in self.answers)

    @property
    def back(self) -> float | None:
        """When the first one was sent that came back, with none lost after it; None if the last
        was lost.
        """
        first: float | None = None
        for answer in self.answers:
            if answer.seconds is None:
                first = None
            elif first is None:
                first = answer.sent
        return first


class Watch:
    """Pings these pairs in a thread of its own until it is left. Use it as a context manager.

    ``courses`` are complete from then on; an error of the thread is raised where it is left.
    """

    def __init__(self, pinger: Pinger, pairs: Sequence[Pair], seed: int = 0) -> None:
        self.courses = {pair: Course(pair) for pair in pairs}
        self._pinger = pinger
        self._pairs = list(pairs)
        random.Random(seed).shuffle(self._pairs)  # noqa: S311 - not a secret
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def wait(self, rounds: int = 1) -> None:
        """Return once of every pair so many pings that are sent from now on have ended."""
        begin = time.monotonic()
        while any(not _has(course.answers, rounds, begin) for course in self.courses.values()):
            if not self._thread.is_alive() or time.monotonic() > begin + _PATIENCE:
                return
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            self._pinger.ping(self._endless(), TIMEOUT, self._note)
        except Exception as error:  # noqa: BLE001 - whoever waits for this thread gets it
            self._failure = error

    def _endless(self) -> Iterator[Pair]:
        begin, sent = time.monotonic(), 0
        while self._pairs:
            for pair in self._pairs:
                if self._stopping.is_set():
                    return
                yield pair
                sent += 1
                if sent % _BATCH == 0:
                    time.sleep(max(0.0, begin + sent / _A_SECOND - time.monotonic()))

    def _note(self, answer: Answer) -> None:
        course = self.courses[answer.pair].answers
        course.append(answer)
        if len(course) > 1 and course[-2].sent > answer.sent:
            course.sort(key=lambda one: one.sent)


def _has(answers: Sequence[Answer], count: int, since: float) -> bool:
    """Whether so many of the answers are to pings that were sent since then."""
    return len(answers) >= count and answers[-count].sent >= since
