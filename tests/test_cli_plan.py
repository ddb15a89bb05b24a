"""``vpcrouter plan --snapshot``: the contract of its output, and what cannot be served."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.commands import Ended, Runner, is_one_line, run_as_process
from tests.counts import examples
from tests.snapshots import snapshots
from vpcrouter.model import Snapshot
from vpcrouter.planner import plan
from vpcrouter.wire import dump_plan, dump_plan_with_snapshot, dump_snapshot, parse_snapshot

Document = dict[str, Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


def cluster(nodes: int = 20, budget: int = 6) -> Document:
    """Two subnets, each with its table, and nodes with one block each."""
    return {
        "version": 1,
        "subnets": [
            {
                "id": f"s{s}",
                "zone": "ab"[s],
                "route_table": f"t{s}",
                "prefixes": [f"100.{64 + s}.0.0/16"],
            }
            for s in range(2)
        ],
        "nodes": [
            {
                "name": f"n{s}-{i}",
                "subnet": f"s{s}",
                "interface": f"eni-{s}-{i}",
                "addresses": {"ipv4": f"10.0.{s}.{i + 1}"},
            }
            for s in range(2)
            for i in range(nodes)
        ],
        "blocks": [
            {"cidr": f"100.{64 + s}.{i}.0/24", "node": f"n{s}-{i}"}
            for s in range(2)
            for i in range(nodes)
        ],
        "route_tables": [
            {"id": f"t{s}", "limit": {"ipv4": budget + 2}, "budget": {"ipv4": budget}}
            for s in range(2)
        ],
    }


def run(command: Runner, folder: Path, document: Document, *options: str) -> Ended:
    file = folder / "snapshot.json"
    file.write_text(json.dumps(document))
    return command("plan", "--snapshot", file, *options)


def planned(command: Runner, folder: Path, document: Document) -> Document:
    ended = run(command, folder, document, "-o", "json")
    assert ended.code == 0, ended.err
    result: Document = json.loads(ended.out)
    return result


def after(document: Document, plan: Document) -> Document:
    """The same snapshot with the tables as planned."""
    entries = {
        table["id"]: [
            {"destination": entry["destination"], "interface": entry["interface"]}
            for entry in table["entries"]
        ]
        for table in plan["tables"]
    }
    tables = [{**table, "entries": entries[table["id"]]} for table in document["route_tables"]]
    return {**document, "route_tables": tables}


# The contract.


def test_the_plan_has_exactly_the_fields_of_its_format(command: Runner, tmp_path: Path) -> None:
    result = planned(command, tmp_path, cluster())
    assert set(result) == {"tables", "summary"}
    assert set(result["summary"]) == {
        "nodes",
        "blocks",
        "entries",
        "max_load",
        "combined_load",
        "detour_share",
        "unserved",
    }
    for table in result["tables"]:
        assert set(table) == {"id", "entries", "steps", "max_load", "detour_share", "proof"}
        assert set(table["proof"]) == {"ipv4"}
        assert set(table["proof"]["ipv4"]) == {
            "status",
            "least_load",
            "lower_bound",
            "entries_for_less",
        }
        for entry in table["entries"]:
            assert set(entry) == {
                "destination",
                "interface",
                "node",
                "kind",
                "blocks",
                "weight",
                "load",
            }
        for step in table["steps"]:
            assert set(step) == {
                "action",
                "destination",
                "interface",
                "previous_interface",
                "reason",
            }


def test_counts_are_whole_numbers_and_the_summary_adds_up(command: Runner, tmp_path: Path) -> None:
    result = planned(command, tmp_path, cluster())
    summary = result["summary"]
    assert (summary["nodes"], summary["blocks"], summary["unserved"]) == (40, 40, [])
    assert summary["entries"] == sum(len(table["entries"]) for table in result["tables"])
    assert summary["max_load"] == max(table["max_load"] for table in result["tables"])
    for table in result["tables"]:
        assert sum(entry["blocks"] for entry in table["entries"]) == 40
        assert all(type(entry["blocks"]) is int for entry in table["entries"])
        loads: Counter[str] = Counter()
        for entry in table["entries"]:
            loads[entry["node"]] += entry["load"]
        assert table["max_load"] == max(loads.values())


def test_steps_name_both_interfaces_or_null(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    result = planned(command, tmp_path, document)
    assert all(
        step["action"] == "create" and step["previous_interface"] is None and step["interface"]
        for table in result["tables"]
        for step in table["steps"]
    )
    applied = after(document, result)
    applied["route_tables"][0]["entries"].append(
        {"destination": "100.64.128.0/24", "interface": "eni-gone"}
    )
    (step,) = planned(command, tmp_path, applied)["tables"][0]["steps"]
    assert step["action"] == "delete"
    assert (step["interface"], step["previous_interface"]) == (None, "eni-gone")


@settings(max_examples=examples(test=30, prove=1_000))
@given(snapshots())
def test_any_plan_is_json_without_surprises(snapshot: Snapshot) -> None:
    made = plan(snapshot)
    text = dump_plan(made, snapshot)
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in a plan"))
    whole = json.loads(dump_plan_with_snapshot(made, snapshot))
    inside = whole.pop("snapshot")
    assert whole == document
    assert dump_snapshot(parse_snapshot(json.dumps(inside), "plan")) == dump_snapshot(snapshot)


def test_any_order_of_the_snapshot_gives_the_same_plan(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    first = run(command, tmp_path, document, "-o", "json")
    for key in ("subnets", "nodes", "blocks", "route_tables"):
        document[key].reverse()
    assert run(command, tmp_path, document, "-o", "json").out == first.out


# Exit codes.


def test_exit_code_10_says_that_something_would_change(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    assert run(command, tmp_path, document, "--exit-code").code == 10
    applied = after(document, planned(command, tmp_path, document))
    ended = run(command, tmp_path, applied, "--exit-code")
    assert ended.code == 0
    assert "no changes" in ended.out


def test_no_nodes_is_an_empty_plan(command: Runner, tmp_path: Path) -> None:
    document = {**cluster(), "nodes": [], "blocks": []}
    document["route_tables"][0]["entries"] = [
        {"destination": "100.64.0.0/16", "interface": "eni-gone"}
    ]
    result = planned(command, tmp_path, document)
    assert result["summary"]["nodes"] == 0
    assert [table["steps"] for table in result["tables"]] == [[], []]


def test_nothing_at_all_is_an_empty_plan(command: Runner, tmp_path: Path) -> None:
    nothing: Document = {"version": 1, "subnets": [], "nodes": [], "blocks": [], "route_tables": []}
    assert planned(command, tmp_path, nothing)["tables"] == []
    assert run(command, tmp_path, nothing, "--exit-code").code == 0


def test_one_node_is_served(command: Runner, tmp_path: Path) -> None:
    document = cluster(nodes=1, budget=2)
    for table in planned(command, tmp_path, document)["tables"]:
        assert [entry["kind"] for entry in table["entries"]] == ["direct", "direct"]
        assert table["max_load"] == 0


def unserved(ended: Ended) -> list[str]:
    """The subnets that a JSON plan with exit code 3 leaves unserved, in its own words."""
    assert ended.code == 3
    assert "Traceback" not in ended.err
    assert ended.err
    found: list[str] = json.loads(ended.out)["summary"]["unserved"]
    assert all(subnet in ended.err for subnet in found[:5])
    return found


def test_a_subnet_without_a_healthy_node_is_named(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    for node in document["nodes"]:
        node["healthy"] = node["subnet"] != "s0"
    ended = run(command, tmp_path, document, "-o", "json")
    assert unserved(ended) == ["s0"]
    assert is_one_line(ended.err)
    entries = [entry for table in json.loads(ended.out)["tables"] for entry in table["entries"]]
    assert {entry["node"][:2] for entry in entries} == {"n1"}


def test_all_nodes_unhealthy_is_named(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    for node in document["nodes"]:
        node["healthy"] = False
    assert unserved(run(command, tmp_path, document, "-o", "json")) == ["s0", "s1"]


def test_a_budget_of_0_serves_nothing(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    document["route_tables"][0]["budget"] = {}
    assert unserved(run(command, tmp_path, document, "-o", "json")) == ["s0", "s1"]


def test_a_budget_of_1_serves_one_of_two(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    document["route_tables"][0]["budget"] = {"ipv4": 1}
    assert len(unserved(run(command, tmp_path, document, "-o", "json"))) == 1


def test_more_separate_prefixes_than_entries_leave_a_subnet_unserved(
    command: Runner, tmp_path: Path
) -> None:
    document = cluster(nodes=2, budget=1)
    document["subnets"][0]["prefixes"] = ["100.64.0.0/24", "100.64.2.0/24"]
    document["blocks"][1]["cidr"] = "100.64.2.0/24"
    assert unserved(run(command, tmp_path, document, "-o", "json")) == ["s0"]


def test_a_foreign_entry_in_the_way_is_named(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    document["route_tables"][0]["foreign"] = ["100.64.3.0/24"]
    ended = run(command, tmp_path, document, "-o", "json")
    assert unserved(ended) == ["s0"]
    assert "foreign" in ended.err


def test_what_cannot_be_served_weighs_more_than_what_would_change(
    command: Runner, tmp_path: Path
) -> None:
    document = cluster()
    document["route_tables"][0]["budget"] = {}
    assert run(command, tmp_path, document, "--exit-code").code == 3


def test_changes_that_would_lose_packets_are_left_out_and_named(
    command: Runner, tmp_path: Path
) -> None:
    document = cluster(nodes=1, budget=1)
    document["route_tables"][0]["limit"] = {"ipv4": 1}
    document["route_tables"][0]["entries"] = [
        {"destination": "100.64.0.0/15", "interface": "eni-0-0"}
    ]
    ended = run(command, tmp_path, document, "-o", "json")
    assert "left as it is: t0: no hitless delete of 100.64.0.0/15" in ended.err
    assert ended.code == 3
    assert json.loads(ended.out)["tables"][0]["steps"] == []


# For people.


def test_the_report_reads_like_a_diff(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    out = run(command, tmp_path, document).out
    assert "Route table t0 (zone a; budget 6 of limit 8)" in out
    signs = [
        line.split()[0]
        for line in out.splitlines()
        if line.startswith("  ") and " blocks  " in line
    ]
    assert set(signs) == {"+"}
    assert "Plan: 12 to create, 0 to replace, 0 to delete in 2 tables." in out
    assert "40 nodes with 40 blocks; 12 entries" in out


def test_the_report_shows_replaced_and_deleted_next_hops(command: Runner, tmp_path: Path) -> None:
    document = cluster()
    applied = after(document, planned(command, tmp_path, document))
    hop = applied["route_tables"][0]["entries"][0]["interface"]
    victim = next(node for node in applied["nodes"] if node["interface"] == hop)
    victim["healthy"] = False
    applied["route_tables"][1]["entries"].append(
        {"destination": "100.64.128.0/24", "interface": "eni-gone"}
    )
    out = run(command, tmp_path, applied).out
    replaced = next(line for line in out.splitlines() if line.startswith("  ~"))
    assert f"{victim['name']} -> n0-" in replaced
    assert "not healthy" in replaced
    assert "eni-gone" in next(line for line in out.splitlines() if line.startswith("  -"))


def test_slack_is_a_number_of_at_least_0(command: Runner, tmp_path: Path) -> None:
    for slack in ("-0.1", "nan", "inf", "much", ""):
        ended = run(command, tmp_path, cluster(), "--slack", slack)
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)
    assert run(command, tmp_path, cluster(), "--slack", "0.05").code == 0


def test_a_snapshot_can_come_from_standard_input() -> None:
    ended = run_as_process(
        "plan", "--snapshot", "-", "-o", "json", stdin=json.dumps(cluster()).encode()
    )
    assert ended.code == 0
    assert json.loads(ended.out)["summary"]["nodes"] == 40
