"""What a change of the route tables does to the traffic of those who watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vpcrouter.lab.lab import Lab, PodState
from vpcrouter.lab.pinger import Pair
from vpcrouter.lab.watch import Course, Watch


@dataclass(frozen=True, slots=True)
class Repair:
    """How a change went, in seconds and in pings of pairs of node and pod.

    ``pairs`` are watched; ``behind`` were not answered when it began, of which ``left`` are not
    yet. All of the others were back after ``seconds``. ``others_lost`` are pings of pairs that
    were answered when it began, ``others`` who lost them.
    """

    took: float
    pairs: int
    behind: int
    left: int
    seconds: float | None
    others_lost: int
    others: tuple[Pair, ...]


def watched(lab: Lab) -> list[Pair]:
    """One pod of each node that can be reached, to each pod of another node."""
    pods = [one for one in lab.pods() if not one.cut_off]
    return [
        Pair(source.pod.name, address)
        for source in _first_of_each_node(pods)
        for target in pods
        if target.pod.machine != source.pod.machine
        for address in target.addresses
    ]


def repair(lab: Lab, change: Callable[[], object]) -> Repair:
    """Watch while a change is made, from a whole round before it to a whole one after it."""
    pairs = watched(lab)
    names = {pair.source for pair in pairs}
    pods = [one for one in lab.pods() if one.pod.name in names]
    with lab.pinger(pods) as pinger:
        with Watch(pinger, pairs) as watch:
            watch.wait()
            before = {pair for pair, course in watch.courses.items() if course.lost}
            begin = time.monotonic()
            change()
            took = time.monotonic() - begin
            watch.wait(2)
        return _judged(watch.courses.values(), before, begin, took)


def _judged(courses: Iterable[Course], before: set[Pair], begin: float, took: float) -> Repair:
    listed = list(courses)
    behind = [course for course in listed if course.pair in before]
    others = [course for course in listed if course.pair not in before]
    back = [course.back for course in behind]
    times = [moment - begin for moment in back if moment is not None]
    return Repair(
        took=took,
        pairs=len(listed),
        behind=len(behind),
        left=sum(moment is None for moment in back),
        seconds=max(times) if times else None,
        others_lost=sum(course.lost for course in others),
        others=tuple(course.pair for course in others if course.lost),
    )


def _first_of_each_node(pods: Iterable[PodState]) -> list[PodState]:
    first: dict[str, PodState] = {}
    for one in pods:
        first.setdefault(one.pod.machine.name, one)
    return list(first.values())
