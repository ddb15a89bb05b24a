"""Clusters that live: after every event, however deep into a history, the promises R1 to R7 hold.

Each event is followed by a plan whose steps are made one by one on the strict model; some are left
unmade, as if the service had died, and planned again after further events.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import hypothesis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from ipam.prefix import Family
from tests.counts import examples
from tests.histories import network, start, table
from tests.promises import apply_steps, check_settled, settled
from tests.strict_model import Vpc
from vpcrouter.model import RouteTable
from vpcrouter.planner import plan
from vpcrouter.simulate.events import Change, Event, Fail, Grow, Join, Leave, Load, Recover
from vpcrouter.simulate.world import World, happen, smallest_budget

_FAMILIES = ([Family.IPV4], [Family.IPV6], [Family.IPV4, Family.IPV6])


class _Cluster(RuleBasedStateMachine):
    """A small cluster whose tables are changed after every event, or after some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.slack = 0.0
        self.is_settled = False

    @initialize(
        sizes=st.lists(st.integers(0, 4), min_size=1, max_size=3),
        budgets=st.lists(st.integers(0, 8), min_size=1, max_size=2),
        families=st.sampled_from(_FAMILIES),
        slack=st.sampled_from([0.0, 0.05, 0.5]),
    )
    def begin(
        self, sizes: list[int], budgets: list[int], families: list[Family], slack: float
    ) -> None:
        tables = [table(f"t{i}", budget, reserve=1) for i, budget in enumerate(budgets)]
        self.world = start(sizes, tables, network(families), {})
        self.slack = slack
        self.settle()

    # Events.

    @rule(number=st.integers(0, 9), subnet=st.integers(0, 2))
    def join(self, number: int, subnet: int) -> None:
        name = f"x{number}"
        if name not in self.world.nodes:
            self._happen(name, Join(self.world.subnets[subnet % len(self.world.subnets)].id))

    @rule(data=st.data(), change=st.sampled_from([Leave(), Fail(), Fail(), Recover(), Recover()]))
    def change_health(self, data: st.DataObject, change: Change) -> None:
        self._happen_to_somebody(data, change)

    @rule(data=st.data(), blocks=st.integers(1, 5))
    def grow(self, data: st.DataObject, blocks: int) -> None:
        self._happen_to_somebody(data, Grow(blocks))

    @rule(data=st.data(), weight=st.sampled_from([0.0, 0.5, 4.0, 30.0]))
    def load(self, data: st.DataObject, weight: float) -> None:
        self._happen_to_somebody(data, Load(weight))

    @rule(data=st.data(), forwards=st.booleans(), avoid=st.booleans())
    def designate(self, data: st.DataObject, forwards: bool, avoid: bool) -> None:
        """What a node may be used for changes: cordoned, a report missing, spot capacity."""
        if self.world.nodes:
            name = data.draw(st.sampled_from(sorted(self.world.nodes)))
            node = structs.replace(self.world.nodes[name], forwards=forwards, avoid=avoid)
            self.world = replace(self.world, nodes={**self.world.nodes, name: node})
            self.is_settled = False

    @rule(which=st.integers(0, 1), budget=st.integers(0, 8))
    def change_quota(self, which: int, budget: int) -> None:
        old = self.world.tables[which % len(self.world.tables)]
        new = table(old.id, budget, reserve=1)
        self._table(replace(old, limit=new.limit, budget=new.budget))

    @rule(which=st.integers(0, 1), data=st.data())
    def somebody_removes_an_entry(self, which: int, data: st.DataObject) -> None:
        old = self.world.tables[which % len(self.world.tables)]
        if old.entries:
            gone = data.draw(st.sampled_from(old.entries))
            self._table(replace(old, entries=tuple(e for e in old.entries if e != gone)))

    @rule(which=st.integers(0, 1), data=st.data(), deeper=st.integers(-2, 3))
    def somebody_adds_an_entry(self, which: int, data: st.DataObject, deeper: int) -> None:
        """In or around the prefixes of a subnet; it may be in the way."""
        old = self.world.tables[which % len(self.world.tables)]
        prefixes = [p for subnet in self.world.snapshot().subnets for p in subnet.prefixes]
        if prefixes:
            prefix = data.draw(st.sampled_from(prefixes))
            prefix = prefix.ancestor(prefix.length + min(deeper, 0))
            for _ in range(deeper):
                prefix = data.draw(st.sampled_from(prefix.halves()))
            if all(entry.destination != prefix for entry in old.entries):
                self._table(replace(old, foreign=tuple(sorted({*old.foreign, prefix}))))

    @rule(which=st.integers(0, 1))
    def somebody_removes_theirs(self, which: int) -> None:
        self._table(replace(self.world.tables[which % len(self.world.tables)], foreign=()))

    # Changes of the tables.

    @precondition(lambda self: not self.is_settled)
    @rule()
    def settle(self) -> None:
        """Plan and make all steps; then every promise holds and nothing is left to do."""
        cluster = self.world.snapshot()
        made = plan(cluster, self.slack)
        vpc = Vpc(cluster)
        for mine in made.tables:
            apply_steps(vpc, mine.id, mine.steps)
        check_settled(cluster, vpc, made, self.slack)
        after = settled(cluster, vpc)
        assert not any(t.steps for t in plan(after, self.slack).tables), "does not stand still"
        self.world = replace(self.world, tables=after.route_tables)
        self.is_settled = True

    @precondition(lambda self: not self.is_settled)
    @rule(share=st.floats(0, 1))
    def settle_in_part(self, share: float) -> None:
        """Make some of the steps of each table and die."""
        cluster = self.world.snapshot()
        vpc = Vpc(cluster)
        for mine in plan(cluster, self.slack).tables:
            apply_steps(vpc, mine.id, mine.steps[: int(share * len(mine.steps))])
        self.world = replace(self.world, tables=settled(cluster, vpc).route_tables)

    @invariant()
    def nobody_shares_an_address(self) -> None:
        """R8, within one state: the blocks of a family are disjoint."""
        for columns in self.world.snapshot().blocks.values() if hasattr(self, "world") else ():
            prefixes = list(columns.prefixes())
            assert all(left.last < right.value for left, right in pairwise(prefixes))

    def _happen_to_somebody(self, data: st.DataObject, change: Change) -> None:
        if self.world.nodes:
            self._happen(data.draw(st.sampled_from(sorted(self.world.nodes))), change)

    def _table(self, new: RouteTable) -> None:
        tables = tuple(new if old.id == new.id else old for old in self.world.tables)
        self.world = replace(self.world, tables=tables, budget=smallest_budget(tables))
        self.is_settled = False

    def _happen(self, name: str, change: Change) -> None:
        self.world = happen(self.world, Event(0.0, name, change, 0))
        self.is_settled = False


def test_every_promise_holds_through_any_history(seed: int) -> None:
    count = examples(test=30, prove=600)
    run_state_machine_as_test(
        hypothesis.seed(seed)(_Cluster),
        settings=settings(max_examples=count, stateful_step_count=20),
    )
