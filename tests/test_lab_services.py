"""Beside kube-proxy: services, node ports and plain TCP pass through forwarders.

A stand-in for kube-proxy runs on every node: it rewrites the addresses of services and node ports,
masquerades what came by a node port, and drops what connection tracking calls invalid. A forwarder
sees one direction of a flow only, and must keep out of all of this.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping

import pytest

from ipam.prefix import Family
from tests.conversations import PORT, converse
from tests.labs import lab
from vpcrouter.lab.lab import Lab, PodState
from vpcrouter.lab.layout import Machine, Size
from vpcrouter.lab.tour import find_way

pytestmark = pytest.mark.usefixtures("root")

SIZE = Size(zones=3, nodes=3, pods=1, quota=7, families=tuple(Family))
SERVICES = {Family.IPV4: "10.96.{}.{}", Family.IPV6: "fd96::{}:{}"}
NODE_PORTS = 30000

_CHAINS = """
table inet proxy {
    chain services {
%s
    }
    chain arriving { type nat hook prerouting priority dstnat; jump services; }
    chain local { type nat hook output priority -100; jump services; }
    chain leaving {
        type nat hook postrouting priority srcnat;
        meta mark & 0x4000 == 0x4000 masquerade
    }
    chain forward {
        type filter hook forward priority filter;
        ct state invalid counter drop
    }
}
"""
_SERVICE = "{ip} daddr {service} tcp dport 80 dnat {ip} to {target}"
_NODE_PORT = (
    "{ip} daddr {node} tcp dport {port} meta mark set meta mark or 0x4000 dnat {ip} to {target}"
)


@pytest.fixture(scope="module")
def one(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:  # noqa: ARG001
    with lab(SIZE, tmp_path_factory.mktemp("lab")) as made:
        for machine in made.record.layout.machines:
            run_proxy(made, machine)
        assert find_way(made).forwarder  # somebody forwards
        yield made
        assert made.crossings()[0] > 0


def run_proxy(one: Lab, machine: Machine) -> None:
    lines = [
        line.format(
            ip="ip" if family is Family.IPV4 else "ip6",
            service=service(state, family),
            node=machine.address(family),
            port=node_port(one, state),
            target=f"{address}:{PORT}" if family is Family.IPV4 else f"[{address}]:{PORT}",
        )
        for state in one.pods()
        for family, address in by_family(state).items()
        for line in (_SERVICE, _NODE_PORT)
    ]
    subprocess.run(
        ("nsenter", f"--net={one.record.space(machine.name)}", "nft", "-f", "-"),
        input=_CHAINS % "\n".join(lines),
        text=True,
        check=True,
    )


def by_family(state: PodState) -> Mapping[Family, str]:
    return {Family.IPV6 if ":" in a else Family.IPV4: a for a in state.addresses}


def service(state: PodState, family: Family) -> str:
    machine = state.pod.machine
    return SERVICES[family].format(machine.zone.position + 1, machine.number)


def node_port(one: Lab, state: PodState) -> int:
    return NODE_PORTS + one.record.layout.pods.index(state.pod)


def pairs(one: Lab) -> list[tuple[PodState, PodState]]:
    """A pod of each zone with every pod of the others: some are behind a forwarder."""
    pods = one.pods()
    clients = [s for s in pods if s.pod.machine.number == 1]
    return [(c, s) for c in clients for s in pods if c.pod.machine.zone != s.pod.machine.zone]


def talk(one: Lab, client: PodState, server: PodState, family: Family, to: str, port: int) -> str:
    spaces = one.record.space
    address = by_family(server)[family]
    return converse(spaces(client.pod.name), spaces(server.pod.name), address, to, port)


@pytest.mark.parametrize("family", list(Family))
def test_plain_tcp_keeps_its_source(one: Lab, family: Family) -> None:
    for client, server in pairs(one):
        seen = talk(one, client, server, family, by_family(server)[family], PORT)
        assert seen == by_family(client)[family]


@pytest.mark.parametrize("family", list(Family))
def test_a_service_in_another_zone_is_reached_and_sees_the_pod(one: Lab, family: Family) -> None:
    for client, server in pairs(one):
        seen = talk(one, client, server, family, service(server, family), 80)
        assert seen == by_family(client)[family]


@pytest.mark.parametrize("family", list(Family))
def test_a_node_port_leads_to_a_pod_in_any_zone(one: Lab, family: Family) -> None:
    machines = one.record.layout.machines
    for number, (client, server) in enumerate(pairs(one)):
        entry = machines[number % len(machines)]
        if entry in (client.pod.machine, server.pod.machine):
            continue
        target = entry.address(family)
        seen = talk(one, client, server, family, target, node_port(one, server))
        assert seen == target  # masqueraded, so that the answer comes back by the same node


def test_no_packet_of_pods_crossed_the_router_twice(one: Lab) -> None:
    assert one.crossings()[1] == 0
