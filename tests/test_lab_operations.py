"""A cluster through random failures and repairs: who can be reached is, and nothing leaks.

After every operation, each pod pings every other one that the route tables as they are and the
machines that are up allow it to reach, and no packet has crossed the VPC router twice. In the end
everything is healed, and then nothing is there but what the running pods need.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from ipam.errors import UnavailableError
from ipam.prefix import Family, Prefix, parse_address
from tests.counts import examples
from tests.labs import apply, lab
from tests.namespaces import eventually
from vpcrouter.cluster import Cluster
from vpcrouter.lab import machines, spaces
from vpcrouter.lab.lab import AGENT, LINK, NODE, STORE, Lab
from vpcrouter.lab.layout import ROUTER, Machine, Pod, Size
from vpcrouter.lab.pinger import Pair, lost

pytestmark = pytest.mark.usefixtures("root")

# Four entries for three zones with two nodes each: somebody forwards in most of them.
SIZE = Size(zones=3, nodes=2, pods=2, quota=6)
# Addresses of each zone's range that no pod ever has: the last ones of a block and of the range.
NOBODYS = ("100.64.0.63", "100.65.0.63", "100.66.0.63", "100.64.255.254", "100.65.255.254")
OPERATIONS = examples(test=34, prove=334)  # for each of three seeds
_MOST_BROKEN = 2
_SECONDS = 8.0  # for agents that have just started to catch up


class Operations:
    """What can happen to a lab, one thing after the other."""

    def __init__(self, one: Lab, chance: random.Random) -> None:
        self.one = one
        self.layout = one.record.layout
        self._chance = chance
        self.made: list[str] = []

    def next(self) -> None:
        """Anything that is possible now."""
        name, operation = self._chance.choice(sorted(self._possible(), key=lambda pair: pair[0]))
        self.made.append(name)
        operation()

    def _possible(self) -> Iterator[tuple[str, Callable[[], None]]]:
        record = self.one.record
        away = bool(record.broken(STORE))
        yield "apply", self._apply
        yield "apply again", self._apply
        for pod in self.layout.pods:
            if pod.machine.name not in record.broken(NODE):
                yield f"toggle {pod.name}", partial(self._toggle, pod)
        broken = sum(len(record.broken(kind)) for kind in (NODE, AGENT, LINK))
        for kind in (NODE, AGENT, LINK):
            for machine in self.layout.machines:
                name = machine.name
                if name in record.broken(kind):
                    yield f"heal {kind} {name}", partial(self.one.heal, kind, name)
                elif broken < _MOST_BROKEN and name not in record.broken(NODE):
                    yield f"break {kind} {name}", partial(self.one.break_, kind, name)
        if away:
            for weight in range(6):
                yield f"heal store {weight}", partial(self.one.heal, STORE)
        else:
            yield "break store", partial(self.one.break_, STORE)

    def _apply(self) -> None:
        if self.one.record.broken(STORE):
            with pytest.raises(UnavailableError):
                self.one.apply(apply)
        else:
            self.one.apply(apply)

    def _toggle(self, pod: Pod) -> None:
        record = self.one.record
        if machines.addresses(record, pod):
            self.one.stop_pod(pod)
        elif pod.machine.name in record.broken(AGENT):
            status, answer = machines.call(record, pod.machine, "ADD", pod)
            assert (status, answer["code"]) == (1, 11), answer
        else:
            self.one.start_pod(pod)

    def heal_all(self) -> None:
        """Everything is whole again, and every pod runs."""
        for kind in (STORE, NODE, LINK, AGENT):
            for name in sorted(self.one.record.broken(kind)):
                self.one.heal(kind, name)
        for pod in self.layout.pods:
            if not machines.addresses(self.one.record, pod):
                self.one.start_pod(pod)
        self.one.apply(apply)


def reachable(one: Lab) -> list[Pair]:
    """The pairs that tables and machines as they are must let reach each other."""
    cluster = Cluster.open(one.record.cluster_file)
    try:
        tables = {table.id: table.rows for table in cluster.fabric.read().tables}
    finally:
        cluster.close()
    names = {m.address(Family.IPV4): m.name for m in one.record.layout.machines}
    down = one.record.broken(NODE) | one.record.broken(LINK)

    def passes(source: Machine, target: Machine, address: str) -> bool:
        if source == target:
            return True
        if {source.name, target.name} & down:
            return False
        if source.zone == target.zone:
            return True
        number = parse_address(address)[1]
        found = [
            (row.destination.length, names[row.target])
            for row in tables[str(source.zone.table)]
            if isinstance(row.destination, Prefix) and row.destination.holds(number)
        ]
        return bool(found) and max(found)[1] not in down

    pods = [state for state in one.pods() if state.pod.machine.name not in one.record.broken(NODE)]
    return [
        Pair(source.pod.name, address)
        for source in pods
        if source.addresses
        for target in pods
        for address in target.addresses
        if source is not target
        and passes(source.pod.machine, target.pod.machine, address)
        and passes(target.pod.machine, source.pod.machine, source.addresses[0])
    ]


def check(one: Lab) -> None:
    pairs = reachable(one)
    off = one.record.broken(NODE)
    running = [s for s in one.pods() if s.addresses and s.pod.machine.name not in off]
    addresses = [address for state in running for address in state.addresses]
    assert len(set(addresses)) == len(addresses)
    with one.pinger(running) as pinger:
        deadline = time.monotonic() + _SECONDS
        while pairs := lost(pinger.ping(pairs, timeout=0.5)):
            assert time.monotonic() < deadline, pairs
        # What nobody has, or nobody who is up: whoever gets it refuses it.
        pinger.ping([Pair(s.pod.name, address) for s in running for address in NOBODYS], 0.1)
    assert one.crossings()[1] == 0


def needed_only(one: Lab) -> None:
    """There is what running pods need, and nothing else."""
    record = one.record
    for machine in record.layout.machines:
        running = [pod for pod in record.layout.pods_of(machine) if machines.addresses(record, pod)]
        wanted = len(running)
        eventually(partial(lambda of, n: pod_links(one, of) == n, machine, wanted))
        assert endpoints(record.node(machine) / "state" / "pods.sqlite") == len(running)
        assert pod_routes(one, machine) == sorted(
            f"{address}/32" for pod in running for address in machines.addresses(record, pod)
        )
        with spaces.kernel(record.space(machine.name)) as kernel:
            found = sorted(rule.get("priority") or 0 for rule in kernel.get_rules(family=2))
        assert found == [0, 1170, 1171, 32766, 32767]
    with spaces.kernel(record.space(ROUTER)) as kernel:
        own = sum(rule.get("iifname") is not None for rule in kernel.get_rules(family=2))
        ports = {link.get("ifname") for link in kernel.get_links()}
    assert own == SIZE.zones
    bridges = {zone.bridge for zone in record.layout.zones}
    assert ports == {"lo", *bridges, *(machine.name for machine in record.layout.machines)}
    check_entries(one)


def check_entries(one: Lab) -> None:
    """The kernel's entries are those that the store records as ours."""
    cluster = Cluster.open(one.record.cluster_file)
    try:
        recorded = {(r.table, r.destination, r.interface) for r in cluster.records().values()}
        present = {
            (table.id, row.destination, row.target)
            for table in cluster.fabric.read().tables
            for row in table.rows
        }
    finally:
        cluster.close()
    assert recorded == present


def pod_links(one: Lab, machine: Machine) -> int:
    with spaces.kernel(one.record.space(machine.name)) as kernel:
        return len({link.get("ifname") for link in kernel.get_links()} - {"lo", "uplink"})


def pod_routes(one: Lab, machine: Machine) -> list[str]:
    with spaces.kernel(one.record.space(machine.name)) as kernel:
        (uplink,) = kernel.link_lookup(ifname="uplink")
        return sorted(
            f"{route.get('dst')}/{route['dst_len']}"
            for route in kernel.get_routes(family=2, table=254)
            if route["dst_len"] == 32 and route.get("oif") != uplink
        )


def endpoints(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM endpoints").fetchone()[0])


def test_whatever_happens_pods_are_reached_and_nothing_leaks(seed: int, tmp_path: Path) -> None:
    with lab(SIZE, tmp_path) as one:
        operations = Operations(one, random.Random(seed))
        needed_only(one)
        for _ in range(OPERATIONS):
            operations.next()
            try:
                check(one)
            except AssertionError as error:
                raise AssertionError(operations.made) from error
        operations.heal_all()
        assert len(reachable(one)) == 12 * 11
        check(one)
        needed_only(one)
        for pod in one.record.layout.pods:
            one.stop_pod(pod)
        needed_only(one)
