"""A kernel's route tables, rules and addresses over netlink: one short connection for each look.

Errors of pyroute2 and of the kernel are given their meaning here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from ipam.prefix import Family, Prefix, format_address, parse_address
from vpcrouter.fabric.codes import Code, Ec2Error
from vpcrouter.fabric.linux.settings import METRIC, PROTOCOL
from vpcrouter.fabric.port import FabricUnavailableError

_HERE = "/proc/thread-self/ns/net"
_SOCKET_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}
_UNICAST = 1  # RTN_UNICAST
_KERNEL = 2  # RTPROT_KERNEL
_NO_CARRIER = 1 | 16  # RTNH_F_DEAD, RTNH_F_LINKDOWN
_CLONED = 0x200  # RTM_F_CLONED: not in a table, but looked up
_GLOBAL_SCOPE = 0
_NAMES = {6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route of some table. ``target`` is its gateway, or words for what it has instead."""

    table: int
    destination: Prefix
    target: str
    is_ours: bool
    by_kernel: bool
    is_dead: bool
    metric: int


@dataclass(frozen=True, slots=True)
class KernelLink:
    """An interface with the prefixes of its addresses."""

    index: int
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Hop:
    """The way to a next hop: its address, and the index of the interface towards it."""

    address: str
    interface: int


class Kernel:
    """One network namespace, by its path (None: that of the calling thread)."""

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace

    def routes(self, table: int | None = None) -> list[KernelRoute]:
        """The routes of one table, or of all. Raises FabricUnavailableError."""
        with self._connected("its routes cannot be read") as kernel:
            return [
                _route(family, message)
                for family, number in _SOCKET_FAMILY.items()
                for message in kernel.get_routes(
                    family=number, **({} if table is None else {"table": table})
                )
                if not message["flags"] & _CLONED
            ]

    def links(self) -> dict[str, KernelLink]:
        """The interfaces by name. Raises FabricUnavailableError."""
        with self._connected("its interfaces cannot be read") as kernel:
            prefixes: dict[int, set[Prefix]] = {}
            for found in kernel.get_addr():
                if found["scope"] == _GLOBAL_SCOPE:
                    family, value = parse_address(found.get("local") or found.get("address"))
                    length = found["prefixlen"]
                    host_bits = family.width - length
                    network = Prefix(family, value >> host_bits << host_bits, length)
                    prefixes.setdefault(found["index"], set()).add(network)
            return {
                link.get("ifname"): KernelLink(
                    link["index"], tuple(sorted(prefixes.get(link["index"], ())))
                )
                for link in kernel.get_links()
            }

    def rules(self, family: Family) -> set[tuple[str, int]]:
        """Which tables are looked up for what comes from which interface."""
        with self._connected("its rules cannot be read") as kernel:
            return {
                (rule.get("iifname"), rule.get("table"))
                for rule in kernel.get_rules(family=_SOCKET_FAMILY[family])
                if rule.get("iifname")
            }

    # Changes of one entry each. They raise Ec2Error by EC2's codes, which callers know, and
    # FabricUnavailableError.

    def create(self, table: int, destination: Prefix, hop: Hop) -> None:
        """Make an entry; the kernel refuses it where one of our metric is there."""
        self._put("add", table, destination, hop)

    def replace(self, table: int, destination: Prefix, hop: Hop) -> None:
        """Lead an entry elsewhere, without a moment in which it is missing."""
        self._put("change", table, destination, hop)

    def delete(self, table: int, destination: Prefix, gateway: str) -> None:
        """Remove an entry; the kernel leaves one that leads elsewhere."""
        with self._connected("an entry cannot be removed") as kernel, _answered(destination):
            kernel.route("del", **_place(table, destination), proto=PROTOCOL, gateway=gateway)

    def _put(self, command: str, table: int, destination: Prefix, hop: Hop) -> None:
        with self._connected("an entry cannot be made") as kernel, _answered(destination):
            kernel.route(
                command,
                **_place(table, destination),
                proto=PROTOCOL,
                gateway=hop.address,
                oif=hop.interface,
            )

    @contextmanager
    def _connected(self, what: str) -> Iterator[IPRoute]:
        try:
            with self._entered():
                kernel = IPRoute()
            with kernel:
                yield kernel
        except (OSError, NetlinkError) as error:
            where = "the router" if self._namespace is None else f"router {self._namespace}"
            number = error.code if isinstance(error, NetlinkError) else error.errno
            reason = os.strerror(number or 0)
            remedy = "be root" if number == errno.EPERM else "check that it runs"
            raise FabricUnavailableError("", f"{where}: {what} ({reason}): {remedy}") from error

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Run this thread in the namespace; the socket that it opens there stays there."""
        if self._namespace is None:
            yield
            return
        there = os.open(self._namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            here = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
            try:
                netns.setns(there)
                try:
                    yield
                finally:
                    netns.setns(here)
            finally:
                os.close(here)
        finally:
            os.close(there)


def _place(table: int, destination: Prefix) -> dict[str, object]:
    return {
        "family": _SOCKET_FAMILY[destination.family],
        "dst": str(destination),
        "table": table,
        "priority": METRIC,
    }


def _route(family: Family, message: Any) -> KernelRoute:
    text, gateway = message.get("dst"), message.get("gateway")
    metric = message.get("priority") or 0
    ordinary = message["type"] == _UNICAST
    if ordinary and gateway:
        target = format_address(*parse_address(gateway))
    elif ordinary:
        target = "several" if message.get("multipath") else "link"
    else:
        target = _NAMES.get(message["type"], "local")
    ours = message["proto"] == PROTOCOL and metric == METRIC
    return KernelRoute(
        table=message.get("table"),
        destination=Prefix(family, parse_address(text)[1] if text else 0, message["dst_len"]),
        target=target,
        is_ours=ours and ordinary and bool(gateway),
        by_kernel=message["proto"] == _KERNEL,
        is_dead=bool(message["flags"] & _NO_CARRIER),
        metric=metric,
    )


@contextmanager
def _answered(destination: Prefix) -> Iterator[None]:
    """The kernel's refusals of an entry, by EC2's codes."""
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            code, text = Code.ROUTE_EXISTS, f"{destination} has a route already"
        elif error.code in (errno.ENOENT, errno.ESRCH):
            code, text = Code.ROUTE_NOT_FOUND, f"{destination} has no such route"
        elif error.code in (errno.EINVAL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENODEV):
            reason = os.strerror(error.code)
            code = Code.INVALID_PARAMETER
            text = f"the router has no way to this next hop ({reason})"
        else:
            raise
        raise Ec2Error(code, text) from error
