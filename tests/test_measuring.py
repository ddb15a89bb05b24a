"""Weights and capacities of a cluster: from its nodes, from reports in its store, kept steady."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from ipam.model import State
from ipam.store.port import Put
from ipam.store.sqlite import SqliteStore
from tests.clusters import Document, Files
from tests.commands import Runner, is_one_line
from vpcrouter.weights import BAND


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def snapshot(command: Runner, files: Files) -> Document:
    """The snapshot once all nodes have joined: part of a plan."""
    ended = command("plan", "-f", files.cluster, "-o", "json")
    assert ended.code == 0, ended.err
    found: Document = json.loads(ended.out)["snapshot"]
    return found


def weights(command: Runner, files: Files) -> dict[str, float]:
    """What each node's only block weighs."""
    return {block["node"]: block["weight"] for block in snapshot(command, files)["blocks"]}


def owners(files: Files) -> Mapping[str, tuple[str, str]]:
    """Each node's identity and block, as the store has them."""
    from vpcrouter.cluster import Cluster

    cluster = Cluster.open(files.cluster)
    try:
        state: State = cluster.present().state
    finally:
        cluster.close()
    return {o.name: (o.identity, str(o.blocks[0])) for o in state.owners()}


def report(files: Files, megabytes: Mapping[str, float]) -> None:
    """Let the agents of these nodes report so many megabytes in a minute."""
    known = owners(files)
    store = SqliteStore(files.store)
    for name, amount in megabytes.items():
        identity, block = known[name]
        use = {"pods": 3, "bytes": round(amount * 1e6)}
        value = json.dumps({"v": 1, "seconds": 60, "blocks": {block: use}, "revision": 7})
        store.txn([], [Put(f"/reports/{name}/{identity}", value.encode())])
    store.close()


def label(nodes: list[Document], types: Mapping[int, str]) -> None:
    for position, type_ in types.items():
        nodes[position]["metadata"]["labels"]["node.kubernetes.io/instance-type"] = type_


def take(nodes: list[Document], pods: Mapping[int, object]) -> None:
    for position, number in pods.items():
        nodes[position]["status"]["allocatable"] = {"pods": number}


def name_of(files: Files, position: int) -> str:
    items = json.loads((files.folder / "nodes.json").read_text())["items"]
    name: str = items[position]["metadata"]["name"]
    return name


def test_all_count_alike_unless_asked_otherwise(command: Runner, files: Files) -> None:
    files.edit_nodes(lambda nodes: label(nodes, {0: "m5.large"}))
    files.edit_nodes(lambda nodes: take(nodes, {0: "250"}))
    found = snapshot(command, files)
    assert {block["weight"] for block in found["blocks"]} == {1.0}
    assert {node["capacity"] for node in found["nodes"]} == {1.0}


def test_a_node_weighs_by_the_pods_that_it_takes(command: Runner, files: Files) -> None:
    files.append("planning: {weights: class}\n")
    files.edit_nodes(lambda nodes: take(nodes, dict.fromkeys(range(12), "110") | {1: "220"}))
    found = weights(command, files)
    assert found.pop(name_of(files, 1)) == 2.0
    assert set(found.values()) == {1.0}


@pytest.mark.parametrize("odd", [110, None, "-3", "0", "many", "1e3", ["110"], "9" * 30])
def test_odd_pods_are_a_guess_and_said_to_be(command: Runner, files: Files, odd: object) -> None:
    files.append("planning: {weights: class}\n")
    files.edit_nodes(lambda nodes: [n["status"].pop("capacity", None) for n in nodes])
    files.edit_nodes(lambda nodes: take(nodes, dict.fromkeys(range(12), "220") | {1: odd}))
    ended = command("plan", "-f", files.cluster, "-o", "json")
    assert ended.code == 0
    assert ended.err.count("does not say how many pods it takes") == 1
    assert name_of(files, 1) in ended.err
    assert {block["weight"] for block in json.loads(ended.out)["snapshot"]["blocks"]} == {2.0}


def test_a_node_carries_what_its_instance_type_does(command: Runner, files: Files) -> None:
    files.append("planning: {capacity: instance}\n")
    types = dict.fromkeys(range(12), "m5.8xlarge") | {0: "c5.metal", 1: "x0.unheard-of"}
    files.edit_nodes(lambda nodes: label(nodes, types))
    ended = command("plan", "-f", files.cluster, "-o", "json")
    assert ended.code == 0
    assert is_one_line(ended.err)
    assert "no instance type with a known bandwidth" in ended.err
    found = {n["name"]: n["capacity"] for n in json.loads(ended.out)["snapshot"]["nodes"]}
    assert found.pop(name_of(files, 0)) == 25.0
    assert set(found.values()) == {10.0}


def test_what_agents_measure_weighs_and_noise_moves_nothing(
    command: Runner, files: Files, seed: int
) -> None:
    random = Random(seed)
    files.append("planning: {weights: measured}\n")
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    assert set(weights(command, files).values()) == {1.0}
    levels = {name: random.choice([20.0, 30.0, 100.0]) for name in owners(files)}
    report(files, levels)
    found = weights(command, files)
    assert all(abs(found[name] - level * 8 / 60) < 1e-9 for name, level in levels.items())
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    for _ in range(5):
        report(files, {name: level * random.uniform(0.9, 1.1) for name, level in levels.items()})
        assert command("plan", "-f", files.cluster, "--exit-code").code == 0
        assert weights(command, files) == found
        assert command("apply", "-f", files.cluster, "--yes").code == 0
    loud = name_of(files, 0)
    report(files, {loud: levels[loud] * 50})
    assert weights(command, files)[loud] > found[loud] * BAND


def test_a_report_that_cannot_be_read_is_named_and_its_node_keeps_its_weight(
    command: Runner, files: Files
) -> None:
    files.append("planning: {weights: measured}\n")
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    report(files, dict.fromkeys(owners(files), 60.0))
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    store = SqliteStore(files.store)
    name, (identity, _) = next(iter(owners(files).items()))
    store.txn([], [Put(f"/reports/{name}/{identity}", b'{"v": 1, "blocks": 3}')])
    store.close()
    ended = command("plan", "-f", files.cluster, "-o", "json")
    assert ended.code == 0
    assert is_one_line(ended.err)
    assert f"/reports/{name}/{identity} is no report that can be read" in ended.err
    found = json.loads(ended.out)["snapshot"]["blocks"]
    assert {block["weight"] for block in found} == {8.0}


@pytest.mark.parametrize(
    "planning", ["weights: bytes", "weights: 1", "capacity: class", "capacity: {m5.large: 1}"]
)
def test_other_words_are_refused(command: Runner, files: Files, planning: str) -> None:
    files.append(f"planning: {{{planning}}}\n")
    ended = command("plan", "-f", files.cluster)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "planning" in ended.err
