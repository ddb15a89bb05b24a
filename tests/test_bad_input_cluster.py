"""Clusters that are described badly: each ends as the exit codes say, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Files
from tests.commands import Ended, Runner, is_one_line
from vpcrouter.example import Example

Document = dict[str, Any]
NETWORKS = "networks: [{name: pods, cidrs: [100.64.0.0/10]}]"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def plan(command: Runner, files: Files) -> Ended:
    ended = command("plan", "-f", files.cluster, "-o", "json")
    assert "Traceback" not in ended.err
    assert not files.store.parent.exists(), "planning writes nothing"
    return ended


def refused(command: Runner, files: Files) -> str:
    """The error of a plan that is refused as bad input."""
    ended = plan(command, files)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    return ended.err


def partly(command: Runner, files: Files) -> tuple[Document, str]:
    """The plan of a cluster of which something cannot be served, and what is said of that."""
    ended = plan(command, files)
    assert ended.code == 3, ended.err
    assert ended.err
    return json.loads(ended.out), ended.err


def test_the_cluster_that_is_broken_below_is_whole(command: Runner, files: Files) -> None:
    ended = plan(command, files)
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document["summary"]["nodes"] == len(document["snapshot"]["nodes"]) == 12


# The cluster file.


def networks(text: str) -> str:
    return f"networks: [{text}]"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version: 1", "version: 2", "cluster.yaml:1: version"),
        ("version: 1", "version: [", "cluster.yaml:"),
        ("version: 1", "version: 1\nversion: 1", "version"),
        ("version: 1", "version: 1\nverbose: true", "cluster.yaml:2: verbose: unknown field"),
        ("cluster: example", "cluster: 7", "cluster.yaml:2: cluster"),
        (NETWORKS, "", "networks"),
        (NETWORKS, networks("{name: pods, cidrs: []}"), "networks[0].cidrs"),
        (NETWORKS, networks("{name: p, cidrs: [100.64.0.0/10, 100.80.0.0/12]}"), "overlaps"),
        (NETWORKS, networks("{name: p, cidrs: [100.64.0.1/10]}"), "host bits"),
        (NETWORKS, networks("{name: p, cidrs: [100.64.0.0/28]}"), "too small"),
        (NETWORKS, networks("{name: p, cidrs: [10.40.0.0/16]}"), "the VPC's own"),
        (NETWORKS, networks("{name: p, cidrs: [here]}"), "not a CIDR"),
        (NETWORKS, networks("{name: p, cidrs: [100.64.0.0/10], block: {ipv4: 80}}"), "block"),
        (NETWORKS, networks("{name: p, cidrs: ['fd00::/48'], exclude: [10.0.0.0/8]}"), "exclude"),
        ("kind: simulated", "kind: imaginary", "fabric.kind"),
        ("describe: aws.json", "describe: missing.json", "missing.json"),
        ("kubernetes: nodes.json", "kubernetes: missing.json", "missing.json"),
        ("kubernetes: nodes.json", "kubernetes: nodes.json, kubelet: x", "kubelet"),
        ("store:", "planning: {slack: -1}\nstore:", "planning.slack"),
        ("store:", "planning: {slack: .nan}\nstore:", "planning.slack"),
        ("store:", "planning: {weights: heavy}\nstore:", "planning.weights"),
        ("aws.json}", "aws.json, quota: -1}", "fabric.quota"),
        ("aws.json}", "aws.json, quota: many}", "fabric.quota"),
    ],
)
def test_bad_cluster_files_are_refused_with_file_and_field(
    command: Runner, files: Files, old: str, new: str, says: str
) -> None:
    files.replace(old, new)
    assert says in refused(command, files)


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\xff", b"- a\n- b\n", b"{" * 5000])
def test_cluster_files_that_are_none_are_refused(
    command: Runner, files: Files, content: bytes
) -> None:
    files.cluster.write_bytes(content)
    assert "cluster.yaml" in refused(command, files)


# The node list and the description of the VPC.


@pytest.mark.parametrize("name", ["nodes.json", "aws.json"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(bytes(range(256)) * 40_000, id="10 MB of garbage"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"items": 3, "Vpcs": 3}', id="other types"),
        pytest.param(b"[" * 1_000_000, id="nested deeply"),
    ],
)
def test_files_that_hold_something_else_are_refused(
    command: Runner, files: Files, name: str, content: bytes
) -> None:
    (files.folder / name).write_bytes(content)
    assert name in refused(command, files)


def test_no_nodes_at_all_is_an_empty_plan(command: Runner, files: Files) -> None:
    files.edit_nodes(list.clear)
    ended = plan(command, files)
    assert ended.code == 0
    assert json.loads(ended.out)["summary"]["entries"] == 0


def test_one_node_gets_one_direct_entry_in_every_table(command: Runner, tmp_path: Path) -> None:
    files = Files(tmp_path, Example("one", (1, 0, 0), 50))
    ended = plan(command, files)
    assert ended.code == 0
    tables = json.loads(ended.out)["tables"]
    assert [[entry["kind"] for entry in table["entries"]] for table in tables] == [["direct"]] * 3


def test_a_node_without_an_address_is_named_and_the_rest_is_planned(
    command: Runner, files: Files
) -> None:
    names: list[str] = []

    def edit(items: list[Document]) -> None:
        items[0]["status"]["addresses"] = []
        names.append(items[0]["metadata"]["name"])

    files.edit_nodes(edit)
    document, said = partly(command, files)
    assert names[0] in said
    assert document["summary"]["nodes"] == 11


def test_two_nodes_with_one_address_are_named_and_the_rest_is_planned(
    command: Runner, files: Files
) -> None:
    names: list[str] = []

    def edit(items: list[Document]) -> None:
        items[0]["status"]["addresses"] = items[1]["status"]["addresses"]
        names.extend(item["metadata"]["name"] for item in items[:2])

    files.edit_nodes(edit)
    document, said = partly(command, files)
    assert all(name in said for name in names)
    assert document["summary"]["nodes"] == 10


def test_a_node_without_an_interface_is_named_and_the_rest_is_planned(
    command: Runner, files: Files
) -> None:
    files.edit_vpc(lambda vpc: vpc["NetworkInterfaces"].pop(0))
    document, said = partly(command, files)
    assert "has no network interface" in said
    assert document["summary"]["nodes"] == 11


def test_at_most_five_objects_are_named(command: Runner, files: Files) -> None:
    files.edit_nodes(lambda items: [item["status"].update(addresses=[]) for item in items[:8]])
    _, said = partly(command, files)
    assert said.count("node-") == 5
    assert "and 3 more: each has no" in said
    assert is_one_line(said)


def test_nodes_that_are_all_unhealthy_serve_nothing(command: Runner, files: Files) -> None:
    def edit(items: list[Document]) -> None:
        for item in items:
            item["status"]["conditions"] = [{"type": "Ready", "status": "False"}]

    files.edit_nodes(edit)
    document, said = partly(command, files)
    assert len(document["summary"]["unserved"]) == 3
    assert document["summary"]["entries"] == 0
    assert all(subnet in said for subnet in document["summary"]["unserved"])


@pytest.mark.parametrize("quota", [0, 1, 6])
def test_a_quota_with_no_room_for_us_serves_nothing(
    command: Runner, files: Files, quota: int
) -> None:
    files.replace("aws.json}", f"aws.json, quota: {quota}}}")
    document, _ = partly(command, files)
    assert len(document["summary"]["unserved"]) == 3


def test_a_quota_for_one_entry_serves_one_subnet(command: Runner, files: Files) -> None:
    files.replace("aws.json}", "aws.json, quota: 7}")
    document, _ = partly(command, files)
    assert [len(table["entries"]) for table in document["tables"]] == [1, 1, 1]


def foreign(destination: str) -> Callable[[Document], None]:
    """An edit that puts somebody else's entry into the first table."""

    def edit(vpc: Document) -> None:
        row = {
            "DestinationCidrBlock": destination,
            "VpcPeeringConnectionId": "pcx-1",
            "State": "active",
            "Origin": "CreateRoute",
        }
        vpc["RouteTables"][0]["Routes"].append(row)

    return edit


def test_a_foreign_entry_around_our_networks_does_no_harm(command: Runner, files: Files) -> None:
    files.edit_vpc(foreign("100.0.0.0/8"))
    assert plan(command, files).code == 0


def test_a_foreign_entry_in_the_way_is_named(command: Runner, files: Files) -> None:
    prefixes = json.loads(plan(command, files).out)["snapshot"]["subnets"][0]["prefixes"]
    files.edit_vpc(foreign(prefixes[0]))
    document, said = partly(command, files)
    assert document["summary"]["unserved"] == ["subnet-0a"]
    assert "foreign" in said
