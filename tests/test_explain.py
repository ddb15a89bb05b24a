"""What ``explain`` says of a packet is what happens to it in the working model of a VPC."""

from __future__ import annotations

import pytest
from hypothesis import given

from ipam.prefix import Family
from tests.snapshots import Shape, snapshots
from tests.strict_model import End, Vpc, Way
from vpcrouter.explain import Explainer, Outcome, Path, Place
from vpcrouter.model import Kind, Snapshot
from vpcrouter.reachability import violations

BROKEN = {End.NOT_PASSED_ON, End.STRAY, End.DOWN, End.STALE, End.LOOP}


def outcomes(way: Way, owed: bool) -> set[Outcome]:
    """What may be said of a packet; ``owed``: tables must reach the address."""
    if way.end is End.DELIVERED:
        return {Outcome.DIRECT if len(way.nodes) == 1 else Outcome.DETOUR}
    if way.end in BROKEN or (owed and way.end in (End.NO_ROUTE, End.FOREIGN)):
        return {Outcome.LOST}
    return {
        {
            End.OWNER_DOWN: Outcome.DOWN,
            End.NOBODYS: Outcome.REFUSED,
            End.NO_ROUTE: Outcome.OUTSIDE,
            End.FOREIGN: Outcome.FOREIGN,
        }[way.end]
    }


def stations(path: Path) -> list[str]:
    return [hop.name for hop in path.hops if hop.place is Place.NODE]


@given(snapshots())
def test_packets_fare_as_explained(snapshot: Snapshot) -> None:
    vpc, explainer = Vpc(snapshot), Explainer(snapshot)
    trees = [tree for found in vpc.trees.values() for tree in found]
    for family, address in vpc.samples():
        story = explainer.address(family, address, snapshot.subnets)
        owed = any(tree.family is family and tree.holds(address) for tree in trees)
        explained = {source: path for path in story.paths for source in path.sources}
        assert set(explained) == {subnet.id for subnet in snapshot.subnets}
        for source, path in explained.items():
            if source == story.subnet and story.owner is not None:
                assert path.outcome in (Outcome.LOCAL, Outcome.DOWN)
                assert stations(path) == [story.owner]
                continue
            way = vpc.send(path.table, family, address)
            assert path.outcome in outcomes(way, owed), (way, path)
            if path.outcome in (Outcome.DIRECT, Outcome.DETOUR, Outcome.REFUSED):
                assert stations(path) == list(way.nodes)


@given(snapshots())
def test_what_is_lost_names_the_promise_that_is_broken(snapshot: Snapshot) -> None:
    vpc, explainer = Vpc(snapshot), Explainer(snapshot)
    broken = {
        table.id
        for table in snapshot.route_tables
        if violations(snapshot, table, table.entries, ())
    }
    for family, address in vpc.samples():
        for path in explainer.address(family, address, snapshot.subnets).paths:
            if path.outcome is Outcome.LOST:
                assert path.hops[-1].rule in ("R1", "R2")
                assert path.table in broken


@given(snapshots())
def test_what_nodes_do_is_marked_as_assumed(snapshot: Snapshot) -> None:
    vpc, explainer = Vpc(snapshot), Explainer(snapshot)
    for family, address in vpc.samples():
        for path in explainer.address(family, address, snapshot.subnets).paths:
            for hop in path.hops[:-1]:
                assert hop.assumed == (hop.place is not Place.TABLE)
            assert path.hops[-1].assumed == (path.outcome is Outcome.REFUSED)


@given(snapshots())
def test_a_node_is_reached_by_what_catches_its_blocks(snapshot: Snapshot) -> None:
    explainer = Explainer(snapshot)
    for node in snapshot.nodes:
        story = explainer.node(node, snapshot.route_tables)
        for table, told in zip(snapshot.route_tables, story.tables, strict=True):
            destinations = {entry.destination for entry in table.entries}
            assert {way.destination for way in told.reached} <= destinations
            assert {entry.interface for entry in told.entries} <= {node.interface}
            if not told.missed:
                for block in story.blocks:
                    assert any(way.destination.overlaps(block.prefix) for way in told.reached)


@pytest.mark.parametrize("family", list(Family))
@given(snapshot=snapshots(Shape(entries=("former",), foreign=False)))
def test_a_prefix_is_caught_by_the_entry_around_it(snapshot: Snapshot, family: Family) -> None:
    explainer = Explainer(snapshot)
    for block in snapshot.blocks[family].prefixes():
        for told in explainer.prefix(block, snapshot.route_tables).tables:
            if told.entry is not None:
                assert told.entry.destination.contains(block)
                assert sum(blocks for _, blocks in told.owners) == told.entry.blocks
                if told.entry.kind is Kind.DIRECT:
                    assert {name for name, _ in told.owners} <= {told.entry.node}
