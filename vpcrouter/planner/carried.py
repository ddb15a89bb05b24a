"""A lower bound that is carried over events instead of being worked out again.

It is that of a problem in which any number of forwarders of the largest capacity is at hand, and
every node that was ever healthy still is: less load is possible there, so its bound is one of the
real problem. In it

- another block, more weight, a node that fails never make less load possible;
- a block less, of weight w, makes at most w over the smallest capacity less possible: put it back,
  and only the load of the one that catches it grows, by no more than that (where all who could
  catch it may forward: a node that may be next hop of its own blocks alone could not);
- or it saves at most one entry: put it back with an entry of its own. What so many entries more
  could do was found by the full pass, as a staircase of loads and the entries that less takes;
- a node that was never healthy and is now takes back what it owns, that is a loss of weight;
- a larger largest capacity makes loads smaller at most by its ratio to the former one.

So the bound falls by so much, the less costly of weight and entry each time, and stays a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vpcrouter.planner.bounds import JUST_BELOW, mean_load, prepare
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.partition import count, least_load
from vpcrouter.planner.problem import Problem

_TOLERANCE = 1e-9  # relative: sums of weights differ by the order in which they are added
_MORE = 2  # times the budget: how far the staircase reaches
_STAIRS = 1 - np.geomspace(1e-7, 0.5, 24)


@dataclass(frozen=True, slots=True)
class Carried:
    """``stairs`` are (entries, load): less than this load takes at least so many entries.

    ``budget`` is the most entries, ``spent`` how many of them events may have saved, ``lost`` the
    load that they may have saved, ``times`` what they did to the largest capacity. ``found`` is the
    least load that the full pass knew a plan for.
    """

    stairs: tuple[tuple[int, float], ...]
    budget: int
    found: float
    spent: int = 0
    lost: float = 0.0
    times: float = 1.0

    @property
    def bound(self) -> float:
        """No plan has a smaller largest load."""
        return max(0.0, self._stair(self.spent) - self.lost)

    @property
    def least(self) -> float:
        """What a full pass would find, if it is as far above the bound as it was then."""
        start = self._stair(0)
        return self.found * self.bound / start if start else max(0.0, self.found - self.lost)

    def _stair(self, spent: int) -> float:
        possible = [load for entries, load in self.stairs if entries > self.budget + spent]
        return max(possible, default=0.0) * self.times * (1 - _TOLERANCE)

    def without(self, load: float, entries: int) -> Carried:
        """What is gone saves at most this load, or at most so many entries (0: only the load)."""
        by_load = replace(self, lost=self.lost + load)
        by_entries = replace(self, spent=self.spent + entries)
        return by_entries if entries and by_entries.bound >= by_load.bound else by_load

    def scaled(self, times: float) -> Carried:
        """Loads may have become smaller by a factor of at most 1."""
        return self if times == 1.0 else replace(self, times=self.times * times)


NOTHING = Carried((), 0, 0.0)


def carry(problem: Problem, owned: Owners, found: float) -> Carried:
    """What can be carried from a full pass that knows a plan with this largest load."""
    budget = problem.budget
    mean = mean_load(problem, owned, budget)
    ground = prepare(problem, owned, _MORE * budget)
    if not ground.fine:
        return Carried(((budget + 1, mean),), budget, found)
    known = mean * (1 - _TOLERANCE)
    least = least_load(ground.trie, ground.relaxed, budget, ground.floor, known)
    smallest = max(ground.floor, mean_load(problem, owned, _MORE * budget) * JUST_BELOW)
    loads = least * _STAIRS
    loads = loads[loads > smallest]
    stairs = [(budget + 1, least)]
    if len(loads):
        counts = count(ground.trie, ground.relaxed, loads)
        stairs += zip(counts.entries.tolist(), counts.next_load.tolist(), strict=True)
    return Carried(tuple(stairs), budget, found)
