"""``vpcrouter apply``: asks, gives addresses, changes the tables, and what is seen afterwards."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Files
from tests.commands import Ended, Runner, is_one_line
from vpcrouter.example import Example
from vpcrouter.service import Router

Document = dict[str, Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def crowded(tmp_path: Path) -> Files:
    """More nodes than entries, so that some forward for others."""
    return Files(tmp_path, Example("crowded", (20, 12, 8), 16))


def answering(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What somebody types on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def read(command: Runner, name: str, files: Files, *options: str) -> Document:
    ended = command(name, "-f", files.cluster, "-o", "json", *options)
    assert ended.code == 0, ended.err
    document: Document = json.loads(ended.out)
    return document


def apply(command: Runner, files: Files, *options: str) -> Ended:
    ended = command("apply", "-f", files.cluster, *options)
    assert "Traceback" not in ended.err
    return ended


# Asking.


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_changed(
    command: Runner, files: Files, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    answering(monkeypatch, answer)
    ended = apply(command, files)
    assert ended.code == 6
    assert "not confirmed, nothing was changed" in ended.err
    assert not files.store.exists()
    assert all(not table["entries"] for table in read(command, "routes", files)["tables"])


def test_a_yes_changes_the_tables(
    command: Runner, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "y\n")
    ended = apply(command, files)
    assert ended.code == 0
    assert "12 nodes to get addresses" in ended.out
    assert "the tables are as planned" in ended.out
    assert command("plan", "-f", files.cluster, "--exit-code").code == 0


def test_a_dry_run_asks_nothing_and_changes_nothing(command: Runner, files: Files) -> None:
    ended = apply(command, files, "--dry-run")
    assert ended.code == 0
    assert "+" in ended.out
    assert not files.store.exists()
    dry = read(command, "apply", files, "--dry-run")
    assert dry == read(command, "plan", files)


def _shrink(command: Runner, folder: Path) -> Files:
    """A cluster whose tables are full, and are to hold much less from now on."""
    files = Files(folder, Example("crowded", (20, 12, 8), 44))
    assert apply(command, files, "--yes").code == 0
    files.replace("fabric: {", "fabric: {quota: 14, ")
    return files


@pytest.mark.parametrize(
    ("settings", "options", "asked"),
    [
        ("", (), True),
        ("", ("--most", "100"), False),
        ("planning: {removals: {share: 1}}\n", (), False),
        ("planning: {removals: {few: 100}}\n", (), False),
        ("planning: {removals: {few: 100}}\n", ("--most", "0"), True),
    ],
)
def test_how_much_may_be_removed_without_another_question_can_be_said(
    command: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    options: tuple[str, ...],
    asked: bool,
) -> None:
    files = _shrink(command, tmp_path)
    files.append(settings)
    answering(monkeypatch, "y\n")
    ended = apply(command, files, *options)
    assert ("entries would be deleted" in ended.err) is asked
    assert ended.code == (6 if asked else 0)


def test_nothing_to_do_needs_no_answer(
    command: Runner, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert apply(command, files, "--yes").code == 0
    answering(monkeypatch, "")
    ended = apply(command, files)
    assert (ended.code, ended.err) == (0, "")
    assert "Made 0 steps" in ended.out


# What is there afterwards.


def test_what_is_applied_is_what_was_planned(command: Runner, crowded: Files) -> None:
    planned = read(command, "plan", crowded)
    done = read(command, "apply", crowded, "--yes")
    for table in planned["tables"]:
        steps = [{"table": table["id"], **step} for step in table["steps"]]
        assert [step for step in done["steps"] if step["table"] == table["id"]] == steps
    assert done["failed"] == []
    assert done["summary"] == planned["summary"]
    seen = read(command, "routes", crowded)["tables"]
    for table, shown in zip(planned["tables"], seen, strict=True):
        entries = [{k: v for k, v in e.items() if k != "subnet"} for e in shown["entries"]]
        assert entries == table["entries"]
        assert shown["max_load"] == table["max_load"]
        assert shown["detour_share"] == pytest.approx(table["detour_share"])
        assert shown["missed_weight"] == 0


def test_nodes_and_blocks_are_listed_once_they_have_joined(command: Runner, crowded: Files) -> None:
    assert read(command, "blocks", crowded)["blocks"] == []
    apply(command, crowded, "--yes")
    blocks = read(command, "blocks", crowded)["blocks"]
    nodes = read(command, "nodes", crowded)["nodes"]
    assert len(blocks) == len(nodes) == 40
    assert {block["node"] for block in blocks} == {node["name"] for node in nodes}
    assert all(node["blocks"] == 1 for node in nodes)
    first = nodes[0]["name"]
    (mine,) = read(command, "blocks", crowded, "--node", first)["blocks"]
    assert mine["node"] == first


def test_every_table_keeps_the_promises_afterwards(command: Runner, crowded: Files) -> None:
    assert apply(command, crowded, "--yes").code == 0
    ended = command("verify", "-f", crowded.cluster, "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["violations"] == []


def test_a_failed_forwarder_is_a_broken_promise_until_it_is_replaced(
    command: Runner, crowded: Files
) -> None:
    apply(command, crowded, "--yes")
    forwarders = read(command, "forwarders", crowded)["forwarders"]
    victim = max(forwarders, key=lambda one: one["load"])["node"]

    def fail(items: list[Document]) -> None:
        (node,) = (item for item in items if item["metadata"]["name"] == victim)
        node["status"]["conditions"] = [{"type": "Ready", "status": "False"}]

    crowded.edit_nodes(fail)
    broken = command("verify", "-f", crowded.cluster, "-o", "json")
    assert broken.code == 4
    assert {one["rule"] for one in json.loads(broken.out)["violations"]} == {"R1"}
    report = command("plan", "-f", crowded.cluster).out
    assert any(line.startswith("  ~") and victim in line for line in report.splitlines())
    done = read(command, "apply", crowded, "--yes")
    assert {step["action"] for step in done["steps"]} == {"replace"}
    assert command("verify", "-f", crowded.cluster).code == 0
    assert victim not in {one["node"] for one in read(command, "forwarders", crowded)["forwarders"]}


def test_a_snapshot_replays_the_plan_of_the_cluster(
    command: Runner, crowded: Files, tmp_path: Path
) -> None:
    apply(command, crowded, "--yes")
    crowded.edit_nodes(lambda items: items.pop())
    from_cluster = read(command, "plan", crowded, "--slack", "0")
    file = tmp_path / "snapshot.json"
    file.write_text(command("snapshot", "-f", crowded.cluster).out)
    from_file = json.loads(command("plan", "--snapshot", file, "-o", "json").out)
    assert json.loads(file.read_text()) == from_cluster.pop("snapshot")
    assert from_file == from_cluster


def test_explaining_a_node_and_an_address_of_a_cluster(command: Runner, crowded: Files) -> None:
    apply(command, crowded, "--yes")
    block = read(command, "blocks", crowded)["blocks"][0]
    address = block["cidr"].split("/")[0]
    ended = command("explain", address, "-f", crowded.cluster, "--from", "subnet-0b")
    assert ended.code == 0
    assert f"is in block {block['cidr']} of {block['node']}" in ended.out
    assert "longest match" in ended.out
    assert "[assumed]" in ended.out
    assert block["cidr"] in command("explain", block["node"], "-f", crowded.cluster).out
    missing = command("explain", "no-such-node", "-f", crowded.cluster)
    assert (missing.code, missing.out) == (2, "")
    assert is_one_line(missing.err)


# Being stopped.


def test_an_interrupted_apply_is_finished_by_the_next_one(
    command: Runner, crowded: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = sum(len(table["steps"]) for table in read(command, "plan", crowded)["tables"])
    whole = Router.run

    def interrupted(self: Router, *arguments: Any) -> Any:
        for number, event in enumerate(whole(self, *arguments)):
            if number > steps // 2:
                raise KeyboardInterrupt
            yield event

    monkeypatch.setattr(Router, "run", interrupted)
    ended = apply(command, crowded, "--yes", "-o", "json")
    assert (ended.code, ended.out) == (130, "")
    assert is_one_line(ended.err)
    monkeypatch.setattr(Router, "run", whole)
    left = sum(len(table["steps"]) for table in read(command, "plan", crowded)["tables"])
    assert 0 < left < steps
    assert len(read(command, "apply", crowded, "--yes")["steps"]) == left
    assert command("verify", "-f", crowded.cluster).code == 0


# The real cluster.


def test_openb_is_planned_applied_and_verified(
    command: Runner, openb: Path, tmp_path: Path
) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(
        "version: 1\n"
        "cluster: openb\n"
        "networks: [{name: pods, cidrs: [100.64.0.0/10]}]\n"
        f"fabric: {{kind: simulated, describe: {openb / 'aws.json'}}}\n"
        f"nodes: {{kubernetes: {openb / 'nodes.json'}}}\n"
        "store: openb.db\n"
    )
    ended = command("apply", "-f", cluster, "--yes", "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    summary = json.loads(ended.out)["summary"]
    assert summary["nodes"] == summary["blocks"] == 1523
    assert summary["max_load"] <= 37
    assert command("verify", "-f", cluster).code == 0
    tables = json.loads(command("routes", "-f", cluster, "-o", "json").out)["tables"]
    assert all(table["limit"]["ipv4"] == 46 and table["budget"]["ipv4"] == 44 for table in tables)
    assert all(len(table["entries"]) <= 44 for table in tables)
    assert all(sum(entry["blocks"] for entry in table["entries"]) == 1523 for table in tables)
    for name in ("routes", "forwarders", "nodes", "blocks"):
        out = command(name, "-f", cluster).out
        assert out.count("\n") < 40, f"{name} is readable at 1,523 nodes"
        assert "--all" in out
