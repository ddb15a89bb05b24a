"""Nodes that only the tags of their instances tell apart, with the served account behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws import Served, quick_clients, served
from tests.commands import Runner
from tests.test_aws_commands import CLUSTER
from tests.test_cluster import write
from tests.test_inventory import node
from tests.vpcs import Document, vpc_document, write_document

NAMED = {"i-a0": "web", "i-a1": "twice", "i-a2": "twice", "i-b0": "other"}
BEHIND = "10.9.9.{}"
"""Addresses that no interface of the VPC has: those of an overlay, for example."""


def tagged() -> Document:
    document = vpc_document()
    for reservation in document["Reservations"]:
        for instance in reservation["Instances"]:
            name = NAMED.get(instance["InstanceId"])
            if name is not None:
                instance["Tags"] = [{"Key": "owner", "Value": "x"}, {"Key": "Name", "Value": name}]
    return document


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(write_document(tmp_path, tagged(), "account.json")) as started:
        quick_clients(monkeypatch)
        yield started


def cluster(aws: Served, folder: Path, tag: str) -> Path:
    """``web`` has an address of its own, ``other`` that of another instance, ``b1`` no tag."""
    addresses = {
        "web": BEHIND.format(1),
        "twice": BEHIND.format(2),
        "other": "10.0.16.6",
        "b1": "10.0.16.5",
    }
    nodes = [node(name, at, spec={"providerID": ""}) for name, at in addresses.items()]
    text = CLUSTER.format(url=aws.url).replace("reserve: 1", f"reserve: 1{tag}")
    return write(folder, [], text, tagged(), nodes)


def hops(aws: Served) -> set[str]:
    pods = ("100.64.",)
    tables = aws.account.vpc.describe().tables
    return {r.target for t in tables for r in t.rows if str(r.destination).startswith(pods)}


def test_a_node_is_found_by_the_tag_of_its_instance(
    command: Runner, aws: Served, tmp_path: Path
) -> None:
    ended = command("apply", "--yes", "-f", cluster(aws, tmp_path, ", node_tag: Name"))
    assert ended.code == 3
    assert hops(aws) == {"eni-a0", "eni-b1"}, ended.err + ended.out
    assert "twice names several instances by its tag" in ended.err
    assert "other has the tag of one instance and the address of another" in ended.err
    assert "web" not in ended.err


def test_without_such_a_tag_only_addresses_tell(
    command: Runner, aws: Served, tmp_path: Path
) -> None:
    ended = command("apply", "--yes", "-f", cluster(aws, tmp_path, ""))
    assert ended.code == 3
    assert hops(aws) == {"eni-b1", "eni-b2"}, ended.err + ended.out
    assert "has no network interface in the VPC" in ended.err
