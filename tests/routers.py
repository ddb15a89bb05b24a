"""A Linux router in a network namespace that holds what the VPC of ``tests.vpcs`` holds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.namespaces import Namespace, namespaces
from tests.vpcs import QUOTA
from vpcrouter.fabric.linux.fabric import LinuxFabric
from vpcrouter.fabric.linux.rows import Cidrs, node_interfaces
from vpcrouter.fabric.linux.settings import RouterSettings, RouterSubnet
from vpcrouter.fabric.port import NetworkInterface

NUMBERS = {"rtb-a": 101, "rtb-b": 102}
THIRD = {"a": 0, "b": 16}

_FOREIGN = """
route add 10.0.0.0/16 dev br-{zone} table {table}
route add default via 10.0.{third}.9 table {table}
route add 10.99.0.0/16 via 10.0.{third}.6 table {table}
route add 172.30.0.0/16 via 10.0.{third}.9 table {table} proto bgp
-6 route add 2001:db8::/56 dev br-{zone} table {table}
"""


@dataclass(frozen=True, slots=True)
class Router:
    """A router with bridges for subnets a and b, a table for each, and foreign routes."""

    space: Namespace
    fabric: LinuxFabric

    def ip(self, command: str) -> str:
        """What `ip` answers in it."""
        return ip(self.space, command)


def ip(space: Namespace, command: str) -> str:
    done = subprocess.run(
        ("nsenter", f"--net={space.path}", "ip", *command.split()),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def address(zone: str, number: int, family: Family) -> str:
    if family is Family.IPV4:
        return f"10.0.{THIRD[zone]}.{number + 4}"
    return f"2001:db8:0:{zone}::{number + 4:x}"


def interfaces(cidrs: Cidrs) -> list[NetworkInterface]:
    """The machines of the VPC, by their names there."""
    named = [
        (f"{zone}{number}", [(family, address(zone, number, family)) for family in Family])
        for zone in "ab"
        for number in range(3)
    ]
    found = node_interfaces([(f"i-{name}", addresses) for name, addresses in named], cidrs)
    return [
        structs.replace(one, id=f"eni-{name}") for (name, _), one in zip(named, found, strict=True)
    ]


def settings(namespace: str) -> RouterSettings:
    return RouterSettings(
        name="vpc-1",
        namespace=namespace,
        subnets=tuple(
            RouterSubnet(f"subnet-{z}", f"eu-central-1{z}", f"br-{z}", f"rtb-{z}", number)
            for z, number in zip("ab", NUMBERS.values(), strict=True)
        ),
        limit=QUOTA,
        local=(Prefix.parse("10.0.0.0/16"), Prefix.parse("2001:db8::/56")),
    )


@contextmanager
def router() -> Iterator[Router]:
    """A router of its own."""
    with namespaces(1) as (space,):
        with space.entered():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for zone, third in THIRD.items():
            table = NUMBERS[f"rtb-{zone}"]
            ip(space, f"link add br-{zone} type bridge")
            ip(space, f"link set br-{zone} up")
            ip(space, f"addr add 10.0.{third}.1/20 dev br-{zone}")
            ip(space, f"addr add 2001:db8:0:{zone}::1/64 dev br-{zone} nodad")
            for version in ("-4", "-6"):
                ip(space, f"{version} rule add iif br-{zone} lookup {table}")
            for line in _FOREIGN.format(zone=zone, third=third, table=table).split("\n"):
                if line:
                    ip(space, line)
        yield Router(space, LinuxFabric(settings(space.path), interfaces))
