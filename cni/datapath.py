"""A pod's link: a veth pair, its addresses, and routes to it and out of it.

The pod has its addresses with full length (/32, /128) and one default route of each family, by a
link-local gateway whose neighbour entry is permanent; the host has a route and a permanent
neighbour entry for each address. So nobody ever asks for a hardware address on the link, and the
host needs no address of its own there.

Whatever fails, what was made before it is taken away again; removing what is not there is done.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni.endpoints import LINK_PREFIX, Addresses
from cni.errors import CniError, Code
from cni.hostroutes import PROTOCOL
from cni.namespaces import inside, opened, refuse_own
from ipam.prefix import Family, format_address, parse_address

HOST_MAC = "0a:58:a9:fe:01:01"
"""The hardware address of every pod link's end on the host; udev leaves one that is set alone."""

GATEWAYS = dict(map(parse_address, ("169.254.1.1", "fe80::1")))
"""The next hop of pods, by family."""

OWN_ALIAS = "vpcrouter pod"
"""How our links on the host are marked; others are never removed."""

_PATIENCE = 5.0  # seconds
_LOCAL = 2  # RTN_LOCAL
_SOCKET_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}
_PERMANENT = 0x80
_WITHOUT_DETECTION = 0x02  # IFA_F_NODAD
_ON_LINK = 4  # RTNH_F_ONLINK
_SCOPE_LINK = 253
_GONE = (errno.ENODEV, errno.ENOENT, errno.ESRCH)


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a pod is to be connected: link on the host, interface in the pod, MTU in bytes."""

    link: str
    ifname: str
    mac: str
    mtu: int
    addresses: Addresses


class Datapath:
    """The pod links of the network namespace in which this is made. For one thread."""

    def __init__(self) -> None:
        self._host = IPRoute()

    def __enter__(self) -> Datapath:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection to the kernel; links stay."""
        self._host.close()

    def attach(self, wiring: Wiring, netns: str) -> None:
        """Connect the pod whose network namespace has this path.

        Raises CniError, with nothing left behind, where that is not possible.
        """
        with opened(netns) as namespace, ExitStack() as undo, _explained(wiring):
            refuse_own(namespace, netns)
            self._add_link(wiring, namespace)
            undo.callback(self.detach, wiring.link)
            index = self._index(wiring.link)
            self._host.link("set", index=index, ifalias=OWN_ALIAS)
            with _pod(namespace) as pod:
                _set_up_pod(pod, wiring, lambda: _allow_ipv6(namespace, wiring.ifname))
                _wait_until_it_carries(pod, wiring.ifname)
                _wait_until_it_answers(pod, wiring)
            _wait_until_it_carries(self._host, wiring.link)
            for family, value in wiring.addresses:
                text = format_address(family, value)
                self._host.neigh(
                    "replace",
                    family=_SOCKET_FAMILY[family],
                    dst=text,
                    lladdr=wiring.mac,
                    ifindex=index,
                    state=_PERMANENT,
                )
                self._host.route(
                    "replace",
                    family=_SOCKET_FAMILY[family],
                    dst=f"{text}/{family.width}",
                    oif=index,
                    scope=_SCOPE_LINK,
                    proto=PROTOCOL,
                )
            undo.pop_all()

    def detach(self, link: str) -> None:
        """Remove a pod's link with all that hangs on it; nothing to do if it is gone."""
        with _unless_gone():
            self._host.link("del", ifname=link)

    def links(self) -> frozenset[str]:
        """The names of the pod links that are ours."""
        return frozenset(
            link.get("ifname")
            for link in self._host.get_links()
            if link.get("ifalias") == OWN_ALIAS and link.get("ifname").startswith(LINK_PREFIX)
        )

    def faults(self, wiring: Wiring, netns: str) -> tuple[str, ...]:
        """What of a pod's connection is missing or different, in words; nothing if it is whole."""
        found = []
        index = self._index(wiring.link) if self._exists(wiring.link) else None
        if index is None:
            found.append(f"link {wiring.link} is missing on the host")
        for family, value in wiring.addresses:
            if index is None or not _has_route(self._host, family, value, family.width, index):
                found.append(f"the host has no route to {format_address(family, value)}")
        with opened(netns) as namespace, _pod(namespace) as pod:
            found += _pod_faults(pod, wiring)
        return tuple(found)

    def _add_link(self, wiring: Wiring, namespace: int) -> None:
        try:
            self._create(wiring, namespace)
        except NetlinkError as error:
            if error.code != errno.EEXIST or not self._exists(wiring.link):
                raise
            # Left over from a crash: the attachment has no endpoint, so nobody uses the link.
            self.detach(wiring.link)
            self._create(wiring, namespace)

    def _create(self, wiring: Wiring, namespace: int) -> None:
        self._host.link(
            "add",
            ifname=wiring.link,
            kind="veth",
            address=HOST_MAC,
            mtu=wiring.mtu,
            state="up",
            peer={
                "ifname": wiring.ifname,
                "net_ns_fd": namespace,
                "address": wiring.mac,
                "mtu": wiring.mtu,
            },
        )

    def _index(self, link: str) -> int:
        return int(self._host.link("get", ifname=link)[0]["index"])

    def _exists(self, link: str) -> bool:
        try:
            self._index(link)
        except NetlinkError as error:
            if error.code in _GONE:
                return False
            raise
        return True


def _set_up_pod(pod: IPRoute, wiring: Wiring, allow_ipv6: Callable[[], None]) -> None:
    index = int(pod.link("get", ifname=wiring.ifname)[0]["index"])
    families = [family for family, _ in wiring.addresses]
    if Family.IPV6 in families:
        allow_ipv6()
    pod.link("set", index=index, state="up")
    for family, value in wiring.addresses:
        pod.addr(
            "add",
            index=index,
            family=_SOCKET_FAMILY[family],
            address=format_address(family, value),
            prefixlen=family.width,
            flags=_WITHOUT_DETECTION if family is Family.IPV6 else 0,
        )
    for family in families:
        gateway = format_address(family, GATEWAYS[family])
        pod.neigh(
            "replace",
            family=_SOCKET_FAMILY[family],
            dst=gateway,
            lladdr=HOST_MAC,
            ifindex=index,
            state=_PERMANENT,
        )
        pod.route(
            "add",
            family=_SOCKET_FAMILY[family],
            dst="0.0.0.0/0" if family is Family.IPV4 else "::/0",
            gateway=gateway,
            oif=index,
            flags=_ON_LINK,
        )


def _wait_until_it_carries(kernel: IPRoute, link: str) -> None:
    """The kernel notices a moment later that a link is up, and drops packets until then.

    Who sends before that loses its first packet, which costs a second or more.
    """
    _wait(link, lambda: kernel.link("get", ifname=link)[0].get("operstate") == "UP")


def _wait_until_it_answers(pod: IPRoute, wiring: Wiring) -> None:
    """An IPv6 address receives packets a moment after it was added, when its local route is there.

    With IPv4 the two happen at once.
    """
    for family, value in wiring.addresses:
        if family is Family.IPV6:
            text = format_address(family, value)
            _wait(wiring.link, partial(_is_local, pod, text))


def _is_local(pod: IPRoute, address: str) -> bool:
    route = pod.route("get", family=_SOCKET_FAMILY[Family.IPV6], dst=address)[0]
    return bool(route["type"] == _LOCAL)


def _wait(link: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise CniError(Code.DATAPATH, f"link {link} does not come up: look into the kernel log")
        time.sleep(0.001)


def _allow_ipv6(namespace: int, ifname: str) -> None:
    """Some runtimes turn IPv6 off in new namespaces; a pod that gets an address needs it."""
    with inside(namespace):
        switch = Path("/proc/sys/net/ipv6/conf") / ifname / "disable_ipv6"
        if switch.read_text(encoding="ascii").strip() != "0":
            switch.write_text("0", encoding="ascii")


@contextmanager
def _pod(namespace: int) -> Iterator[IPRoute]:
    """A connection to the kernel in the pod's namespace."""
    with inside(namespace):
        pod = IPRoute()
    try:
        yield pod
    finally:
        pod.close()


def _pod_faults(pod: IPRoute, wiring: Wiring) -> list[str]:
    try:
        link = pod.link("get", ifname=wiring.ifname)[0]
    except NetlinkError as error:
        if error.code in _GONE:
            return [f"interface {wiring.ifname} is missing in the pod"]
        raise
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
        for route in kernel.get_routes(family=_SOCKET_FAMILY[family], oif=index)
    )


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in _GONE:
            raise


@contextmanager
def _explained(wiring: Wiring) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise CniError(
                Code.EXISTS,
                f"the pod has an interface {wiring.ifname} or a default route already: remove it",
            ) from error
        raise CniError(
            Code.DATAPATH, f"link {wiring.link} cannot be set up: {os.strerror(error.code)}"
        ) from error
    except OSError as error:
        raise CniError(
            Code.DATAPATH, f"link {wiring.link} cannot be set up: {error.strerror}"
        ) from error
