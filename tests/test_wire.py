"""Snapshot files: what is written is read back, and any order of the content gives one text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from tests.snapshots import snapshots
from vpcrouter.model import Snapshot
from vpcrouter.wire import dump_snapshot, parse_snapshot

EXAMPLE = """
{"version": 1,
 "subnets": [{"id": "s1", "zone": "a", "route_table": "t1", "prefixes": ["100.64.0.0/12"]}],
 "nodes":   [{"name": "n1", "subnet": "s1", "interface": "eni-1",
              "addresses": {"ipv4": "10.0.0.4"}}],
 "blocks":  [{"cidr": "100.64.0.0/24", "node": "n1"}],
 "route_tables": [{"id": "t1", "limit": {"ipv4": 46}, "budget": {"ipv4": 44}}]}
"""


def shuffled(value: Any, random: Random) -> Any:
    """The same content with every list and every object in another order."""
    if isinstance(value, list):
        return [shuffled(item, random) for item in random.sample(value, len(value))]
    if isinstance(value, dict):
        keys = random.sample(list(value), len(value))
        return {key: shuffled(value[key], random) for key in keys}
    return value


@given(snapshots())
def test_what_is_written_is_read_back(snapshot: Snapshot) -> None:
    text = dump_snapshot(snapshot)
    read = parse_snapshot(text, "file")
    assert read.nodes == snapshot.nodes
    assert read.blocks == snapshot.blocks
    assert dump_snapshot(read) == text
    assert parse_snapshot(text, "file") == read


def test_blocks_to_come_are_read_back_and_left_out_where_there_are_none() -> None:
    snapshot = parse_snapshot(EXAMPLE, "file")
    assert "coming" not in dump_snapshot(snapshot)
    coming = (Prefix.parse("100.64.1.0/24"), Prefix.parse("100.64.2.0/24"))
    text = dump_snapshot(replace(snapshot, coming=coming))
    assert parse_snapshot(text, "file").coming == coming
    assert parse_snapshot(text.replace("1.0/24", "2.0/24", 1), "file").coming == coming[1:]
    with pytest.raises(BadInputError, match=re.escape("coming[0]")):
        parse_snapshot(text.replace("100.64.1.0/24", "100.64.1.1/24"), "file")


@given(snapshots(), st.integers(0, 2**32))
def test_any_order_of_the_same_content_gives_the_same_bytes(snapshot: Snapshot, seed: int) -> None:
    text = dump_snapshot(snapshot)
    other = json.dumps(shuffled(json.loads(text), Random(seed)), indent=3)
    assert dump_snapshot(parse_snapshot(other, "file")) == text
    assert parse_snapshot(other, "file") == parse_snapshot(text, "file")


@given(snapshots())
def test_values_in_any_order_give_the_same_bytes(snapshot: Snapshot) -> None:
    subnets = [replace(one, prefixes=one.prefixes[::-1]) for one in snapshot.subnets]
    tables = [
        replace(one, entries=one.entries[::-1], foreign=one.foreign[::-1])
        for one in snapshot.route_tables
    ]
    turned = replace(snapshot, subnets=tuple(subnets), route_tables=tuple(tables))
    assert dump_snapshot(turned) == dump_snapshot(snapshot)


def test_optional_fields_have_the_defaults_of_the_format() -> None:
    snapshot = parse_snapshot(EXAMPLE, "file")
    (node,) = snapshot.nodes
    (table,) = snapshot.route_tables
    assert (node.capacity, node.healthy, node.forwards, node.avoid) == (1.0, True, True, False)
    assert list(snapshot.blocks[Family.IPV4].weight) == [1.0]
    assert (table.own_subnet_weight, table.entries, table.foreign) == (1.0, (), ())
    assert table.limit == {Family.IPV4: 46, Family.IPV6: 0}


@pytest.mark.parametrize(
    "edit",
    [
        lambda doc: doc["nodes"][0].update(capacity=1, healthy=True, forwards=True, avoid=False),
        lambda doc: doc["blocks"][0].update(weight=1),
        lambda doc: doc["route_tables"][0].update(entries=[], foreign=[], own_subnet_weight=1),
        lambda doc: doc["route_tables"][0]["limit"].update(ipv6=0),
        lambda doc: doc["subnets"][0].update(prefixes=["100.64.0.0/12", "100.64.0.0/12"]),
    ],
)
def test_defaults_written_out_are_the_same_content(edit: Callable[[Any], None]) -> None:
    document = json.loads(EXAMPLE)
    edit(document)
    plain = dump_snapshot(parse_snapshot(EXAMPLE, "file"))
    assert dump_snapshot(parse_snapshot(json.dumps(document), "file")) == plain


def test_negative_zero_is_zero() -> None:
    texts = [
        EXAMPLE.replace('"node": "n1"', f'"node": "n1", "weight": {zero}') for zero in ("-0.0", "0")
    ]
    one, other = (dump_snapshot(parse_snapshot(text, "file")) for text in texts)
    assert one == other


def test_two_spellings_of_an_ipv6_address_are_the_same_content() -> None:
    spellings = ["fd00::4", "FD00:0:0::0004"]
    texts = [
        EXAMPLE.replace('"ipv4": "10.0.0.4"', f'"ipv6": "{spelling}"') for spelling in spellings
    ]
    one, other = (dump_snapshot(parse_snapshot(text, "file")) for text in texts)
    assert one == other


def test_every_object_takes_one_line_so_that_files_compare_line_by_line() -> None:
    lines = dump_snapshot(parse_snapshot(EXAMPLE, "file")).splitlines()
    assert '    {"cidr": "100.64.0.0/24", "node": "n1", "weight": 1.0}' in lines


def test_an_empty_cluster_is_well_formed() -> None:
    text = '{"version": 1, "subnets": [], "nodes": [], "blocks": [], "route_tables": []}'
    snapshot = parse_snapshot(text, "file")
    assert snapshot.nodes == ()
    assert parse_snapshot(dump_snapshot(snapshot), "file") == snapshot
