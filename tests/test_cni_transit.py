"""Nodes that forward for each other, with real agents and packets: they deliver or refuse.

A namespace is the VPC router, with a bridge for each of two subnets. Its table has one entry for
each subnet, whose forwarder owns only a part of the addresses behind it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ipam.model import Claim
from ipam.prefix import Family, Prefix, format_address
from ipam.service import Addresses
from ipam.store.sqlite import SqliteStore
from tests.cni_nodes import NETWORK, Node, addresses_of, admit, need_nft, running
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")

SUBNETS = {"a": ("192.0.2", "2001:db8:a"), "b": ("198.51.100", "2001:db8:b")}
NODES = ("a1", "a2", "b1")
_SOCKET_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two subnets: in subnet a, a1 forwards for a2; b1 is alone in b. Every node has a pod."""

    router: Namespace
    nodes: dict[str, Node]
    pods: dict[str, Namespace]
    addresses: dict[str, list[str]]
    blocks: dict[str, tuple[Prefix, ...]]

    def came_back(self) -> int:
        """How many packets the router has sent back into the subnet that they came from."""
        listed = in_space(self.router, "nft", "-j", "list", "counter", "inet", "test", "back")
        (counter,) = [i["counter"] for i in json.loads(listed)["nftables"] if "counter" in i]
        return int(counter["packets"])


def in_space(space: Namespace, *command: str, stdin: str = "") -> str:
    done = subprocess.run(
        ("nsenter", f"--net={space.path}", *command),
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def give_address(space: Namespace, name: str, v4: str, v6: str) -> None:
    with space.kernel() as kernel:
        index = kernel.link_lookup(ifname=name)[0]
        kernel.link("set", index=index, state="up")
        kernel.addr("add", index=index, address=v4, prefixlen=24)
        kernel.addr("add", index=index, address=v6, prefixlen=64, flags=2)


def make_router(router: Namespace) -> None:
    with router.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        # Frames that a bridge passes on by themselves are not routed: they must not be counted.
        for switch in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
            switch.write_text("0")
    for subnet, (v4, v6) in SUBNETS.items():
        with router.kernel() as kernel:
            kernel.link("add", ifname=f"br-{subnet}", kind="bridge")
        give_address(router, f"br-{subnet}", f"{v4}.1", f"{v6}::1")
    in_space(
        router,
        *("nft", "-f", "-"),
        stdin="add table inet test\n"
        "add counter inet test back\n"
        "add chain inet test forward { type filter hook forward priority 0; }\n"
        'add rule inet test forward iifname "br-a" oifname "br-a" counter name back\n'
        'add rule inet test forward iifname "br-b" oifname "br-b" counter name back\n',
    )


def connect(router: Namespace, name: str, space: Namespace) -> None:
    subnet, number = name[0], name[1]
    v4, v6 = SUBNETS[subnet]
    with (
        router.kernel() as kernel,
        Path(space.path).open() as descriptor,
    ):
        peer = {"ifname": "uplink", "net_ns_fd": descriptor.fileno()}
        kernel.link("add", ifname=name, kind="veth", peer=peer)
        bridge = kernel.link_lookup(ifname=f"br-{subnet}")[0]
        kernel.link("set", index=kernel.link_lookup(ifname=name)[0], master=bridge, state="up")
    give_address(space, "uplink", f"{v4}.1{number}", f"{v6}::1{number}")
    with space.kernel() as kernel:
        kernel.route("add", dst="0.0.0.0/0", gateway=f"{v4}.1")
        kernel.route("add", family=10, dst="::/0", gateway=f"{v6}::1")


def fill_table(router: Namespace, prefixes: dict[str, tuple[Prefix, ...]]) -> None:
    """One entry for each subnet's prefix, by way of its first node."""
    with router.kernel() as kernel:
        for subnet, owned in prefixes.items():
            v4, v6 = SUBNETS[subnet]
            for prefix in owned:
                forwarder = f"{v4}.11" if prefix.family is Family.IPV4 else f"{v6}::11"
                number = _SOCKET_FAMILY[prefix.family]
                kernel.route("add", family=number, dst=str(prefix), gateway=forwarder)


@pytest.fixture(scope="module")
def cluster(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:  # noqa: ARG001
    need_nft()
    folder = tmp_path_factory.mktemp("cluster")
    store = folder / "store"
    admit(store, [Claim(name, name[0], f"i-{name}") for name in NODES])
    opened = SqliteStore(store)
    state = Addresses(opened, "test", [NETWORK]).load()
    opened.close()
    with namespaces(1 + 2 * len(NODES)) as (router, *spaces), ExitStack() as stack:
        make_router(router)
        fill_table(router, {subnet: state.prefixes(subnet) for subnet in SUBNETS})
        nodes, pods, addresses = {}, {}, {}
        for name, space, pod in zip(NODES, spaces[::2], spaces[1::2], strict=True):
            connect(router, name, space)
            nodes[name] = stack.enter_context(running(Node(name, space, folder, store)))
            status, result = nodes[name].call("ADD", f"pod-{name}", pod.path)
            assert status == 0, result
            pods[name], addresses[name] = pod, addresses_of(result)
        blocks = {name: state.blocks(name) for name in NODES}
        eventually(lambda: has_routes(nodes["a1"], blocks["a2"]))
        eventually(lambda: has_routes(nodes["a2"], blocks["a1"]))
        yield Cluster(router, nodes, pods, addresses, blocks)


def has_routes(node: Node, blocks: tuple[Prefix, ...]) -> bool:
    with node.space.kernel() as kernel:
        present = {
            f"{route.get('dst')}/{route['dst_len']}"
            for family in (2, 10)
            for route in kernel.get_routes(family=family)
            if route.get("gateway")
        }
    return set(map(str, blocks)) <= present


def test_every_pod_reaches_every_pod(cluster: Cluster) -> None:
    before = cluster.came_back()
    for source in NODES:
        for target in NODES:
            for address in cluster.addresses[target]:
                assert cluster.pods[source].ping(address, timeout=3), (source, target, address)
    assert cluster.came_back() == before


def test_tcp_passes_a_forwarder_that_drops_what_is_invalid(cluster: Cluster) -> None:
    in_space(
        cluster.nodes["a1"].space,
        *("nft", "-f", "-"),
        stdin="add table inet strict\n"
        "add chain inet strict forward { type filter hook forward priority 0; }\n"
        "add rule inet strict forward ct state invalid drop\n",
    )
    for address in cluster.addresses["a2"]:
        assert transferred(cluster.pods["b1"], cluster.pods["a2"], address) == 300_000


def transferred(client: Namespace, server: Namespace, address: str) -> int:
    """How many bytes a server sends to a client over TCP, once the client has sent as many."""
    size = 300_000
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with server.entered():
        listener = socket.create_server((address, 8080), family=family)
    listener.settimeout(10)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            received = 0
            while received < size:
                received += len(connection.recv(1 << 16))
            connection.sendall(b"x" * size)

    thread = threading.Thread(target=serve)
    thread.start()
    with client.entered():
        connection = socket.socket(family)
    total = 0
    with connection, listener:
        connection.settimeout(10)
        connection.connect((address, 8080))
        connection.sendall(b"y" * size)
        while part := connection.recv(1 << 16):
            total += len(part)
        thread.join()
    return total


def unowned(cluster: Cluster) -> list[str]:
    """Addresses in the prefixes of subnet a that no pod has: in a block of each node, in none."""
    found = []
    for name in ("a1", "a2"):
        found += [format_address(b.family, b.last) for b in cluster.blocks[name]]
    opened = SqliteStore(cluster.nodes["a1"].store)
    state = Addresses(opened, "test", [NETWORK]).load()
    opened.close()
    taken = [b for blocks in cluster.blocks.values() for b in blocks]
    for prefix in state.prefixes("a"):
        assert not any(b.holds(prefix.last) for b in taken if b.family is prefix.family)
        found.append(format_address(prefix.family, prefix.last))
    return found


def test_what_nobody_owns_is_refused_and_never_sent_back(cluster: Cluster) -> None:
    for address in unowned(cluster):
        before = cluster.came_back()
        assert not cluster.pods["b1"].ping(address, timeout=0.2)
        assert cluster.came_back() == before, address
        # From its own subnet it goes to the forwarder by way of the router, once.
        assert not cluster.pods["a2"].ping(address, timeout=0.2)
        assert cluster.came_back() <= before + 1, address


def test_without_the_rules_packets_would_come_back(cluster: Cluster) -> None:
    """That the test above looks where packets would loop."""
    before = cluster.came_back()
    with cluster.nodes["a1"].space.kernel() as kernel:
        rules = [r for r in kernel.get_rules(family=2) if r.get("priority") in (1170, 1171)]
        assert len(rules) == 2
        kernel.rule("del", family=2, priority=1171)
    address = [a for a in unowned(cluster) if "." in a][-1]
    assert not cluster.pods["b1"].ping(address, timeout=0.3)
    assert cluster.came_back() > before
    eventually(lambda: is_refused(cluster, address))  # drift is repaired


def is_refused(cluster: Cluster, address: str) -> bool:
    before = cluster.came_back()
    cluster.pods["b1"].ping(address, timeout=0.1)
    return cluster.came_back() == before
