"""``vpcrouter topology``: the tree that it shows, how deep, and of what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.test_cli import imported

Branch = dict[str, Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def cluster(command: Runner, tmp_path: Path) -> Path:
    files = Files(tmp_path)
    assert command("apply", "--yes", "-f", files.cluster).code == 0
    return files.cluster


def trees(command: Runner, cluster: Path, *options: str) -> list[Branch]:
    ended = command("topology", "-f", cluster, "-o", "json", *options)
    assert (ended.code, ended.err) == (0, "")
    found: list[Branch] = json.loads(ended.out)["networks"]
    return found


def test_the_tree_goes_from_networks_over_subnets_to_groups(command: Runner, cluster: Path) -> None:
    (network,) = trees(command, cluster)
    assert (network["kind"], network["prefixes"]) == ("network", ["100.64.0.0/10"])
    assert {child["kind"] for child in network["children"]} == {"subnet"}
    groups = [group for subnet in network["children"] for group in subnet["children"]]
    assert {group["kind"] for group in groups} == {"group"}
    assert sum(group["blocks"] for group in groups) == network["blocks"] == network["nodes"] == 12
    assert network["free_blocks"] == 65_536 - 12


def test_a_listing_shows_the_tree_by_indents_and_wide_ones_more_columns(
    command: Runner, cluster: Path
) -> None:
    lines = command("topology", "-f", cluster).out.splitlines()
    assert lines[0].split()[:4] == ["NAME", "KIND", "PREFIX", "NODES"]
    assert lines[1].startswith("pods ")
    assert lines[2].startswith("  subnet-")
    assert lines[3].startswith("    100.")
    wide = command("topology", "-f", cluster, "-o", "wide").out.splitlines()
    assert wide[0].endswith("FREE BLOCKS  FREE PREFIXES  FAMILY  PATH")
    as_yaml = command("topology", "-f", cluster, "-o", "yaml")
    assert yaml.safe_load(as_yaml.out)["networks"] == trees(command, cluster)


def test_levels_are_left_out_where_they_were_not_asked_for(command: Runner, cluster: Path) -> None:
    assert [len(tree["children"]) for tree in trees(command, cluster, "--depth", "1")] == [0]
    ended = command("topology", "-f", cluster, "--depth", "2")
    assert {line.split()[1] for line in ended.out.splitlines()[1:]} == {"network", "subnet"}
    # With a prefix group for every node the tree is longer than a screen.
    everything = command("topology", "-f", cluster, "--all").out.splitlines()
    assert len(everything) == 1 + 1 + 3 + sum(
        len(subnet["children"]) for subnet in trees(command, cluster)[0]["children"]
    )


def test_one_subnet_is_shown_with_what_is_around_it(command: Runner, cluster: Path) -> None:
    subnet = trees(command, cluster)[0]["children"][0]
    (network,) = trees(command, cluster, "--subnet", subnet["name"])
    assert network["children"] == [subnet]
    assert network["blocks"] == 12


def test_only_the_network_and_the_family_that_were_asked_for_are_shown(
    command: Runner, cluster: Path
) -> None:
    assert trees(command, cluster, "--family", "ipv6") == []
    assert len(trees(command, cluster, "--network", "pods")) == 1


@pytest.mark.parametrize(
    "options",
    [["--network", "nets"], ["--subnet", "nowhere"], ["--depth", "0"], ["--depth", "x"], ["chekc"]],
)
def test_what_is_not_there_is_one_line(command: Runner, cluster: Path, options: list[str]) -> None:
    ended = (
        command("topology", *options)
        if "chekc" in options
        else command("topology", "-f", cluster, *options)
    )
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)


def test_the_load_is_the_largest_of_the_nodes_in_a_branch(command: Runner, tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.replace("kind: simulated", "kind: simulated, quota: 12")
    assert command("apply", "--yes", "-f", files.cluster).code in (0, 3)
    (network,) = trees(command, files.cluster)
    forwarders = json.loads(command("forwarders", "-f", files.cluster, "-o", "json").out)
    largest = max((one["load"] for one in forwarders["forwarders"]), default=0.0)
    assert network["load"] == largest
    assert max(subnet["load"] for subnet in network["children"]) == largest


def test_looking_at_a_topology_imports_no_numpy(cluster: Path) -> None:
    modules = imported("topology", "-f", cluster)
    assert not modules & {"numpy", "boto3", "pyroute2", "rich", "vpcrouter.views.page"}
