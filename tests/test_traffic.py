"""What present entries carry, compared with sending packets in the working model of a VPC."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given

from tests.snapshots import Shape, snapshots
from tests.strict_model import Vpc
from vpcrouter.model import Kind, Snapshot
from vpcrouter.traffic import Traffic

ROUNDING = 1e-9


@given(snapshots())
def test_loads_are_those_of_the_packets_sent(snapshot: Snapshot) -> None:
    vpc = Vpc(snapshot)
    for traffic in Traffic(snapshot).tables():
        sent = {key: float(load) for key, load in vpc.loads(traffic.table.id).items() if load}
        told = {(one.family, one.node.name): one.load for one in traffic.forwarding if one.load}
        assert told == pytest.approx(sent, abs=ROUNDING)


@given(snapshots())
def test_entries_and_what_no_entry_catches_make_up_all_weight(snapshot: Snapshot) -> None:
    vpc = Vpc(snapshot)
    for traffic in Traffic(snapshot).tables():
        weight = sum((w for _, w in vpc.weighted_blocks(traffic.table.id)), Fraction(0))
        caught = sum(entry.weight for entry in traffic.entries)
        assert traffic.weight == pytest.approx(float(weight), abs=ROUNDING)
        assert caught + traffic.missed_weight == pytest.approx(float(weight), abs=ROUNDING)
        assert traffic.detour_weight <= caught + ROUNDING


@given(snapshots())
def test_entry_loads_add_up_to_the_load_of_their_node(snapshot: Snapshot) -> None:
    for traffic in Traffic(snapshot).tables():
        for one in traffic.forwarding:
            parts = [
                entry.load
                for entry in traffic.entries
                if entry.node == one.node.name and entry.destination.family is one.family
            ]
            assert sum(parts) == pytest.approx(one.load, abs=ROUNDING)


@given(snapshots(Shape(entries=("former",), foreign=False)))
def test_a_direct_entry_carries_only_its_own_nodes_blocks(snapshot: Snapshot) -> None:
    for traffic in Traffic(snapshot).tables():
        for entry in traffic.entries:
            if entry.kind is Kind.DIRECT:
                assert entry.load == 0
