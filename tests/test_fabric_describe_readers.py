"""The two readers of a described VPC agree: the same values, or it is left to the careful one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError
from tests.counts import examples
from tests.generators import spoilt
from tests.vpcs import vpc_document
from vpcrouter.fabric.describe import parse_describe, parse_usual_describe
from vpcrouter.fabric.port import Observation
from vpcrouter.jsonfile import UnlikeError, parse_json

_FILE = Path("aws.json")


def described() -> dict[str, Any]:
    """A VPC with everything that is read about interfaces and instances."""
    document = vpc_document()
    document["NetworkInterfaces"][0] |= {
        "PrivateIpAddresses": [
            {"PrivateIpAddress": "10.0.0.77", "Primary": False},
            {"PrivateIpAddress": "10.0.0.4", "Primary": True},
        ],
        "Ipv6Addresses": [{"Ipv6Address": "2001:DB8:0:0::4"}],
    }
    document["NetworkInterfaces"][1]["Attachment"] |= {"DeviceIndex": 1, "Status": "detaching"}
    document["Reservations"][0]["Instances"][0]["Tags"] = [
        {"Key": "Name", "Value": "n1"},
        {"Key": "spot", "Value": ""},
    ]
    return document


def only_machines(document: dict[str, Any]) -> st.SearchStrategy[object]:
    """The document with spoilt interfaces or instances, and all else as it was."""
    parts = ("NetworkInterfaces", "Reservations")
    return st.sampled_from(parts).flatmap(
        lambda part: spoilt(document[part]).map(lambda value: {**document, part: value})
    )


def carefully(content: bytes) -> Observation | str:
    try:
        return parse_describe(parse_json(_FILE, content, "describe it"), None)
    except BadInputError as error:
        return str(error)


def by_types(content: bytes) -> Observation | None:
    try:
        return parse_usual_describe(_FILE, content, None)
    except UnlikeError:
        return None


@given(st.one_of(spoilt(described()), only_machines(described())), st.booleans())
@settings(max_examples=examples(test=200, prove=4_000))
def test_what_is_read_by_types_is_what_is_read_with_care(document: object, escaped: bool) -> None:
    content = json.dumps(document, ensure_ascii=escaped).encode(errors="surrogatepass")
    found = by_types(content)
    assert found is None or found == carefully(content)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'\xef\xbb\xbf{"Vpcs": []}'])
def test_what_is_no_json_or_of_another_kind_is_left_to_care(content: bytes) -> None:
    assert by_types(content) is None


def test_a_usual_file_is_read_by_types(openb: Path) -> None:
    for content in (json.dumps(described()).encode(), (openb / "aws.json").read_bytes()):
        found = by_types(content)
        assert found is not None
        assert found == carefully(content)


def test_of_several_vpcs_the_one_with_interfaces_is_taken() -> None:
    document = described()
    document["Vpcs"].append({"VpcId": "vpc-2", "CidrBlock": "10.9.0.0/16"})
    found = by_types(json.dumps(document).encode())
    assert found == carefully(json.dumps(document).encode())
    assert found is not None
