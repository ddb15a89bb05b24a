"""Fewer entries while the load allows it, as few more as are needed, and never beyond the limit."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family
from tests.clusters import Document, Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.histories import Story, network, start, stories, table
from vpcrouter.model import Entry, Snapshot
from vpcrouter.planner import plan
from vpcrouter.soft_limit import softened, within, without_load

V4 = Family.IPV4


def outcome(snapshot: Snapshot, name: str, family: Family, budget: int) -> tuple[int, float]:
    """Unserved blocks and least load of one table from nothing with another budget."""
    tables = [
        replace(t, budget={**t.budget, family: budget}, entries=())
        for t in snapshot.route_tables
        if t.id == name
    ]
    (made,) = plan(replace(snapshot, route_tables=tuple(tables))).tables
    proof = made.proof.get(family)
    unserved = sum(one.blocks for one in made.unserved if one.family is family)
    return unserved, proof.least_load if proof else 0.0


@settings(max_examples=examples(test=30, prove=800), deadline=None)
@given(stories(max_events=0), st.integers(0, 6), st.sampled_from([None, 0.0, 1.0, 2.0, 3.0]))
def test_the_fewest_entries_that_do(story: Story, soft: int, max_load: float | None) -> None:
    cluster = story.world.snapshot()
    budgets = {t.id: dict.fromkeys(Family, soft) for t in cluster.route_tables}
    found = within(cluster, budgets, max_load, partial(plan, slack=0.0))
    for before, after in zip(cluster.route_tables, found.route_tables, strict=True):
        assert replace(after, budget=before.budget) == before
        for family, hard in before.budget.items():
            entries = after.budget[family]
            if not len(cluster.blocks[family]) or soft >= hard:
                assert entries == hard
                continue
            assert min(soft, hard) <= entries <= hard
            at_most = outcome(cluster, before.id, family, hard)

            def does(number: int, name: str = before.id, family: Family = family) -> bool:
                unserved, load = outcome(cluster, name, family, number)
                return unserved <= at_most[0] and (max_load is None or load <= max_load)  # noqa: B023

            assert does(entries) or (entries == hard and not does(hard))
            assert entries == soft or not does(entries - 1)


def test_what_a_table_holds_stays_while_more_than_the_soft_limit_is_needed() -> None:
    world = start([8], [table("t0", 8)], network((V4,)), {})
    cluster = world.snapshot()
    make = partial(plan, slack=0.0)
    soft = {"t0": {V4: 2, Family.IPV6: 2}}
    assert within(cluster, soft, None, make).route_tables[0].budget[V4] == 2
    assert within(cluster, soft, 3.0, make).route_tables[0].budget[V4] == 2
    assert within(cluster, soft, 1.0, make).route_tables[0].budget[V4] == 4
    assert within(cluster, soft, 0.0, make).route_tables[0].budget[V4] == 8
    entries = tuple(Entry(e.destination, e.interface) for e in plan(cluster).tables[0].entries[:6])
    held = replace(cluster, route_tables=(replace(cluster.route_tables[0], entries=entries),))
    assert within(held, soft, 1.0, make).route_tables[0].budget[V4] == 6
    assert within(held, soft, 3.0, make).route_tables[0].budget[V4] == 2
    assert without_load(held.route_tables, soft)[V4] == 6
    assert without_load(cluster.route_tables, soft)[V4] == 2


def test_a_soft_limit_counts_like_a_quota() -> None:
    tables = (table("a", 494), table("b", 40))
    assert softened(tables, {V4: 500}, 50)["a"][V4] == 44
    assert softened(tables, {V4: 500}, 50)["b"][V4] == 0
    assert softened(tables, {V4: 50}, 50)["a"][V4] == 494
    assert softened(tables, {V4: 50}, 80)["a"][V4] == 494


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def planned(command: Runner, files: Files) -> Document:
    ended = command("plan", "-f", files.cluster, "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    found: Document = json.loads(ended.out)
    return found


FABRIC = "fabric: {kind: simulated, describe: aws.json"


def test_a_cluster_keeps_to_its_soft_limit_until_the_load_needs_more(
    command: Runner, files: Files
) -> None:
    """Twelve nodes in three zones; of a quota of 40, foreign entries and the reserve take 6."""
    files.replace(FABRIC, FABRIC + ", quota: 40, soft_limit: 12")
    soft = planned(command, files)
    assert {t["limit"]["ipv4"] for t in soft["snapshot"]["route_tables"]} == {36}
    assert {t["budget"]["ipv4"] for t in soft["snapshot"]["route_tables"]} == {6}
    assert (soft["summary"]["entries"], soft["summary"]["max_load"]) == (18, 1)
    files.append("planning: {max_load: 0}\n")
    hard = planned(command, files)
    assert {t["budget"]["ipv4"] for t in hard["snapshot"]["route_tables"]} == {12}
    assert (hard["summary"]["entries"], hard["summary"]["max_load"]) == (36, 0)
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    assert command("plan", "-f", files.cluster, "--exit-code").code == 0


def test_a_soft_limit_that_would_leave_somebody_out_gives_way(
    command: Runner, files: Files
) -> None:
    files.replace(FABRIC, FABRIC + ", quota: 40, soft_limit: 0")
    found = planned(command, files)
    assert {t["budget"]["ipv4"] for t in found["snapshot"]["route_tables"]} == {3}
    assert found["summary"]["unserved"] == []


@pytest.mark.parametrize("limit", ["-1", "many", "12.5", "[12]", "true", "10000000"])
def test_what_is_no_soft_limit_is_refused(command: Runner, files: Files, limit: str) -> None:
    files.replace(FABRIC, FABRIC + f", soft_limit: {limit}")
    ended = command("plan", "-f", files.cluster)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "soft_limit" in ended.err


@pytest.mark.parametrize("load", ["-1", "much", ".nan", ".inf", "[1]"])
def test_what_is_no_load_is_refused(command: Runner, files: Files, load: str) -> None:
    files.append(f"planning: {{max_load: {load}}}\n")
    ended = command("plan", "-f", files.cluster)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "max_load" in ended.err
