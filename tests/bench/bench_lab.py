"""A cluster in namespaces: how long it takes to come up, to be pinged through, to be repaired;
and what a forwarder costs TCP beside the same hops with static routes alone.

Throughput is counted both ways at once, by the seconds that the same bytes take, in turns on the
two ways, so that whatever else the machine does weighs on both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ipam.prefix import Family
from tests.bench.figures import Figure
from tests.labs import NAME, apply, lab
from vpcrouter.lab import network, spaces
from vpcrouter.lab.lab import NODE, Lab, remove
from vpcrouter.lab.layout import ROUTER, Machine, Size
from vpcrouter.lab.pinger import lost
from vpcrouter.lab.record import Record
from vpcrouter.lab.repair import repair
from vpcrouter.lab.tour import find_way
from vpcrouter.lab.trace import trace

_LARGE = Size(zones=3, nodes=8, pods=4, quota=12)
_SMALL = Size(zones=2, nodes=3, pods=1, quota=6)
_HOST_ROUTES = 5_000
_BYTES = 60_000_000  # each way
_TURNS = 41
_STRAIGHT = ("node", "router", "node", "pod")
_LEAST_SHARE = 0.9
_ADDRESS = "100.64.255.254"  # of nobody in the other cluster


def figures() -> Iterator[Figure]:
    """The cluster of the tour, then TCP."""
    if os.geteuid() != 0:
        print("left out: the lab needs root")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from _cluster(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _throughput(Path(folder))


def _cluster(folder: Path) -> Iterator[Figure]:
    begin = time.monotonic()
    with lab(_LARGE, folder) as one:
        pods = len(one.record.layout.pods)
        yield Figure(f"lab up, 24 nodes with {pods} pods", time.monotonic() - begin, "s")
        begin = time.monotonic()
        answers = one.ping_all()
        yield Figure(f"{len(answers):,} pings between all pods", time.monotonic() - begin, "s")
        yield Figure("pings lost between all pods", len(lost(answers)), "", 0)
        one.break_(NODE, find_way(one).forwarder)
        done = repair(one, lambda: one.apply(apply))
        yield Figure("forwarder killed: pairs of node and pod behind it", done.behind, "")
        yield Figure("one apply", done.took, "s")
        yield Figure("all of them reached again after", done.seconds or 0.0, "s")
        yield Figure("of them still not reached", done.left, "", 0)
        yield Figure("pings lost by others meanwhile", done.others_lost, "", 0)
        yield Figure("packets that crossed the VPC router twice", one.crossings()[1], "", 0)


@dataclass(frozen=True, slots=True)
class _Way:
    """Two namespaces with an address each."""

    client: Path
    server: Path
    address: str


def _throughput(folder: Path) -> Iterator[Figure]:
    with lab(_SMALL, folder / "lab") as one, _static(folder / "static") as plain:
        forwarded = _forwarded(one)
        ratios, plain_times = [], []
        for _ in range(_TURNS):
            plain_times.append(_transfer(plain))
            ratios.append(_transfer(forwarded) / plain_times[-1])
        megabits = 2 * _BYTES * 8 / statistics.median(plain_times) / 1e6
        yield Figure("TCP both ways over static routes alone", megabits, "Mbit/s")
        yield Figure(
            "time for the same bytes through a forwarder, over that",
            statistics.median(ratios),
            "times",
            1 / _LEAST_SHARE,
        )


def _forwarded(one: Lab) -> _Way:
    """A way over a forwarder with many host routes, which drops what it takes for invalid."""
    way = find_way(one)
    space = one.record.space(way.forwarder)
    zone = one.record.layout.machine(way.forwarder).zone
    other = next(
        m for m in one.record.layout.machines if m.zone == zone and m.name != way.forwarder
    )
    via = other.address(Family.IPV4)
    routes = "".join(
        f"route add 172.{16 + n // 4096}.{n // 16 % 256}.{n % 16 * 16}/28 via {via}\n"
        for n in range(_HOST_ROUTES)
    )
    _run(space, ("ip", "-batch", "-"), routes)
    rules = (
        "add table inet strict\n"
        "add chain inet strict forward { type filter hook forward priority 0; }\n"
        "add rule inet strict forward ct state invalid drop\n"
        "add table ip other\n"
        "add chain ip other leaving { type nat hook postrouting priority 100; }\n"
        "add rule ip other leaving ip daddr != 100.64.0.0/14 masquerade\n"
    )
    _run(space, ("nft", "-f", "-"), rules)
    addresses = {state.pod.name: state.addresses[0] for state in one.pods()}
    server = one.record.space(way.target)
    first = one.record.layout.zones[0].name
    # Back it goes straight to the owner, as over the static routes.
    client = next(
        name
        for name, address in addresses.items()
        if name.startswith(first) and len(trace(server, address)) == len(_STRAIGHT)
    )
    return _Way(one.record.space(client), server, addresses[way.target])


@contextmanager
def _static(folder: Path) -> Iterator[_Way]:
    """The same hops, over static routes: node, router, a node that passes on, node."""
    name = f"{NAME}s"
    made = Lab.begin(name, _SMALL, folder)
    try:
        record = made.record
        for space in record.layout.spaces():
            spaces.make(record.space(space))
        network.make_router(record)
        sender, forwarder, owner = (record.layout.machine(n) for n in ("a1", "b1", "b2"))
        for machine in (sender, forwarder, owner):
            network.connect(record, machine)
            _run(record.space(machine.name), ("sysctl", "-qw", "net.ipv4.ip_forward=1"))
        addresses = {sender: "100.64.0.1", owner: _ADDRESS}
        for machine, address in addresses.items():
            _pod(record, machine, address)
        _ip(record, ROUTER, f"route add {_ADDRESS} via {forwarder.address(Family.IPV4)}")
        _ip(record, ROUTER, f"route add 100.64.0.1 via {sender.address(Family.IPV4)}")
        _ip(record, forwarder.name, f"route add {_ADDRESS} via {owner.address(Family.IPV4)}")
        yield _Way(record.space("a1-p1"), record.space("b2-p1"), _ADDRESS)
    finally:
        remove(name, folder)


def _pod(record: Record, machine: Machine, address: str) -> None:
    pod = f"{machine.name}-p1"
    with spaces.kernel(record.space(machine.name)) as kernel, record.space(pod).open() as there:
        peer = {"ifname": "eth0", "net_ns_fd": there.fileno()}
        kernel.link("add", ifname="pod", kind="veth", peer=peer, state="up")
    _ip(record, pod, f"addr add {address}/32 dev eth0")
    _ip(record, pod, "link set eth0 up")
    _ip(record, pod, "route add 169.254.1.1 dev eth0")
    _ip(record, pod, "route add default via 169.254.1.1")
    _ip(record, machine.name, "addr add 169.254.1.1/32 dev pod")
    _ip(record, machine.name, f"route add {address} dev pod")


_ENDS = """
import socket, sys, threading, time
address, count, role = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if role == "server":
    listener = socket.create_server((address, 5201))
    print(flush=True)
    end, _ = listener.accept()
else:
    end = socket.create_connection((address, 5201), 10)
begin = time.perf_counter()
def send():
    piece, left = bytes(1 << 18), count
    while left > 0:
        left -= end.send(piece[:left])
thread = threading.Thread(target=send)
thread.start()
space, left = bytearray(1 << 18), count
while left > 0:
    got = end.recv_into(space)
    assert got
    left -= got
thread.join()
print(time.perf_counter() - begin)
"""


def _transfer(way: _Way) -> float:
    """The seconds in which the same number of bytes goes each way at once."""
    count = str(_BYTES)

    def command(space: Path, role: str) -> list[str]:
        python = [sys.executable, "-c", _ENDS, way.address, count, role]
        return ["nsenter", f"--net={space}", *python]

    with subprocess.Popen(command(way.server, "server"), stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        client = subprocess.run(
            command(way.client, "client"), capture_output=True, text=True, check=True, timeout=120
        )
        server.wait(120)
    return float(client.stdout)


def _ip(record: Record, space: str, command: str) -> None:
    _run(record.space(space), ("ip", *command.split()))


def _run(space: Path, command: tuple[str, ...], stdin: str = "") -> None:
    subprocess.run(("nsenter", f"--net={space}", *command), input=stdin, text=True, check=True)
