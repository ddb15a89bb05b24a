"""The wires of a lab: the VPC router with a bridge for each zone, and the nodes' uplinks.

The router looks up what comes from a bridge in that zone's table, and else among its own
interfaces. It counts pods' packets, and apart from them those that it has seen before: a packet
leaves a pod with 64 hops to go and has crossed one node when it first arrives, so with fewer than
63 left it came back. (Those with very few were sent to find out their way.)
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from pyroute2 import IPRoute

from ipam.errors import UnavailableError
from ipam.prefix import Family
from vpcrouter.lab import spaces
from vpcrouter.lab.layout import PODS, ROUTER, Machine, Zone
from vpcrouter.lab.record import Record

UPLINK = "uplink"

_SOCKET_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}
_WITHOUT_DETECTION = 0x02  # IFA_F_NODAD
_ROUTER_SWITCHES = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # What a subnet's table says is not what the router itself would do: no source is checked.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/dad_transmits": "0",
    # A bridge passes frames on by itself: they are not routed, and must not be counted.
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
}
_NODE_SWITCHES = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # Who follows packets asks often for an answer, and is not to wait for it.
    "ipv4/icmp_ratelimit": "0",
    "ipv6/icmp/ratelimit": "0",
    # Else a link says nothing over IPv6 for its first seconds.
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/dad_transmits": "0",
}
_COUNTERS = """\
add table inet lab
add counter inet lab crossed
add counter inet lab again
add chain inet lab arriving {{ type filter hook prerouting priority raw; }}
add rule inet lab arriving ip saddr {v4} ip daddr {v4} counter name crossed
add rule inet lab arriving ip saddr {v4} ip daddr {v4} ip ttl 9-62 counter name again
add rule inet lab arriving ip6 saddr {v6} ip6 daddr {v6} counter name crossed
add rule inet lab arriving ip6 saddr {v6} ip6 daddr {v6} ip6 hoplimit 9-62 counter name again
"""


def make_router(record: Record) -> None:
    """Set up the router in its namespace, which is there already and empty."""
    path = record.space(ROUTER)
    families = record.layout.size.families
    with spaces.entered(path):
        for name, value in _ROUTER_SWITCHES.items():
            spaces.switch(name, value)
    with spaces.kernel(path) as kernel:
        for zone in record.layout.zones:
            _make_bridge(kernel, zone, families)
    _run(path, ("nft", "-f", "-"), _COUNTERS.format(v4=PODS[Family.IPV4], v6=PODS[Family.IPV6]))


def _make_bridge(kernel: IPRoute, zone: Zone, families: tuple[Family, ...]) -> None:
    # Without an address of its own a bridge has that of some port, and another once that is gone.
    kernel.link(
        "add", ifname=zone.bridge, kind="bridge", br_mcast_snooping=0, address=zone.gateway_mac
    )
    index = kernel.link_lookup(ifname=zone.bridge)[0]
    kernel.link("set", index=index, state="up")
    for family in families:
        _give(kernel, index, zone.gateway(family), zone.prefix(family).length, family)
        kernel.rule(
            "add",
            family=_SOCKET_FAMILY[family],
            iifname=zone.bridge,
            table=zone.table,
            priority=1000 + zone.position,
        )


def connect(record: Record, machine: Machine) -> None:
    """Give a node its uplink: to the bridge of its zone, with a default route to the router."""
    families = record.layout.size.families
    space = record.space(machine.name)
    with spaces.entered(space):
        for name, value in _NODE_SWITCHES.items():
            spaces.switch(name, value)
    with spaces.kernel(record.space(ROUTER)) as kernel, space.open() as descriptor:
        peer = {"ifname": UPLINK, "net_ns_fd": descriptor.fileno(), "address": machine.mac}
        kernel.link("add", ifname=machine.name, kind="veth", peer=peer)
        bridge = kernel.link_lookup(ifname=machine.zone.bridge)[0]
        port = kernel.link_lookup(ifname=machine.name)[0]
        kernel.link("set", index=port, master=bridge, state="up")
    with spaces.kernel(space) as kernel:
        index = kernel.link_lookup(ifname=UPLINK)[0]
        kernel.link("set", index=index, state="up")
        for family in families:
            length = machine.zone.prefix(family).length
            _give(kernel, index, machine.address(family), length, family)
            kernel.route(
                "add",
                family=_SOCKET_FAMILY[family],
                dst="0.0.0.0/0" if family is Family.IPV4 else "::/0",
                gateway=machine.zone.gateway(family),
            )


def disconnect(record: Record, machine: Machine) -> None:
    """Take a node's uplink away, both ends of it; nothing if there is none.

    With the node's namespace it would go as well, but some time later.
    """
    with spaces.kernel(record.space(ROUTER)) as kernel:
        for port in kernel.link_lookup(ifname=machine.name):
            kernel.link("del", index=port)


def plug(record: Record, machine: Machine, *, on: bool) -> None:
    """Connect the cable of a node's uplink, or cut it."""
    with spaces.kernel(record.space(ROUTER)) as kernel:
        for port in kernel.link_lookup(ifname=machine.name):
            kernel.link("set", index=port, state="up" if on else "down")


def counted(record: Record) -> tuple[int, int]:
    """How many pods' packets have crossed the router, and how many of them not for the first time.

    Raises UnavailableError.
    """
    listed = _run(record.space(ROUTER), ("nft", "-j", "list", "counters"), "")
    packets = {
        item["counter"]["name"]: int(item["counter"]["packets"])
        for item in json.loads(listed)["nftables"]
        if "counter" in item
    }
    return packets["crossed"], packets["again"]


def _give(kernel: IPRoute, index: int, address: str, length: int, family: Family) -> None:
    flags = _WITHOUT_DETECTION if family is Family.IPV6 else 0
    kernel.addr("add", index=index, address=address, prefixlen=length, flags=flags)


def _run(path: Path, command: tuple[str, ...], stdin: str) -> str:
    """A program in a namespace. Raises UnavailableError where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - its arguments are ours
            ("nsenter", f"--net={path}", *command),  # noqa: S607 - where it is differs
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise UnavailableError(f"nsenter cannot be run: {error.strerror}") from error
    if done.returncode:
        reason = done.stderr.partition("\n")[0]
        raise UnavailableError(f"{' '.join(command)} fails in {path}: {reason}")
    return done.stdout
