"""The two readers of a node list agree: the same nodes, and what one may not judge it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError
from tests.counts import examples
from tests.generators import spoilt
from vpcrouter.inventory import parse_nodes, parse_usual_nodes
from vpcrouter.jsonfile import UnlikeError, parse_json
from vpcrouter.matching import Inventory

_FILE = Path("nodes.json")


def usual(name: str, *addresses: str) -> dict[str, Any]:
    """A node with all that is read."""
    return {
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {
                "karpenter.sh/capacity-type": "spot",
                "eks.amazonaws.com/capacityType": "SPOT",
                "rack": "é",
            },
        },
        "spec": {
            "providerID": f"aws:///eu-central-1a/i-{name}",
            "unschedulable": True,
            "taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}],
        },
        "status": {
            "addresses": [
                {"type": "Hostname", "address": name},
                *({"type": "InternalIP", "address": address} for address in addresses),
            ],
            "allocatable": {"pods": "110", "cpu": "2"},
            "capacity": {"pods": "250"},
            "conditions": [
                {"type": "DiskPressure", "status": "False"},
                {"type": "Ready", "status": "True"},
            ],
        },
    }


_LEAVES = usual("n1", "10.0.0.4")
_LEAVES["metadata"] |= {"labels": {"rack": None}, "deletionTimestamp": "2026-01-01T00:00:00Z"}
_LEAVES["spec"] = {"taints": [{"key": "other"}]}
LISTED = {
    "kind": "List",
    "metadata": {"resourceVersion": ""},
    "items": [usual("n2", "10.0.0.5", "FD00::5"), _LEAVES],
}


def carefully(content: bytes) -> Inventory | str:
    try:
        return parse_nodes(parse_json(_FILE, content, "list them"))
    except BadInputError as error:
        return str(error)


def by_types(content: bytes) -> Inventory | None:
    try:
        return parse_usual_nodes(content)
    except UnlikeError:
        return None


@given(spoilt(LISTED), st.booleans())
@example(LISTED | {"metadata": {"continue": "more"}}, True)
@example(LISTED | {"items": [usual("n1", "10.0.0.4"), usual("n1", "10.0.0.5")]}, True)
@example(LISTED | {"items": [usual("n1", "10.0.0.4"), usual("n2", "10.0.0.4")]}, True)
@settings(max_examples=examples(test=200, prove=4_000))
def test_what_is_read_by_types_is_what_is_read_with_care(document: object, escaped: bool) -> None:
    content = json.dumps(document, ensure_ascii=escaped).encode(errors="surrogatepass")
    found = by_types(content)
    assert found is None or found == carefully(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'\xef\xbb\xbf{"kind": "List", "items": []}',
        b'{"kind": "List", "items": [], "more": NaN}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_or_of_another_kind_is_left_to_care(content: bytes) -> None:
    assert by_types(content) is None


def test_a_usual_list_is_read_by_types(openb: Path) -> None:
    for content in (json.dumps(LISTED).encode(), (openb / "nodes.json").read_bytes()):
        found = by_types(content)
        assert found is not None
        assert found == carefully(content)
