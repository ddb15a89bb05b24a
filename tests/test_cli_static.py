"""``vpcrouter static``: listed, granted, routed, released."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clusters import Files
from tests.commands import Runner, is_one_line

STATIC = "static: [{name: web/one, address: 100.64.0.9}, {name: dns, address: 100.64.0.10}]"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.replace("cidrs: [100.64.0.0/10]", f"cidrs: [100.64.0.0/10], {STATIC}")
    return made


def test_a_static_address_is_granted_and_routed_to_its_node(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    listed = command("static", "-f", files.cluster)
    assert (listed.code, listed.out.count(" -\n")) == (0, 2)
    ended = command("static", "grant", "web/one", "node-a003", "-f", files.cluster)
    assert (ended.code, ended.err) == (0, "")
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    assert command("verify", "-f", files.cluster).code == 0
    document = json.loads(command("static", "-f", files.cluster, "-o", "json").out)
    assert {one["name"]: one["node"] for one in document["static"]} == {
        "web/one": "node-a003",
        "dns": None,
    }
    blocks = json.loads(command("blocks", "-f", files.cluster, "-o", "json").out)["blocks"]
    owners = {block["cidr"]: block["node"] for block in blocks}
    assert owners["100.64.0.9/32"] == "node-a003"
    told = command("explain", "100.64.0.9", "-f", files.cluster)
    assert (told.code, "node-a003" in told.out) == (0, True)


def test_what_cannot_be_granted_is_said(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    assert command("static", "grant", "dns", "node-a003", "-f", files.cluster).code == 0
    for name, node, message in (
        ("dns", "node-a001", "is granted to node node-a003: release it first"),
        ("web/one", "node-b001", "is in a prefix of subnet subnet-0a"),
        ("none", "node-a001", "there is no static address none"),
        ("dns", "nobody", "node nobody is not known"),
    ):
        ended = command("static", "grant", name, node, "-f", files.cluster)
        assert ended.code == 3
        assert message in ended.err
        assert is_one_line(ended.err)


def test_it_is_released_only_on_a_word(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    assert command("static", "grant", "dns", "node-a003", "-f", files.cluster).code == 0
    ended = command("static", "release", "dns", "-f", files.cluster)
    assert ended.code == 6
    assert is_one_line(ended.err)
    assert command("static", "release", "dns", "--yes", "-f", files.cluster).code == 0
    assert command("static", "grant", "dns", "node-a001", "-f", files.cluster).code == 0
    ended = command("static", "release", "none", "--yes", "-f", files.cluster)
    assert (ended.code, is_one_line(ended.err)) == (2, True)


def test_without_any_it_says_so(command: Runner, tmp_path: Path) -> None:
    ended = command("static", "-f", Files(tmp_path).cluster)
    assert (ended.code, ended.out) == (0, "no static addresses\n")
