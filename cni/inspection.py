"""What is there of pods' links, and what is missing of one: read with pyroute2, where time is no
matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cni.datapath import CUT_MAC, GONE, HOST_MAC, Wiring
from cni.endpoints import LINK_PREFIX
from cni.errors import CniError, Code
from cni.ipvlan import WAY_IN
from cni.namespaces import inside, opened
from cni.netlink import SOCKET_FAMILY
from ipam.prefix import Family, format_address, parse_address

_NAME = re.compile(LINK_PREFIX + "[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PodLink:
    """Our end of a pod's link; ``transferred`` are all bytes in both directions so far."""

    index: int
    transferred: int


def pod_links() -> dict[str, PodLink]:
    """Our links in this network namespace by name, those set aside too.

    They are known by what they have from the moment in which they are made: the form of their
    name, their kind and their hardware address.
    """
    with _asking() as kernel:
        return {
            link.get("ifname"): PodLink(link["index"], _transferred(link.get("stats64")))
            for link in kernel.get_links()
            if _NAME.fullmatch(link.get("ifname"))
            and link.get("address") in (HOST_MAC, CUT_MAC)
            and link.get(("linkinfo", "kind")) == "veth"
        }


def way_in() -> int | None:
    """The index of the host's own ipvlan interface, by which it sends to pods of that mode."""
    with _asking() as kernel:
        return _index(kernel, WAY_IN)


def _transferred(counters: Mapping[str, int]) -> int:
    return counters["rx_bytes"] + counters["tx_bytes"]


def host_addresses() -> frozenset[tuple[Family, int]]:
    """All addresses of this network namespace."""
    with _asking() as kernel:
        return frozenset(
            parse_address(found.get("local") or found.get("address")) for found in kernel.get_addr()
        )


def faults(wiring: Wiring, netns: str) -> tuple[str, ...]:
    """What of a pod's connection is missing or different, in words; nothing if it is whole."""
    found = []
    with _asking() as host:
        index = _index(host, wiring.link)
        if index is None:
            found.append(f"link {wiring.link} is missing on the host")
        for family, value in wiring.addresses:
            if index is None or not _has_route(host, family, value, family.width, index):
                found.append(f"the host has no route to {format_address(family, value)}")
    with opened(netns) as namespace, _asking_pod(namespace) as pod:
        found += _pod_faults(pod, wiring)
    return tuple(found)


@contextmanager
def _asking() -> Iterator[IPRoute]:
    with _explained("links cannot be read"), IPRoute() as kernel:
        yield kernel


@contextmanager
def _asking_pod(namespace: int) -> Iterator[IPRoute]:
    with _explained("the pod's links cannot be read"):
        with inside(namespace):
            pod = IPRoute()
        with pod:
            yield pod


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as error:
        raise CniError(Code.DATAPATH, f"{what}: {error}") from error


def _index(kernel: IPRoute, link: str) -> int | None:
    found = _link(kernel, link)
    return None if found is None else int(found["index"])


def _link(kernel: IPRoute, link: str) -> ifinfmsg | None:
    """All of a link in one answer, since it may go between two; None where it is gone."""
    try:
        found: ifinfmsg = kernel.link("get", ifname=link)[0]
    except NetlinkError as error:
        if error.code in GONE:
            return None
        raise CniError(Code.DATAPATH, f"link {link} cannot be read: {error}") from error
    return found


def _pod_faults(pod: IPRoute, wiring: Wiring) -> list[str]:
    link = _link(pod, wiring.ifname)
    if link is None:
        return [f"interface {wiring.ifname} is missing in the pod"]
    index = int(link["index"])
    found = []
    if link.get("address") != wiring.mac:
        found.append(f"{wiring.ifname} has hardware address {link.get('address')}")
    if link["state"] != "up":
        found.append(f"{wiring.ifname} is down")
    present = {address.get("address") for address in pod.get_addr(index=index)}
    for family, value in wiring.addresses:
        text = format_address(family, value)
        if text not in present:
            found.append(f"{wiring.ifname} has lost its address {text}")
        if not _has_route(pod, family, 0, 0, index):
            found.append(f"the pod has no default route of {family}")
    return found


def _has_route(kernel: IPRoute, family: Family, value: int, length: int, index: int) -> bool:
    destination = format_address(family, value) if length else None
    return any(
        route["dst_len"] == length and route.get("dst") == destination and route.get("oif") == index
        for route in kernel.get_routes(family=SOCKET_FAMILY[family], oif=index)
    )
