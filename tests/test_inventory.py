"""The Kubernetes node list: what it says about nodes, and which interface each one has."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ipam.errors import BadInputError
from ipam.prefix import Family
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import NetworkInterface
from vpcrouter.inventory import read_nodes
from vpcrouter.matching import (
    NO_ADDRESS,
    NO_INTERFACE,
    OTHER_ADDRESS,
    SAME_ADDRESS,
    SAME_INTERFACE,
    SAME_TAG,
    KubernetesNode,
    instances_by_name,
    match_interfaces,
)
from vpcrouter.problems import Problem

Document = dict[str, Any]


def node(name: str = "n1", address: str = "10.0.0.4", **changes: Any) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {}} | changes.get("metadata", {}),
        "spec": {"providerID": f"aws:///eu-central-1a/i-{name}"} | changes.get("spec", {}),
        "status": {
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": address},
            ],
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True"},
            ],
        }
        | changes.get("status", {}),
    }


def write(folder: Path, *nodes: Document) -> Path:
    path = folder / "nodes.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
    return path


def read(folder: Path, *nodes: Document) -> tuple[KubernetesNode, ...]:
    inventory = read_nodes(write(folder, *nodes))
    assert not inventory.problems
    return inventory.nodes


def test_openb_has_1523_nodes_with_an_interface_each(openb: Path) -> None:
    inventory = read_nodes(openb / "nodes.json")
    assert len(inventory.nodes) == 1523
    assert not inventory.problems
    assert all(node.ready for node in inventory.nodes)
    assert sum(node.spot for node in inventory.nodes) == 300
    seen = read_describe(openb / "aws.json", None)
    matched = match_interfaces(inventory.nodes, seen.interfaces, {})
    assert len(matched.interfaces) == 1523
    assert not matched.problems


def test_a_node_is_read(tmp_path: Path) -> None:
    (found,) = read(tmp_path, node(metadata={"uid": "u-1"}))
    assert found == KubernetesNode(
        name="n1",
        uid="u-1",
        instance="i-n1",
        addresses=((Family.IPV4, "10.0.0.4"),),
        spot=False,
        cordoned=False,
        leaving=False,
        ready=True,
    )
    assert found.identity == "i-n1"
    assert not found.avoid


def test_the_identity_is_the_instance_else_the_uid_else_the_name(tmp_path: Path) -> None:
    kind = node(metadata={"uid": "u-1"}, spec={"providerID": "kind://docker/kind/kind-worker"})
    bare = node("n2", "10.0.0.5", spec={"providerID": ""})
    assert [n.identity for n in read(tmp_path, kind, bare)] == ["u-1", "n2"]


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"labels": {"karpenter.sh/capacity-type": "spot"}}},
        {"metadata": {"labels": {"eks.amazonaws.com/capacityType": "SPOT"}}},
        {"spec": {"unschedulable": True}},
        {"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}},
        {"metadata": {"deletionTimestamp": "2025-01-01T00:00:00Z"}},
    ],
)
def test_what_may_go_soon_is_avoided(tmp_path: Path, changes: Document) -> None:
    (found,) = read(tmp_path, node(**changes))
    assert found.avoid


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"labels": {"karpenter.sh/capacity-type": "on-demand"}}},
        {"metadata": {"labels": {"eks.amazonaws.com/capacityType": "ON_DEMAND"}}},
        {"spec": {"unschedulable": False}},
        {"spec": {"taints": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]}},
    ],
)
def test_what_stays_is_not_avoided(tmp_path: Path, changes: Document) -> None:
    (found,) = read(tmp_path, node(**changes))
    assert not found.avoid


@pytest.mark.parametrize("status", ["False", "Unknown", None])
def test_a_node_that_is_not_ready_is_unhealthy(tmp_path: Path, status: str | None) -> None:
    conditions = [] if status is None else [{"type": "Ready", "status": status}]
    (found,) = read(tmp_path, node(status={"conditions": conditions}))
    assert not found.ready


def test_addresses_of_both_families_are_canonical(tmp_path: Path) -> None:
    addresses = [
        {"type": "InternalIP", "address": "FD00:0::4"},
        {"type": "ExternalIP", "address": "1.2.3.4"},
        {"type": "InternalIP", "address": "10.0.0.4"},
        {"type": "InternalIP", "address": "10.0.0.5"},
    ]
    (found,) = read(tmp_path, node(status={"addresses": addresses}))
    assert found.primary_addresses == {Family.IPV6: "fd00::4", Family.IPV4: "10.0.0.4"}


def test_no_nodes_at_all_are_none(tmp_path: Path) -> None:
    inventory = read_nodes(write(tmp_path))
    assert (inventory.nodes, inventory.problems) == ((), ())


# What is left out.


def test_a_node_without_an_address_is_a_problem(tmp_path: Path) -> None:
    inventory = read_nodes(
        write(tmp_path, node("a", status={"addresses": []}), node("b", "10.0.0.5"))
    )
    assert [n.name for n in inventory.nodes] == ["a", "b"]
    assert inventory.problems == (Problem(NO_ADDRESS, "a"),)


def test_two_nodes_with_one_address_are_a_problem_each(tmp_path: Path) -> None:
    inventory = read_nodes(
        write(tmp_path, node("c", "10.0.0.5"), node("b", "10.0.0.4"), node("a", "10.0.0.4"))
    )
    assert inventory.problems == (Problem(SAME_ADDRESS, "a"), Problem(SAME_ADDRESS, "b"))


# What is refused.


def _list(**changes: Any) -> Document:
    return {"apiVersion": "v1", "kind": "List", "items": [node()]} | changes


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (_list(kind="PodList"), r"kind should be List or NodeList, is PodList"),
        (_list(kind=None), r"kind should be List"),
        (node(), r"kind should be List or NodeList, is Node"),
        (_list(items=None), r"items should be a list"),
        (_list(items={}), r"items should be a list"),
        (_list(items=["x"]), r"items\[0\] should be an object"),
        (_list(items=[node() | {"kind": "Pod"}]), r"items\[0\]: kind should be Node, is Pod"),
        (_list(items=[{"kind": "Node"}]), r"items\[0\]: metadata is missing"),
        (_list(items=[{"metadata": {"name": "a"}}]), r"items\[0\]: status is missing"),
        (_list(items=[node(metadata={"name": None})]), r"items\[0\]\.metadata: name is missing"),
        (_list(items=[node(metadata={"name": 7})]), r"name should be text.*, is 7"),
        (_list(items=[node(spec={"unschedulable": "no"})]), r"unschedulable should be true or"),
        (_list(items=[node(address="10.0.0")]), r"addresses\[1\]: '10\.0\.0' is not an IP"),
        (_list(items=[node(), node()]), r"items\[1\]: a second node named n1"),
        (_list(metadata={"continue": "abc"}), r"one page of several"),
    ],
)
def test_what_is_no_node_list_is_refused_in_one_line(
    tmp_path: Path, document: Document, message: str
) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps(document))
    with pytest.raises(BadInputError, match=message) as caught:
        read_nodes(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["bytes", "brackets", "text", "json"])
def test_ten_megabytes_of_garbage_are_refused_in_one_short_line(tmp_path: Path, kind: str) -> None:
    size = 10_000_000
    content = {
        "bytes": random.Random(1).randbytes(size),
        "brackets": b"[" * size,
        "text": b"garbage\n" * (size // 8),
        "json": json.dumps("x" * size).encode(),
    }[kind]
    path = tmp_path / "nodes.json"
    path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        read_nodes(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


# Interfaces.


def interface(name: str, instance: str | None, address: str, index: int = 0) -> NetworkInterface:
    return NetworkInterface(name, "s", {Family.IPV4: (address,)}, instance, index, True)


def kubernetes(name: str, instance: str | None, address: str | None) -> KubernetesNode:
    addresses = ((Family.IPV4, address),) if address else ()
    return KubernetesNode(name, None, instance, addresses, False, False, False, True)


def matches(
    nodes: list[KubernetesNode], interfaces: list[NetworkInterface]
) -> tuple[dict[str, str], tuple[Problem, ...]]:
    matched = match_interfaces(nodes, interfaces, {})
    return {name: found.id for name, found in matched.interfaces.items()}, matched.problems


def test_a_node_has_its_instances_primary_interface() -> None:
    found, problems = matches(
        [kubernetes("n", "i-1", "10.0.0.9")],
        [
            interface("eni-0", "i-1", "10.0.0.9", index=1),
            interface("eni-1", "i-1", "10.0.0.4", index=0),
            interface("eni-2", "i-2", "10.0.0.5", index=0),
        ],
    )
    assert (found, problems) == ({"n": "eni-1"}, ())


def test_without_an_instance_the_address_decides() -> None:
    found, problems = matches(
        [kubernetes("n", None, "10.0.0.4"), kubernetes("m", "i-unknown", "10.0.0.6")],
        [interface("eni-1", "i-1", "10.0.0.4"), interface("eni-2", None, "10.0.0.6")],
    )
    assert (found, problems) == ({"n": "eni-1", "m": "eni-2"}, ())


def test_an_address_that_another_instance_has_now_is_not_the_nodes() -> None:
    found, problems = matches(
        [kubernetes("n", "i-old", "10.0.0.4")], [interface("eni-1", "i-new", "10.0.0.4")]
    )
    assert (found, problems) == ({}, (Problem(NO_INTERFACE, "n"),))


def test_a_node_without_an_interface_is_a_problem() -> None:
    found, problems = matches(
        [kubernetes("n", "i-1", "10.0.0.4"), kubernetes("m", None, None)],
        [interface("eni-2", "i-2", "10.0.0.5")],
    )
    assert found == {}
    assert problems == (Problem(NO_INTERFACE, "m"), Problem(NO_INTERFACE, "n"))


def test_two_nodes_with_one_interface_are_a_problem_each() -> None:
    found, problems = matches(
        [kubernetes("n", "i-1", "10.0.0.4"), kubernetes("m", "i-1", "10.0.0.5")],
        [interface("eni-1", "i-1", "10.0.0.4")],
    )
    assert found == {}
    assert problems == (Problem(SAME_INTERFACE, "m"), Problem(SAME_INTERFACE, "n"))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12), st.randoms())
def test_no_interface_is_given_to_two_nodes_and_order_does_not_matter(
    drawn: list[tuple[int, int]], shuffled: random.Random
) -> None:
    nodes = [kubernetes(f"n{i}", f"i-{a}", f"10.0.0.{b}") for i, (a, b) in enumerate(drawn)]
    interfaces = [interface(f"eni-{n}", f"i-{n}", f"10.0.0.{n}") for n in range(4)]
    matched = match_interfaces(nodes, interfaces, {})
    taken = [i.id for i in matched.interfaces.values()]
    assert len(set(taken)) == len(taken)
    missing = {problem.name for problem in matched.problems}
    assert missing | matched.interfaces.keys() == {node.name for node in nodes}
    assert not missing & matched.interfaces.keys()
    shuffled.shuffle(nodes)
    shuffled.shuffle(interfaces)
    assert match_interfaces(nodes, interfaces, {}) == matched


def test_an_interface_of_another_instance_does_not_move_a_node() -> None:
    one = interface("eni-1", "i-1", "10.0.0.4")
    found, _ = matches(
        [kubernetes("n", "i-1", "10.0.0.4")],
        [one, structs.replace(one, id="eni-0", instance="i-0")],
    )
    assert found == {"n": "eni-1"}


TAGS = {"i-1": {"Name": "n"}, "i-2": {"Name": "twice"}, "i-3": {"Name": "twice"}, "i-4": {}}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (kubernetes("n", None, "172.16.0.1"), "eni-1"),
        (kubernetes("n", None, "10.0.0.1"), "eni-1"),
        (kubernetes("n", "i-4", "10.0.0.4"), "eni-4"),
        (kubernetes("other", None, "10.0.0.4"), "eni-4"),
        (kubernetes("n", None, "10.0.0.4"), OTHER_ADDRESS),
        (kubernetes("twice", None, "10.0.0.2"), SAME_TAG),
        (kubernetes("other", None, "172.16.0.1"), NO_INTERFACE),
    ],
)
def test_without_a_provider_id_the_tag_of_an_instance_names_its_node(
    node: KubernetesNode, expected: str
) -> None:
    interfaces = [interface(f"eni-{n}", f"i-{n}", f"10.0.0.{n}") for n in range(1, 5)]
    matched = match_interfaces([node], interfaces, instances_by_name(TAGS, "Name", ()))
    found = [i.id for i in matched.interfaces.values()] + [p.reason for p in matched.problems]
    assert found == [expected]


def test_instances_that_are_gone_and_tags_that_nobody_asks_for_name_nothing() -> None:
    assert instances_by_name(TAGS, "Name", {"i-1", "i-2"}) == {"twice": ["i-3"]}
    assert instances_by_name(TAGS, None, ()) == {}
    assert instances_by_name(TAGS, "Role", ()) == {}
