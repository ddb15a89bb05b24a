"""The loads of all tables together: counted as packets meet them, bounded from both sides."""

from __future__ import annotations

import json
from math import isclose

from hypothesis import given, settings

from tests.counts import examples
from tests.histories import Story, stories
from tests.strict_model import Vpc
from vpcrouter.combined import combined_load, combined_loads, least_combined_load
from vpcrouter.planner import plan
from vpcrouter.simulate.engine import live
from vpcrouter.wire import dump_plan


def test_loads_of_a_node_add_up() -> None:
    assert combined_loads([("a", 1.0), ("b", 2.0), ("a", 2.5)]) == {"a": 3.5, "b": 2.0}


@settings(max_examples=examples(test=40, prove=1_000))
@given(stories(max_events=3))
def test_the_combined_load_is_what_packets_of_all_tables_meet(story: Story) -> None:
    history = live(story.world, story.events, 0.05, plan)
    end = (history.start, *history.moments)[-1]
    settled = history.end.snapshot()
    made = plan(settled, 0.05)
    if not end.unserved:
        vpc = Vpc(settled)
        loads = [
            (node, float(load))
            for table in vpc.rows
            for (_, node), load in vpc.loads(table).items()
        ]
        met = combined_loads(loads)
        assert isclose(combined_load(made), max(met.values(), default=0.0), abs_tol=1e-9)
        assert least_combined_load(made) <= combined_load(made) * (1 + 1e-9)
    assert combined_load(made) <= sum(2 * table.max_load for table in made.tables) * (1 + 1e-9)
    summary = json.loads(dump_plan(made, settled))["summary"]
    assert summary["combined_load"] == combined_load(made)
