"""A simulation from its files: the same figures every time, and nothing read or written beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ipam.errors import BadInputError
from vpcrouter.cluster import Cluster
from vpcrouter.example import SMALL, Example, write_example
from vpcrouter.planner import plan
from vpcrouter.simulate import Simulation, document, simulate

HEADER = "seconds,event,node,value\n"
FIRST = "node-a001"

Simulate = Callable[[str], Simulation]


@pytest.fixture
def run(tmp_path: Path) -> Simulate:
    """Simulates the small example with these events."""
    cluster = write_example(tmp_path, SMALL)

    def run(events: str) -> Simulation:
        path = tmp_path / "events.csv"
        path.write_text(HEADER + events)
        return simulate(cluster, path)

    return run


def test_a_day_of_the_example(run: Simulate) -> None:
    events = (
        f"60,fail,{FIRST},\n120,join,new-1,subnet-0a\n120,join,new-2,subnet-0b\n"
        f"180,grow,new-1,2\n240,load,new-2,8\n300,recover,{FIRST},\n360,leave,new-1,\n"
    )
    result = run(events)
    assert result.view.problems == ()
    assert result.figures.violations == ()
    assert result.figures.unserved_seconds == 0
    assert document(run(events).figures) == document(result.figures)


def test_the_events_are_checked_before_anything_happens(run: Simulate) -> None:
    with pytest.raises(BadInputError, match=r"events.csv:3: node: unknown node 'nobody'"):
        run("1,join,new-1,subnet-0a\n2,fail,nobody,\n")


def test_neither_store_nor_tables_are_looked_at(tmp_path: Path) -> None:
    cluster = write_example(tmp_path, Example("example", SMALL.zones, SMALL.quota, store="no.db"))
    (tmp_path / "no.db").write_text("this is no store")
    (tmp_path / "no.db.tables.json").write_text("nor is this a table")
    events = tmp_path / "events.csv"
    events.write_text(HEADER)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert simulate(cluster, events).figures.steps_total == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_node_without_room_is_refused_and_named(tmp_path: Path) -> None:
    cluster = write_example(tmp_path, SMALL)
    cluster.write_text(cluster.read_text().replace("100.64.0.0/10", "100.64.0.0/22"))
    events = tmp_path / "events.csv"
    joins = "".join(f"{number},join,new-{number},subnet-0a\n" for number in range(20))
    events.write_text(HEADER + joins)
    result = simulate(cluster, events)
    assert {problem.name for problem in result.view.problems} >= {"new-18 (line 20)"}
    assert len({problem.reason for problem in result.view.problems}) == 1
    assert result.figures.violations == ()


# Numbers: what an operator of openb is promised.


@pytest.fixture
def openb_cluster(openb: Path, tmp_path: Path) -> Path:
    """The openb cluster as its file describes it, at quota 50."""
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "version: 1\ncluster: openb\nnetworks: [{name: pods, cidrs: [100.64.0.0/10]}]\n"
        f"fabric: {{kind: simulated, describe: {openb}/aws.json}}\n"
        f"nodes: {{kubernetes: {openb}/nodes.json}}\nstore: {tmp_path}/openb.db\n"
    )
    return path


def test_joining_openb_changes_no_table(openb_cluster: Path, tmp_path: Path) -> None:
    subnets = ("subnet-0a11", "subnet-0b22", "subnet-0c33")
    lines = [f"{n},join,new-{n},{subnets[n % 3]}" for n in range(15)]
    figures = _figures(openb_cluster, tmp_path, lines)
    assert figures["steps_total"] == 0
    assert figures["violations"] == 0
    assert isinstance(figures["max_load"], dict)
    assert figures["max_load"]["worst"] <= 37


def test_leaving_openb_without_forwarding_changes_no_table(
    openb_cluster: Path, tmp_path: Path
) -> None:
    cluster = Cluster.imagine(openb_cluster)
    made = plan(cluster.planned().snapshot, cluster.file.planning.slack)
    hops = {entry.node for table in made.tables for entry in table.entries}
    idle = sorted(node.name for node in cluster.planned().snapshot.nodes if node.name not in hops)
    figures = _figures(
        openb_cluster, tmp_path, [f"{n},leave,{name}," for n, name in enumerate(idle[::100])]
    )
    assert figures["steps_total"] == 0
    assert figures["violations"] == 0


def _figures(cluster: Path, folder: Path, lines: list[str]) -> dict[str, object]:
    events = folder / "events.csv"
    events.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return document(simulate(cluster, events).figures)


def test_the_example_in_the_documentation_runs() -> None:
    folder = Path(__file__).parents[1] / "docs" / "examples"
    result = simulate(folder / "cluster.yaml", folder / "events.csv")
    assert result.view.problems == ()
    assert result.figures.violations == ()
    assert result.figures.unserved_seconds == 60
    assert result.figures.steps_total > 0
