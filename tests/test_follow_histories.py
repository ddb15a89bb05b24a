"""Random histories under the loop, with faults at every call: promises hold, and all ends well."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs

from ipam.prefix import Family, Prefix
from ipam.store.memory import MemoryStore
from tests.counts import examples
from tests.test_inventory import node
from tests.weather import OLDEST_SECONDS, Judge, Rows, StormyFabric, Weather
from vpcrouter.cluster import Cluster
from vpcrouter.config import load_cluster
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import (
    InstanceState,
    NetworkInterface,
    Observation,
    Origin,
    Row,
    Table,
    VpcSubnet,
)
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import MemoryStorage
from vpcrouter.model import Plan, Snapshot
from vpcrouter.ownership import Stage
from vpcrouter.planner import plan
from vpcrouter.reachability import violations
from vpcrouter.reconcile import Loop, NodeListChanges, Timing, Together, Urgency
from vpcrouter.reconcile.following import Following
from vpcrouter.service import alone

STORM_SECONDS = 300.0
CALM_SECONDS = 700.0
PODS = Prefix.parse("100.64.0.0/18")
OTHERS = "eni-others"
CLUSTER = """\
version: 1
cluster: test
networks: [{name: pods, cidrs: [100.64.0.0/18]}]
fabric: {kind: simulated, describe: aws.json}
nodes: {kubernetes: nodes.json}
store: test.db
"""


class History:
    """One cluster, its weather, and what happens to it; everything follows from the seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.clock = SimulatedClock()
        self.folder = folder
        self.zones = "abc"[: self.random.randint(1, 3)]
        self.nodes: dict[str, dict[str, Any]] = {}
        self.number = 0
        self.quota = self.random.randint(12, 24)
        lag = self.random.choice([0.0, 5.0, 60.0])
        self.vpc = SimulatedVpc(
            self._start(), MemoryStorage(), self.clock, Behaviour(lag=lag, bucket=200)
        )
        for zone in self.zones:
            for _ in range(self.random.randint(1, 4)):
                self.join(zone)
        weather = Weather(self.random, self.random.choice([0.0, 0.1, 0.3]))
        self.weather = weather
        self.following = Following(0.05)
        self.judge = Judge(self.rows, self.clock.now, lambda _: False, lag + OLDEST_SECONDS + 130.0)
        (folder / "cluster.yaml").write_text(CLUSTER)
        self.write_nodes()
        fabric = StormyFabric(self.vpc, weather, self.judge, self.clock)
        file = load_cluster(folder / "cluster.yaml")
        self.cluster = Cluster(file, MemoryStore(), fabric, self.clock)
        signals = Together([self, NodeListChanges(file.nodes)])
        self.loop = Loop(self.cluster, alone(self.clock), self.plan, signals, Timing(poll=1.0))
        moments = sorted(self.random.uniform(0, STORM_SECONDS) for _ in range(12))
        self.moments = [moment for moment in moments if self.random.random() < 0.8]

    def _start(self) -> Observation:
        local = Prefix.parse("10.0.0.0/16")
        rows = (Row(local, "local", to_interface=False, origin=Origin.LOCAL),)
        others = NetworkInterface(OTHERS, "subnet-a", {}, "i-others", 0, source_dest_check=False)
        return Observation(
            vpc="vpc-1",
            local=(local,),
            subnets=tuple(VpcSubnet(f"subnet-{z}", z, (), f"rtb-{z}") for z in self.zones),
            tables=tuple(Table(f"rtb-{zone}", rows) for zone in self.zones),
            interfaces=(others,),
            instances={"i-others": InstanceState.RUNNING},
            quota=dict.fromkeys(Family, self.quota),
        )

    def plan(self, snapshot: Snapshot) -> Plan:
        before = self.following.followed
        made = self.following(snapshot)
        if self.following.followed > before:
            self.judge.followed(snapshot, made, plan(snapshot, 0.05))
        self.judge.planned(snapshot, made)
        return made

    def rows(self) -> Rows:
        changes = self.vpc._storage.load()
        return {
            f"rtb-{zone}": {
                row.destination: row.target
                for row in self.vpc._rows(f"rtb-{zone}", changes).values()
                if isinstance(row.destination, Prefix) and row.to_interface
            }
            for zone in self.zones
        }

    # What happens.

    def poll(self) -> Urgency:
        """As time passes."""
        while self.moments and self.moments[0] <= self.clock.now():
            self.moments.pop(0)
            self.random.choice(EVENTS)(self)
        return Urgency.NOTHING

    def write_nodes(self) -> None:
        text = json.dumps({"kind": "List", "items": list(self.nodes.values())})
        (self.folder / "nodes.json").write_text(text)

    def somebody(self) -> str | None:
        return self.random.choice(sorted(self.nodes)) if self.nodes else None

    def ready(self, name: str, *, ready: bool) -> None:
        status = "True" if ready else "Unknown"
        self.nodes[name]["status"]["conditions"] = [{"type": "Ready", "status": status}]
        self.write_nodes()

    def join(self, zone: str) -> None:
        self.number += 1
        name = f"{zone}{self.number}"
        address = f"10.0.{self.number // 200}.{self.number % 200 + 4}"
        self.nodes[name] = node(name, address)
        self.vpc.put_interface(_interface(f"eni-{name}", zone, address, f"i-{name}"))
        self.vpc.put_instance(f"i-{name}", InstanceState.RUNNING)

    def joins(self) -> None:
        self.join(self.random.choice(self.zones))
        self.write_nodes()

    def hangs(self) -> None:
        """Its instance runs for the cloud, and never shows as a blackhole."""
        if name := self.somebody():
            self.ready(name, ready=False)

    def recovers(self) -> None:
        for name in sorted(self.nodes):
            self.ready(name, ready=True)

    def is_terminated(self) -> None:
        if name := self.somebody():
            del self.nodes[name]
            self.vpc.put_instance(f"i-{name}", InstanceState.TERMINATED)
            for interface in self.vpc.describe().interfaces:
                if interface.instance == f"i-{name}":
                    self.vpc.remove_interface(interface.id)
            self.write_nodes()

    def gets_another_interface(self) -> None:
        """With the same address."""
        if name := self.somebody():
            for old in self.vpc.describe().interfaces:
                if old.instance == f"i-{name}":
                    self.number += 1
                    self.vpc.remove_interface(old.id)
                    new = structs.replace(
                        old, id=f"eni-{name}-{self.number}", source_dest_check=True
                    )
                    self.vpc.put_interface(new)
                    break

    def quota_changes(self) -> None:
        self.vpc.set_quota(Family.IPV4, self.random.randint(4, self.quota))

    def check_is_switched_on(self) -> None:
        interfaces = [i.id for i in self.vpc.describe().interfaces if i.id != OTHERS]
        if interfaces:
            self._others(lambda: self.vpc.modify_source_dest_check(interfaces[0], on=True))

    def others_change_ours(self) -> None:
        table = f"rtb-{self.random.choice(self.zones)}"
        mine = [d for d in self.rows()[table] if (table, d) not in self.judge.theirs]
        if mine:
            destination = self.random.choice(sorted(mine))
            self.judge.meddle(table, destination)
            if self.random.random() < 0.5:
                self._others(lambda: self.vpc.delete_route(table, str(destination)))
            else:
                self._others(lambda: self.vpc.replace_route(table, str(destination), OTHERS))

    def others_make_theirs(self) -> None:
        table = f"rtb-{self.random.choice(self.zones)}"
        length = self.random.randint(17, 26)
        value = PODS.value + self.random.randrange(1 << (length - 10)) * (1 << (32 - length))
        destination = Prefix(PODS.family, value & ~((1 << (32 - length)) - 1), length)
        if (table, destination) in self.cluster.records() or destination in self.rows()[table]:
            return

        def make() -> None:
            self.vpc.create_route(table, str(destination), OTHERS)
            self.judge.theirs.add((table, destination))

        self.judge.meddle(table, destination)
        self._others(make)

    def others_remove_theirs(self) -> None:
        for table, destination in sorted(self.judge.theirs):
            if destination in self.rows()[table]:
                self.judge.meddle(table, destination)
                self._others(partial(self.vpc.delete_route, table, str(destination)))
                self.judge.theirs.discard((table, destination))
                return

    def _others(self, change: Callable[[], object]) -> None:
        with suppress(Ec2Error):  # the table is full, for example
            change()

    def list_is_damaged(self) -> None:
        (self.folder / "nodes.json").write_text(self.random.choice(["", "{", '{"kind":"List"}']))
        self.moments.insert(0, self.clock.now() + 20.0)
        self.moments.sort()

    def calm(self) -> None:
        """Faults and events stop; what is broken stays so, but for a damaged list."""
        self.weather.rate = 0.0
        self.moments.clear()
        self.write_nodes()

    # Running it.

    def run(self, seconds: float) -> None:
        end = self.clock.now() + seconds
        for _ in self.loop.run(lambda: self.clock.now() >= end):
            pass

    def check_settled(self) -> None:
        view = self.cluster.joined()
        snapshot = view.snapshot
        made = plan(snapshot, 0.05)
        assert not any(table.steps for table in made.tables), "does not converge"
        off = {i.id for i in view.observation.interfaces if not i.source_dest_check}
        owners = {snapshot.nodes[i].interface for c in snapshot.blocks.values() for i in c.node}
        there = {i.id for i in view.observation.interfaces}
        assert owners & there <= off
        for table, wanted in zip(snapshot.route_tables, made.tables, strict=True):
            held = {entry.destination: entry.interface for entry in table.entries}
            if held == {e.destination: e.interface for e in wanted.entries}:
                broken = violations(snapshot, table, table.entries, wanted.unserved)
                # Entries of what cannot be served stay, also where the quota is below them, and so
                # does everything where no node is left.
                kept = {"R6"} if wanted.unserved else set()
                assert not snapshot.nodes or {each.rule for each in broken} <= kept
        records = self.cluster.records()
        ours = {key for key, record in records.items() if record.stage is Stage.DONE}
        rows = self.rows()
        # What others changed while the outcome of our call was open counts as theirs.
        left: set[tuple[str, Prefix]] = {
            (t, d) for t in rows for d, hop in rows[t].items() if hop != OTHERS
        }
        assert left <= ours, "a row of ours that nothing says is ours"
        assert all(rows[t][d] == OTHERS for t, d in self.judge.theirs)


def _interface(name: str, zone: str, address: str, instance: str) -> NetworkInterface:
    addresses = {Family.IPV4: (address,)}
    return NetworkInterface(name, f"subnet-{zone}", addresses, instance, 0, source_dest_check=True)


EVENTS: tuple[Callable[[History], None], ...] = (
    History.joins,
    History.joins,
    History.hangs,
    History.hangs,
    History.recovers,
    History.is_terminated,
    History.gets_another_interface,
    History.quota_changes,
    History.check_is_switched_on,
    History.others_change_ours,
    History.others_make_theirs,
    History.others_remove_theirs,
    History.list_is_damaged,
)

_BATCHES = 10

_UNKNOWN_AND_OLD = (
    10_000_038,
    17_000_012,
    18_000_006,
    21_000_029,
    27_000_023,
    7_706_923_000_043,
)
"""Calls of unknown outcome, and reads after them that are from before: rare by chance."""


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_through_any_weather_promises_hold_and_all_ends_well(
    tmp_path: Path, batch: int, seed: int
) -> None:
    count = examples(test=4, prove=70)
    for number in range(count):
        check(tmp_path, (seed * _BATCHES + batch) * 1_000_000 + number)


@pytest.mark.parametrize("which", _UNKNOWN_AND_OLD)
def test_an_old_read_proves_nothing_about_a_call_of_unknown_outcome(
    tmp_path: Path, which: int
) -> None:
    check(tmp_path, which)


def check(folder: Path, which: int) -> None:
    """Live through one history."""
    history = History(folder, which)
    try:
        history.run(STORM_SECONDS)
        history.calm()
        history.run(CALM_SECONDS)
        history.judge.close()
        history.check_settled()
        assert history.judge.retries <= history.weather.injected
    except AssertionError as error:
        raise AssertionError(f"history {which}: {error}") from error
