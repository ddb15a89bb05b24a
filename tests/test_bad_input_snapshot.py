"""Snapshot files that are malformed or contradict themselves: exit code 2, one line that helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Ended, Runner, is_one_line, run_as_process

Document = dict[str, Any]
Edit = Callable[[Document], object]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


def valid() -> Document:
    """Two subnets with a node and a block each, and one table."""
    return {
        "version": 1,
        "subnets": [
            {"id": "s1", "zone": "a", "route_table": "t1", "prefixes": ["100.64.0.0/16"]},
            {
                "id": "s2",
                "zone": "b",
                "route_table": "t1",
                "prefixes": ["100.80.0.0/16", "fd00::/48"],
            },
        ],
        "nodes": [
            {
                "name": "n1",
                "subnet": "s1",
                "interface": "eni-1",
                "addresses": {"ipv4": "10.0.0.1"},
                "capacity": 1.0,
                "healthy": True,
                "forwards": True,
                "avoid": False,
            },
            {
                "name": "n2",
                "subnet": "s2",
                "interface": "eni-2",
                "addresses": {"ipv4": "10.0.1.1", "ipv6": "2001:db8::1"},
            },
        ],
        "blocks": [
            {"cidr": "100.64.0.0/24", "node": "n1", "weight": 1.0},
            {"cidr": "100.80.0.0/24", "node": "n2"},
        ],
        "route_tables": [
            {
                "id": "t1",
                "limit": {"ipv4": 10, "ipv6": 10},
                "budget": {"ipv4": 8},
                "own_subnet_weight": 1.0,
                "entries": [{"destination": "100.64.0.0/16", "interface": "eni-1"}],
                "foreign": ["10.99.0.0/16"],
            }
        ],
    }


def setting(*path: str | int, value: object) -> Edit:
    """An edit that puts a value at a path."""

    def edit(document: Document) -> None:
        target: Any = document
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return edit


def without(*path: str | int) -> Edit:
    """An edit that removes what is at a path."""

    def edit(document: Document) -> None:
        target: Any = document
        for part in path[:-1]:
            target = target[part]
        del target[path[-1]]

    return edit


def appending(*path: str | int, value: object) -> Edit:
    """An edit that adds a value to the list at a path."""

    def edit(document: Document) -> None:
        target: Any = document
        for part in path:
            target = target[part]
        target.append(value)

    return edit


NODE_3 = {"name": "n3", "subnet": "s1", "interface": "eni-3", "addresses": {"ipv4": "10.0.0.3"}}

CASES: dict[str, tuple[Edit, str, str]] = {
    # what is wrong: (edit, where the error points, what it says)
    "version of another format": (setting("version", value=2), "version", "reads version 1"),
    "version as text": (setting("version", value="1"), "version", "reads version 1"),
    "version as true": (setting("version", value=True), "version", "reads version 1"),
    "missing list": (without("blocks"), "blocks", "missing"),
    "unknown top field": (setting("extra", value=1), "extra", "unknown field"),
    "unknown node field": (setting("nodes", 1, "helthy", value=True), "nodes[1].helthy", "unknown"),
    "unknown field with odd name": (setting("nodes", 0, "a\nb", value=1), 'nodes[0]."a\\nb"', ""),
    "unknown entry field": (
        setting("route_tables", 0, "entries", 0, "via", value="x"),
        "route_tables[0].entries[0].via",
        "unknown field",
    ),
    "list as object": (setting("nodes", value={}), "nodes", "no list"),
    "object as text": (setting("nodes", 0, value="n1"), "nodes[0]", "no object"),
    "null node": (setting("nodes", 0, value=None), "nodes[0]", "no object"),
    "missing name": (without("nodes", 0, "name"), "nodes[0].name", "missing"),
    "empty name": (setting("nodes", 0, "name", value=""), "nodes[0].name", "no name"),
    "name with a line break": (setting("nodes", 0, "name", value="a\nb"), "nodes[0].name", ""),
    "name as number": (setting("nodes", 0, "name", value=7), "nodes[0].name", "no name"),
    "two nodes of one name": (appending("nodes", value={**NODE_3, "name": "n1"}), "nodes[2]", "n1"),
    "two nodes with one interface": (
        appending("nodes", value={**NODE_3, "interface": "eni-1"}),
        "nodes[2].interface",
        "eni-1",
    ),
    "two nodes with one address": (
        appending("nodes", value={**NODE_3, "addresses": {"ipv4": "10.0.0.1"}}),
        "nodes[2].addresses.ipv4",
        "n1",
    ),
    "two subnets of one id": (setting("subnets", 1, "id", value="s1"), "subnets[1].id", "s1"),
    "two tables of one id": (
        appending("route_tables", value={"id": "t1", "limit": {}, "budget": {}}),
        "route_tables[1].id",
        "t1",
    ),
    "node in no subnet": (setting("nodes", 0, "subnet", value="s9"), "nodes[0].subnet", "s9"),
    "subnet with no table": (
        setting("subnets", 0, "route_table", value="t9"),
        "subnets[0].route_table",
        "t9",
    ),
    "block of an unknown node": (setting("blocks", 0, "node", value="n9"), "blocks[0].node", "n9"),
    "block outside its subnet": (
        setting("blocks", 0, "cidr", value="100.80.1.0/24"),
        "blocks[0].cidr",
        "outside the prefixes of subnet",
    ),
    "block wider than its subnet": (
        setting("blocks", 0, "cidr", value="100.64.0.0/15"),
        "blocks[0].cidr",
        "outside",
    ),
    "two owners of an address": (
        appending("blocks", value={"cidr": "100.64.0.128/25", "node": "n1"}),
        "blocks[2].cidr",
        "one owner",
    ),
    "one block twice": (
        appending("blocks", value={"cidr": "100.64.0.0/24", "node": "n1"}),
        "blocks[2].cidr",
        "one owner",
    ),
    "block with host bits": (
        setting("blocks", 0, "cidr", value="100.64.0.1/24"),
        "blocks[0].cidr",
        "write 100.64.0.0/24",
    ),
    "block that is no CIDR": (setting("blocks", 0, "cidr", value="here"), "blocks[0].cidr", "CIDR"),
    "block as number": (setting("blocks", 0, "cidr", value=1), "blocks[0].cidr", "no CIDR"),
    "negative weight": (setting("blocks", 0, "weight", value=-1), "blocks[0].weight", "at least 0"),
    "weight as text": (setting("blocks", 0, "weight", value="1"), "blocks[0].weight", "number"),
    "weight as true": (setting("blocks", 0, "weight", value=True), "blocks[0].weight", "number"),
    "weight null": (setting("blocks", 0, "weight", value=None), "blocks[0].weight", "number"),
    "weight of 400 digits": (
        setting("blocks", 0, "weight", value=10**400),
        "blocks[0].weight",
        "too large",
    ),
    "weights whose sum is not finite": (
        lambda doc: [block.update(weight=1.7e308) for block in doc["blocks"]],
        "blocks",
        "sum of all weights",
    ),
    "weight over capacity not finite": (
        setting("nodes", 0, "capacity", value=5e-324),
        "blocks",
        "weight over capacity",
    ),
    "capacity 0": (setting("nodes", 0, "capacity", value=0), "nodes[0].capacity", "above 0"),
    "capacity negative": (setting("nodes", 0, "capacity", value=-2.5), "nodes[0].capacity", ""),
    "healthy as number": (setting("nodes", 0, "healthy", value=1), "nodes[0].healthy", "true nor"),
    "address of another family": (
        setting("nodes", 0, "addresses", value={"ipv4": "fd00::1"}),
        "nodes[0].addresses.ipv4",
        "ipv6",
    ),
    "address of no family": (
        setting("nodes", 0, "addresses", value={"ipv5": "10.0.0.1"}),
        "nodes[0].addresses",
        "ipv5",
    ),
    "address that is none": (
        setting("nodes", 0, "addresses", value={"ipv4": "10.0.0"}),
        "nodes[0].addresses.ipv4",
        "10.0.0",
    ),
    "address as number": (
        setting("nodes", 0, "addresses", value={"ipv4": 1}),
        "nodes[0].addresses.ipv4",
        "no address",
    ),
    "overlapping subnets": (
        setting("subnets", 1, "prefixes", value=["100.64.128.0/17"]),
        "subnets[1].prefixes",
        "overlaps 100.64.0.0/16",
    ),
    "the same prefix in two subnets": (
        setting("subnets", 1, "prefixes", value=["100.64.0.0/16"]),
        "subnets[1].prefixes",
        "overlaps",
    ),
    "prefix with host bits": (
        setting("subnets", 0, "prefixes", value=["100.64.0.1/16"]),
        "subnets[0].prefixes[0]",
        "host bits",
    ),
    "prefix of 33 bits": (
        setting("subnets", 0, "prefixes", value=["100.64.0.0/33"]),
        "subnets[0].prefixes[0]",
        "at most 32",
    ),
    "budget above limit": (
        setting("route_tables", 0, "budget", value={"ipv4": 11}),
        "route_tables[0].budget.ipv4",
        "above the limit of 10",
    ),
    "budget of a family without limit": (
        setting("route_tables", 0, "limit", value={"ipv6": 10}),
        "route_tables[0].budget.ipv4",
        "above the limit of 0",
    ),
    "negative budget": (
        setting("route_tables", 0, "budget", value={"ipv4": -1}),
        "route_tables[0].budget.ipv4",
        "whole number",
    ),
    "budget of a half": (
        setting("route_tables", 0, "budget", value={"ipv4": 1.5}),
        "route_tables[0].budget.ipv4",
        "whole number",
    ),
    "limit as true": (
        setting("route_tables", 0, "limit", value={"ipv4": True}),
        "route_tables[0].limit.ipv4",
        "whole number",
    ),
    "limit of no family": (
        setting("route_tables", 0, "limit", value={"IPv4": 3}),
        "route_tables[0].limit",
        "IPv4",
    ),
    "limit as number": (setting("route_tables", 0, "limit", value=50), "route_tables[0].limit", ""),
    "own_subnet_weight negative": (
        setting("route_tables", 0, "own_subnet_weight", value=-0.5),
        "route_tables[0].own_subnet_weight",
        "at least 0",
    ),
    "one destination twice": (
        appending(
            "route_tables",
            0,
            "entries",
            value={"destination": "100.64.0.0/16", "interface": "eni-2"},
        ),
        "route_tables[0].entries[1].destination",
        "100.64.0.0/16",
    ),
    "destination ours and foreign": (
        appending("route_tables", 0, "foreign", value="100.64.0.0/16"),
        "route_tables[0].foreign[1]",
        "ours or foreign",
    ),
    "foreign destination twice": (
        appending("route_tables", 0, "foreign", value="10.99.0.0/16"),
        "route_tables[0].foreign[1]",
        "twice",
    ),
    "empty interface": (
        setting("route_tables", 0, "entries", 0, "interface", value=""),
        "route_tables[0].entries[0].interface",
        "no name",
    ),
}


def plan(command: Runner, folder: Path, text: str) -> Ended:
    file = folder / "snapshot.json"
    file.write_text(text)
    return command("plan", "--snapshot", file, "-o", "json")


def test_the_snapshot_that_is_broken_below_is_whole(command: Runner, tmp_path: Path) -> None:
    assert plan(command, tmp_path, json.dumps(valid())).code == 0


@pytest.mark.parametrize("case", CASES)
def test_contradictions_are_refused_at_their_place(
    command: Runner, tmp_path: Path, case: str
) -> None:
    edit, place, says = CASES[case]
    document = valid()
    edit(document)
    ended = plan(command, tmp_path, json.dumps(document))
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert f"snapshot.json: {place}" in ended.err
    assert says in ended.err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"weight": 1.0', '"weight": NaN', "NaN is no JSON number"),
        ('"weight": 1.0', '"weight": Infinity', "Infinity is no JSON number"),
        ('"weight": 1.0', '"weight": 1e999', "too large"),
        ('"weight": 1.0', '"weight": 1.0, "weight": 2.0', '"weight" is given twice'),
        ('"weight": 1.0', '"weight": ' + "9" * 5000, "not JSON"),
        ('"version": 1', '"version": 1, "version": 1', '"version" is given twice'),
        ('"name": "n1"', '"name": "\\ud800"', "nodes[0].name"),
        ('"version": 1,', '"version": 1', "line 1, column"),
        ("]}]}", "]}]} x", "line 1, column"),
        ("{", "[{", "line 1, column"),
    ],
)
def test_what_json_does_not_allow_is_refused(
    command: Runner, tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = json.dumps(valid())
    assert old in text
    ended = plan(command, tmp_path, text.replace(old, new, 1))
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert says in ended.err


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00" * 1000, id="zeros"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="nested deeply"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"7", id="a number"),
        pytest.param(b"null", id="null"),
        pytest.param(bytes(range(256)) * 40_000, id="10 MB of garbage"),
    ],
)
def test_files_that_are_no_snapshot_at_all_are_refused(
    command: Runner, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "snapshot.json"
    file.write_bytes(content)
    ended = command("plan", "--snapshot", file)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "snapshot.json" in ended.err


def test_a_file_that_is_not_there_is_refused(command: Runner, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        ended = command("plan", "--snapshot", path)
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)


def test_a_process_refuses_as_its_exit_code_says() -> None:
    ended = run_as_process("plan", "--snapshot", "-", stdin=b'{"version": 1}')
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "standard input: blocks: is missing" in ended.err
