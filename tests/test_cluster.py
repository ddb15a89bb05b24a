"""A cluster put together from its files: what is looked at, and what is written when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ipam.claims import Claims
from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family, Prefix
from ipam.room import Room, Takes
from ipam.store.port import Put
from tests.test_inventory import node
from tests.vpcs import Document, vpc_document, write_document
from vpcrouter.cluster import REFUSED, SHORT, Cluster, View
from vpcrouter.matching import NO_ADDRESS, NO_INTERFACE, SAME_ADDRESS
from vpcrouter.membership import NOT_LISTED
from vpcrouter.model import Action, Entry, Plan, Snapshot, Step
from vpcrouter.ownership import RouteRecord, Stage, encode_route, route_key
from vpcrouter.problems import Problem

CLUSTER = """\
version: 1
cluster: test
networks: [{name: pods, cidrs: [100.64.0.0/16]}]
fabric: {kind: simulated, describe: aws.json, reserve: 1}
nodes: {kubernetes: nodes.json}
store: state/test.db
"""

NAMES = ["a0", "a1", "a2", "b0", "b1", "b2"]
POD = Prefix.parse("100.64.0.0/24")


def kubernetes(name: str, **changes: Any) -> Document:
    third = 16 if name.startswith("b") else 0
    return node(name, f"10.0.{third}.{int(name[1]) + 4}", **changes)


def write(
    folder: Path,
    names: list[str],
    text: str = CLUSTER,
    document: Document | None = None,
    further: list[Document] | None = None,
) -> Path:
    write_document(folder, document or vpc_document())
    nodes = [kubernetes(name) for name in names] + (further or [])
    write_document(folder, {"kind": "List", "items": nodes}, "nodes.json")
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_planning_decides_on_a_copy_and_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, NAMES)
    before = files(tmp_path)
    cluster = Cluster.open(path)
    assert len(cluster.present().snapshot.blocks[Family.IPV4]) == 0
    assert len(cluster.planned().snapshot.blocks[Family.IPV4]) == 6
    cluster.close()
    assert files(tmp_path) == before


def test_what_was_planned_is_what_is_joined_and_found_again(tmp_path: Path) -> None:
    path = write(tmp_path, NAMES)
    first = Cluster.open(path)
    planned = first.planned()
    joined = first.joined()
    first.close()
    second = Cluster.open(path)
    assert planned.snapshot == joined.snapshot == second.present().snapshot
    assert second.planned().snapshot == joined.snapshot
    assert second.joined().snapshot == joined.snapshot
    assert (tmp_path / "state" / "test.db").exists()


def test_limits_leave_out_what_is_foreign_and_budgets_the_reserve(tmp_path: Path) -> None:
    view = Cluster.open(write(tmp_path, NAMES)).present()
    table = view.snapshot.route_tables[0]
    assert (table.limit[Family.IPV4], table.budget[Family.IPV4]) == (6, 5)
    assert (table.limit[Family.IPV6], table.budget[Family.IPV6]) == (0, 0)


def test_a_quota_in_the_file_overrides_the_described_one(tmp_path: Path) -> None:
    text = CLUSTER.replace("reserve: 1", "reserve: 1, quota: 100")
    view = Cluster.open(write(tmp_path, NAMES, text)).present()
    assert view.snapshot.route_tables[0].budget[Family.IPV4] == 95


def test_no_nodes_at_all_are_an_empty_view(tmp_path: Path) -> None:
    view = Cluster.open(write(tmp_path, [])).planned()
    assert view.snapshot.nodes == ()
    assert (view.problems, view.notes, view.warnings) == ((), (), ())
    assert [table.id for table in view.snapshot.route_tables] == ["rtb-a", "rtb-b"]


def test_an_empty_list_after_nodes_have_joined_takes_nothing_away(tmp_path: Path) -> None:
    Cluster.open(write(tmp_path, NAMES)).joined()
    view = Cluster.open(write(tmp_path, [])).joined()
    assert len(view.snapshot.blocks[Family.IPV4]) == 6
    assert not any(node.healthy for node in view.snapshot.nodes)
    assert view.notes == tuple(Problem(NOT_LISTED, name) for name in NAMES)


def test_a_terminated_instance_gives_its_blocks_back_when_applied(tmp_path: Path) -> None:
    Cluster.open(write(tmp_path, NAMES)).joined()
    document = vpc_document()
    document["Reservations"][0]["Instances"][0]["State"]["Name"] = "terminated"
    path = write(tmp_path, NAMES[1:], document=document)
    assert len(Cluster.open(path).present().snapshot.blocks[Family.IPV4]) == 6
    assert len(Cluster.open(path).planned().snapshot.blocks[Family.IPV4]) == 5
    assert len(Cluster.open(path).present().snapshot.blocks[Family.IPV4]) == 6
    view = Cluster.open(path).joined()
    assert [node.name for node in view.snapshot.nodes] == NAMES[1:]
    assert len(Cluster.open(path).present().snapshot.blocks[Family.IPV4]) == 5


def test_once_a_node_is_gone_it_is_said_which_blocks_come_next(tmp_path: Path) -> None:
    assert Cluster.open(write(tmp_path, NAMES)).joined().snapshot.coming == ()
    document = vpc_document()
    document["Reservations"][0]["Instances"][0]["State"]["Name"] = "terminated"
    path = write(tmp_path, NAMES[1:], document=document)
    planned, joined = Cluster.open(path).planned(), Cluster.open(path).joined()
    assert planned.snapshot == joined.snapshot
    coming = joined.snapshot.coming
    assert {subnet.id for subnet in joined.snapshot.subnets if _has(subnet.prefixes, coming)} == {
        "subnet-a",
        "subnet-b",
    }
    assert not set(coming) & set(joined.snapshot.blocks[Family.IPV4].prefixes())
    assert Cluster.open(path).joined().snapshot.coming == (), "nobody is gone since"


def _has(around: Iterable[Prefix], blocks: Iterable[Prefix]) -> bool:
    return any(prefix.contains(block) for prefix in around for block in blocks)


def test_a_replaced_machine_of_the_same_name_gets_blocks_of_its_own(tmp_path: Path) -> None:
    Cluster.open(write(tmp_path, ["a0"])).joined()
    again = kubernetes("a1")
    again["metadata"]["name"] = "a0"
    view = Cluster.open(write(tmp_path, [], further=[again])).joined()
    assert [(n.name, n.healthy) for n in view.snapshot.nodes] == [
        ("a0", True),
        ("a0 (i-a0)", False),
    ]
    assert len(set(view.snapshot.blocks[Family.IPV4].prefixes())) == 2
    document = vpc_document()
    document["Reservations"][0]["Instances"][0]["State"]["Name"] = "terminated"
    view = Cluster.open(write(tmp_path, [], document=document, further=[again])).joined()
    assert [n.name for n in view.snapshot.nodes] == ["a0"]


def test_problems_name_what_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    further = [
        kubernetes("a1", status={"addresses": []}),
        node("x1", "10.0.0.99"),
        node("y1", "10.0.0.50"),
        node("y2", "10.0.0.50"),
    ]
    view = Cluster.open(write(tmp_path, ["a0"], further=further)).planned()
    assert set(view.problems) == {
        Problem(NO_ADDRESS, "a1"),
        Problem(NO_INTERFACE, "x1"),
        Problem(SAME_ADDRESS, "y1"),
        Problem(SAME_ADDRESS, "y2"),
    }
    assert [node.name for node in view.snapshot.nodes] == ["a0"]
    assert len(view.snapshot.blocks[Family.IPV4]) == 1


def test_networks_that_are_used_up_are_a_problem_of_the_nodes_left_over(tmp_path: Path) -> None:
    text = CLUSTER.replace("100.64.0.0/16", "100.64.0.0/25")
    view = Cluster.open(write(tmp_path, NAMES, text)).planned()
    blocks = view.snapshot.blocks[Family.IPV4]
    assert 1 <= len(blocks) <= 2
    assert len(view.problems) == 6 - len(blocks)
    assert all(problem.reason.startswith(REFUSED) for problem in view.problems)


def test_imagining_a_cluster_starts_from_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, NAMES)
    joined = Cluster.open(path)
    joined.joined()
    joined.close()
    before = files(tmp_path)
    cluster = Cluster.imagine(path)
    assert len(cluster.present().snapshot.blocks[Family.IPV4]) == 0
    assert len(cluster.joined().snapshot.blocks[Family.IPV4]) == 6
    assert files(tmp_path) == before


# Entries.


def create(cluster: Cluster, stage: Stage) -> None:
    record = RouteRecord("rtb-a", POD, "eni-a0", None, stage)
    cluster.store.txn([], [Put(route_key("rtb-a", POD), encode_route(record))])
    cluster.fabric.apply("rtb-a", Step(Action.CREATE, POD, "eni-a0", None, "test"))


@pytest.mark.parametrize("stage", list(Stage))
def test_recorded_entries_are_ours_in_another_process_too(tmp_path: Path, stage: Stage) -> None:
    path = write(tmp_path, NAMES)
    create(Cluster.open(path), stage)
    table = Cluster.open(path).present().snapshot.route_tables[0]
    assert table.entries == (Entry(POD, "eni-a0"),)
    assert POD not in table.foreign
    assert table.limit[Family.IPV4] == 6
    assert (tmp_path / "state" / "test.db.tables.json").exists()


@pytest.mark.parametrize("look", [Cluster.planned, Cluster.joined])
def test_a_node_joins_where_the_entries_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Cluster], View]
) -> None:
    first = Cluster.open(write(tmp_path, ["a0", "a1", "b0"]))
    first.joined()
    create(first, Stage.DONE)
    path = write(tmp_path, ["a0", "a1", "a2", "b0"])
    (usual,) = Cluster.open(path).planned().state.blocks("a2")

    def full_there(made: Plan, snapshot: Snapshot, slack: float) -> Room:
        assert (len(snapshot.nodes), len(snapshot.blocks[Family.IPV4]), slack) == (4, 3, 0.05)
        assert [table.id for table in made.tables] == ["rtb-a", "rtb-b"]
        return Room(({usual.ancestor(usual.length - 1): Takes(0, 0)},))

    monkeypatch.setattr("vpcrouter.planner.headroom.headroom", full_there)
    (elsewhere,) = look(Cluster.open(path)).state.blocks("a2")
    assert not usual.ancestor(usual.length - 1).contains(elsewhere)


def test_nobody_asks_for_room_before_there_are_entries_or_new_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> Room:
        raise AssertionError("asked for room")

    monkeypatch.setattr("vpcrouter.planner.headroom.headroom", asked)
    cluster = Cluster.open(write(tmp_path, NAMES[:5]))
    cluster.joined()
    create(cluster, Stage.DONE)
    cluster.joined()
    with pytest.raises(AssertionError, match="asked for room"):
        Cluster.open(write(tmp_path, NAMES)).planned()


def test_entries_that_were_not_recorded_are_foreign(tmp_path: Path) -> None:
    cluster = Cluster.open(write(tmp_path, NAMES))
    cluster.fabric.apply("rtb-a", Step(Action.CREATE, POD, "eni-a0", None, "test"))
    table = cluster.route_tables()[0]
    assert table.entries == ()
    assert POD in table.foreign
    assert table.limit[Family.IPV4] == 5


# What cannot be.


@pytest.mark.parametrize(
    ("network", "fits"),
    [
        ("cidrs: [10.0.0.0/16]", False),
        ("cidrs: [10.0.128.0/20]", False),
        ("cidrs: [10.0.0.0/8]", False),
        ("cidrs: [10.0.0.0/8], exclude: [10.0.0.0/16]", True),
        ("cidrs: [10.0.0.0/8], exclude: [10.0.0.0/17]", False),
        ("cidrs: ['2001:db8::/64']", False),
        ("cidrs: [10.1.0.0/16]", True),
    ],
)
def test_networks_stay_clear_of_the_vpcs_own_ranges(
    tmp_path: Path, network: str, fits: bool
) -> None:
    path = write(tmp_path, NAMES, CLUSTER.replace("cidrs: [100.64.0.0/16]", network))
    if fits:
        Cluster.open(path)
        return
    with pytest.raises(BadInputError, match="which is the VPC's own") as caught:
        Cluster.open(path)
    assert str(caught.value).startswith(f"{path}: network pods: ")


@pytest.mark.parametrize("name", ["aws.json", "nodes.json", "cluster.yaml"])
def test_a_file_that_is_missing_is_bad_input(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, NAMES)
    (tmp_path / name).unlink()
    with pytest.raises(BadInputError, match=f"{name}.*No such file"):
        Cluster.open(path).present()


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 9}'])
def test_a_broken_file_of_tables_is_unavailable_and_stays_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    path = write(tmp_path, NAMES)
    tables = tmp_path / "state" / "test.db.tables.json"
    tables.parent.mkdir()
    tables.write_bytes(content)
    for look in (Cluster.open(path).present, Cluster.open(path).planned, Cluster.open(path).joined):
        with pytest.raises(UnavailableError, match=r"test\.db\.tables\.json"):
            look()
    assert tables.read_bytes() == content
    assert not (tmp_path / "state" / "test.db").exists()


def test_openb_is_put_together(openb: Path, tmp_path: Path) -> None:
    path = tmp_path / "openb.yaml"
    path.write_text(
        CLUSTER.replace("aws.json, reserve: 1", json.dumps(str(openb / "aws.json")))
        .replace("nodes.json", json.dumps(str(openb / "nodes.json")))
        .replace("100.64.0.0/16", "100.64.0.0/10")
    )
    view = Cluster.open(path).planned()
    assert len(view.snapshot.blocks[Family.IPV4]) == 1523
    assert (view.problems, view.notes, view.warnings) == ((), (), ())
    assert {table.limit[Family.IPV4] for table in view.snapshot.route_tables} == {46}
    assert {table.budget[Family.IPV4] for table in view.snapshot.route_tables} == {44}
    assert not (tmp_path / "state").exists()


def test_what_agents_claim_is_granted_to_nodes_of_the_node_list(tmp_path: Path) -> None:
    cluster = Cluster.open(write(tmp_path, NAMES))
    cluster.joined()
    identity = cluster.present().state.nodes["a0"].identity
    agent = Claims(cluster.store, "a0", identity)
    agent.register("subnet-a", {}, {Family.IPV4: 3})
    stranger = Claims(cluster.store, "a9", "i-a9")
    stranger.register("subnet-a", {}, {Family.IPV4: 1})
    view = cluster.joined()
    assert len(view.state.nodes["a0"].blocks) == 3
    assert agent.granted().blocks == view.state.nodes["a0"].blocks
    assert view.problems == ()
    assert "a9" not in view.state.nodes
    assert "not in the node list" in stranger.granted().refused
    agent.give_back(agent.granted().blocks[1:], {Family.IPV4: 1})
    assert len(cluster.joined().state.nodes["a0"].blocks) == 1
    cluster.close()


def test_a_claim_for_which_there_is_no_room_is_a_problem(tmp_path: Path) -> None:
    cluster = Cluster.open(write(tmp_path, NAMES))
    cluster.joined()
    agent = Claims(cluster.store, "a0", cluster.present().state.nodes["a0"].identity)
    agent.register("subnet-a", {}, {Family.IPV4: 5_000})
    (problem,) = cluster.joined().problems
    assert problem.name == "a0"
    assert problem.reason.startswith(SHORT)
    assert cluster.joined().problems == (problem,)
    cluster.close()


def test_a_node_that_claims_before_it_is_listed_is_granted_its_claim_once_it_is(
    tmp_path: Path,
) -> None:
    cluster = Cluster.open(write(tmp_path, NAMES))
    identity = cluster.planned().state.nodes["a2"].identity
    write(tmp_path, [name for name in NAMES if name != "a2"])
    agent = Claims(cluster.store, "a2", identity)
    agent.register("subnet-a", {}, {Family.IPV4: 3})
    for _ in range(2):
        assert "a2" not in cluster.joined().state.nodes
        assert "not in the node list" in agent.granted().refused
    write(tmp_path, NAMES)
    assert len(cluster.joined().state.nodes["a2"].blocks) == 3
    assert len(agent.granted().blocks) == 3
    assert agent.granted().refused == ""
    cluster.close()
