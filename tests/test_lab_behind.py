"""Who may not forward yet: its host routes do not reflect what it would have to forward for."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.reports import Report
from ipam.claims import Claims
from ipam.prefix import Family, Prefix
from ipam.store.sqlite import SqliteStore
from tests.labs import apply, forwarding, lab
from tests.namespaces import eventually
from vpcrouter.inventory import read_nodes
from vpcrouter.lab.behind import Owned, behind
from vpcrouter.lab.lab import Lab
from vpcrouter.lab.layout import Size
from vpcrouter.lab.pinger import lost

NAMES = tuple("abcdef")
SUBNETS = {name: "left" if name < "d" else "right" for name in NAMES}


def block(number: int) -> Prefix:
    return Prefix(Family.IPV4, (100 << 24) + (number << 6), 26)


def report(revision: int, *unrouted: Prefix) -> Report:
    return Report(revision, unrouted, {}, 60)


@st.composite
def owned(draw: st.DrawFn) -> list[Owned]:
    owners = draw(st.lists(st.sampled_from(NAMES), max_size=8))
    return [
        Owned(block(number), name, SUBNETS[name], draw(st.integers(1, 9)))
        for number, name in enumerate(owners)
    ]


REPORTS = st.dictionaries(
    st.sampled_from(NAMES),
    st.none()
    | st.builds(
        lambda revision, numbers: report(revision, *map(block, numbers)),
        st.integers(0, 9),
        st.lists(st.integers(0, 8), max_size=2),
    ),
)
ASKED = st.sets(st.sampled_from(NAMES)).map(lambda names: {n: SUBNETS[n] for n in names})


@given(owned(), REPORTS, ASKED)
def test_who_is_not_behind_has_a_route_to_every_block_that_it_might_catch(
    blocks: list[Owned], reports: Mapping[str, Report | None], asked: Mapping[str, str]
) -> None:
    lagging = behind(blocks, reports, asked)
    assert lagging.keys() <= asked.keys()
    for name in asked:
        said = reports.get(name)
        others = [o for o in blocks if o.node in asked and o.node != name]
        must_know = [o for o in others if o.subnet == SUBNETS[name]]
        knows = said is not None and all(
            o.revision <= said.revision and o.prefix not in said.unrouted for o in must_know
        )
        assert (name in lagging) == (bool(must_know) and not knows)


def test_why_is_said() -> None:
    blocks = [Owned(block(0), "a", "left", 3), Owned(block(1), "b", "left", 7)]
    asked = {"a": "left", "b": "left"}
    reports = {"a": report(5), "b": report(9, block(0))}
    assert behind(blocks, reports, asked) == {
        "a": "they reflect revision 5 of the store, and 100.0.0.64/26 of b is of revision 7",
        "b": "they lack 100.0.0.0/26 of a",
    }
    assert behind(blocks, {"a": None, "b": report(9)}, asked) == {
        "a": "its agent has not reported what they reflect"
    }
    assert behind(blocks, {"a": report(5)}, {"a": "left"}) == {}  # b is not up: nothing to know


# With real agents.

SIZE = Size(zones=2, nodes=3, pods=1, quota=6)


@pytest.fixture
def one(root: None, tmp_path: Path) -> Iterator[Lab]:  # noqa: ARG001
    with lab(SIZE, tmp_path) as made:
        yield made


def agent(one: Lab, name: str) -> int:
    return int((one.record.node(one.record.layout.machine(name)) / "agent.pid").read_text())


@contextmanager
def hanging(one: Lab, *names: str) -> Iterator[None]:
    """Their agents hang, yet none in the midst of a write, which would lock the store."""
    pids = [agent(one, name) for name in names]
    for _ in range(20):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        if can_write(one.record.store):
            break
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    else:
        pytest.fail("the agents never stop writing")
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def can_write(store: Path) -> bool:
    with closing(sqlite3.connect(store, timeout=0.5, isolation_level=None)) as base:
        try:
            base.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


def test_a_node_forwards_only_once_it_has_said_that_it_knows(one: Lab) -> None:
    """Its agent hangs while a neighbour gets a block: alive, and yet it does not know of that.

    The neighbour's agent hangs too, or it might take back what is claimed here in its name.
    """
    layout = one.record.layout
    zone = layout.zones[1]
    name = forwarding(one, zone)[0]
    neighbour = next(m for m in layout.machines if m.zone == zone and m.name != name)
    with hanging(one, name, neighbour.name):
        store = SqliteStore(one.record.store)
        claims = Claims(store, neighbour.name, neighbour.uid)
        had = len(claims.granted().blocks)
        claims.claim({Family.IPV4: had + 1})
        health = one.apply(apply)
        assert len(claims.granted().blocks) == had + 1
        store.close()
        assert name in health.served
        assert set(health.behind) == {name}
        assert re.search(r"revision \d+ of the store, and .* of revision", health.behind[name])
        assert name not in forwarding(one, zone)
        assert lost(one.ping_all()) == []
    eventually(lambda: one.apply(apply).behind == {})
    (node,) = [n for n in read_nodes(one.record.node_list).nodes if n.name == name]
    assert not node.avoid
