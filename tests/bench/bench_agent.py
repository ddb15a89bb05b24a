"""An agent under load: many pods by many callers, a start with many pods, thousands of routes."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from cni.hostroutes import PROTOCOL
from cni.surroundings import agent_key, dump_uplinks
from ipam.model import Claim, Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.port import Delete, Put
from ipam.store.sqlite import SqliteStore
from tests.bench.figures import Figure
from tests.cni_nodes import BUDGET, Node, addresses_of, give_uplink, running
from tests.cni_spaces import light_namespaces
from tests.namespaces import namespaces

NETWORK = Network("pods", (Prefix.parse("10.0.0.0/8"),), {Family.IPV4: 26}, {Family.IPV4: 24})
PODS = 1000
STANDING = 250
CALLERS = 16
NEIGHBOURS = 5000
AT_START = 2000
_PATIENCE = 60.0


def figures() -> Iterator[Figure]:
    """Needs root and nft; says so where one is missing."""
    if os.geteuid() != 0:
        print("left out: needs root")
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (space,) = stack.enter_context(namespaces(1))
        give_uplink(space)
        with space.kernel() as kernel:
            index = kernel.link_lookup(ifname="uplink")[0]
            kernel.addr("add", index=index, address="172.16.0.10", prefixlen=16)
        store = SqliteStore(folder / "store")
        stack.callback(store.close)
        owners = Addresses(store, "bench", [NETWORK])
        join(owners, ["node-1"])
        owners.grow("node-1", PODS // 64 + 2, BUDGET)
        spaces = stack.enter_context(light_namespaces(PODS))
        node = Node("node-1", space, folder, folder / "store")
        with running(node):
            yield from many_pods(node, spaces)
            names = [f"neighbour-{number}" for number in range(NEIGHBOURS)]
            join(owners, names)
            say(store, names[:AT_START])
            wait(lambda: count_routes(node) == AT_START)
        yield from start(node)
        with running(node):
            yield from more_routes(node, store, owners, names)


def join(owners: Addresses, names: list[str]) -> None:
    claims = [Claim(name, "subnet-1", f"i-{name}") for name in names]
    assert not owners.join(claims, BUDGET).refused


def say(store: SqliteStore, names: list[str]) -> None:
    """What the neighbours' agents write: each has an address on the uplink."""
    first = 0xAC100000  # 172.16.0.0
    puts = []
    for name in names:
        number = int(name.rpartition("-")[2])
        value = dump_uplinks(f"i-{name}", {Family.IPV4: first + 256 + number})
        puts.append(Put(agent_key("subnet-1", name), value))
    store.txn([], puts)


def many_pods(node: Node, spaces: tuple[str, ...]) -> Iterator[Figure]:
    def add(number: int) -> list[str]:
        status, result = node.call("ADD", f"pod-{number}", spaces[number])
        assert status == 0, result
        return addresses_of(result)

    began = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as callers:
        given = [address for two in callers.map(add, range(PODS)) for address in two]
    taken = time.perf_counter() - began
    yield Figure(f"{PODS} pods by {CALLERS} callers at once", taken, "s")
    yield Figure("addresses given twice", len(given) - len(set(given)), "", 0)
    yield Figure("memory of the agent with them", resident(node), "MB", 120)
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lambda n: node.call("DEL", f"pod-{n}"), range(STANDING, PODS)))
    _, text = node.scrape("/metrics")
    left = next(line for line in text.splitlines() if line.startswith("vpcrouter_pods "))
    yield Figure("endpoints leaked", float(left.split()[1]) - STANDING, "", 0)
    wait(lambda: count_links(node) == STANDING)


def start(node: Node) -> Iterator[Figure]:
    began = time.perf_counter()
    node.launch()
    wait(lambda: node.socket.exists() and node.call("STATUS")[0] == 0)
    taken = time.perf_counter() - began
    node.stop()
    yield Figure(f"start with {STANDING} pods and {AT_START} host routes", taken, "s", 2)


def more_routes(
    node: Node, store: SqliteStore, owners: Addresses, names: list[str]
) -> Iterator[Figure]:
    wait(lambda: count_routes(node) == AT_START)
    owners.grow(names[0], 1, BUDGET)
    began = time.perf_counter()
    wait(lambda: count_routes(node) == AT_START + 1)
    yield Figure("a neighbour's new block is a host route", time.perf_counter() - began, "s", 1)
    say(store, names[AT_START:])
    began = time.perf_counter()
    wait(lambda: count_routes(node) == NEIGHBOURS + 1)
    taken = time.perf_counter() - began
    yield Figure(f"{NEIGHBOURS - AT_START} further host routes", taken, "s", 2)
    store.txn([], [Delete(agent_key("subnet-1", name)) for name in names])
    wait(lambda: count_routes(node) == 0)
    began = time.perf_counter()
    say(store, names)
    wait(lambda: count_routes(node) == NEIGHBOURS + 1)
    taken = time.perf_counter() - began
    yield Figure(f"{NEIGHBOURS:,} host routes", taken, "s", 2)
    flush = ("nsenter", f"--net={node.space.path}", "ip", "route", "flush", "proto", str(PROTOCOL))
    began = time.perf_counter()
    subprocess.run(flush, check=True)
    gone = time.perf_counter()
    wait(lambda: count_routes(node) == NEIGHBOURS + 1)
    yield Figure("they are removed by hand", gone - began, "s")
    yield Figure("and are there again", time.perf_counter() - gone, "s", 3)


def count_routes(node: Node) -> int:
    """By the kernel's own count, which costs nothing."""
    with node.space.entered():
        lines = Path("/proc/thread-self/net/route").read_text().splitlines()
    return sum(line.split()[6] == "50" and line.split()[2] != "00000000" for line in lines[1:])


def count_links(node: Node) -> int:
    with node.space.entered():
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    return sum(line.strip().startswith("vr") for line in lines)


def resident(node: Node) -> float:
    """The agent's resident memory in MB, at its highest."""
    _, text = node.scrape("/metrics")
    name = "process_max_resident_memory_bytes "
    line = next(line for line in text.splitlines() if line.startswith(name))
    return float(line.removeprefix(name)) / 1e6


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it never came true")
        time.sleep(0.05)
