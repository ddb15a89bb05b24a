"""A pod's link: a veth pair, its addresses, and routes to it and out of it.

The pod has its addresses with full length (/32, /128) and one default route of each family, by a
link-local gateway whose neighbour entry is permanent; the host has a route and a permanent
neighbour entry for each address. So nobody ever asks for a hardware address on the link, and the
host needs no address of its own there.

Whatever fails, what was made before it is taken away again. A link goes in two steps, since the
kernel takes 20 ms to remove one and holds up everybody else meanwhile: ``cut`` takes its routes and
gives its end on the host another hardware address, so that nothing passes in either direction, and
puts it into a group of links, which the reaper removes all at once a moment later.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cni import netlink
from cni.endpoints import Addresses
from cni.errors import CniError, Code
from cni.hostroutes import PROTOCOL
from cni.kernel import Kernel, KernelError
from cni.namespaces import enter, opened, own, refuse_same
from cni.netlink import Link, Reply
from cni.reaper import SET_ASIDE, Reaper
from ipam.prefix import Family, Prefix, parse_address

HOST_MAC = "0a:58:a9:fe:01:01"
"""The hardware address of every pod link's end on the host; udev leaves one that is set alone."""

GATEWAYS = dict(map(parse_address, ("169.254.1.1", "fe80::1")))
"""The next hop of pods, by family."""

OWN_ALIAS = "vpcrouter pod"
"""What operators read beside our links on the host."""

CUT_MAC = "0a:58:a9:fe:01:02"
"""What they have once they are cut off."""

_PATIENCE = 5.0  # seconds
_PAUSE = 0.0003
GONE = (errno.ENODEV, errno.ENOENT, errno.ESRCH)
"""What the kernel says of what is not there."""


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

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._namespace = own()
        self._host = Kernel()

    def __enter__(self) -> Datapath:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection to the kernel; links stay."""
        self._host.close()
        os.close(self._namespace)

    def attach(self, wiring: Wiring, netns: str) -> None:
        """Connect the pod whose network namespace has this path.

        Raises CniError, with nothing left behind, where that is not possible.
        """
        with opened(netns) as namespace, ExitStack() as undo, explained(wiring):
            refuse_same(namespace, self._namespace, netns)
            link = self._create(wiring, namespace)
            undo.callback(self.detach, wiring.link)
            with connected(namespace, self._namespace) as pod:
                what = (link.peer, _inside(link.peer, wiring))
                configure(pod, wiring, what, namespace, self._namespace)
                self._set_up_host(wiring, link.index)
                wait(wiring, pod, (netlink.get_link_at(link.peer), *received(wiring)))
            undo.pop_all()

    def cut(self, wiring: Wiring) -> None:
        """Let nothing pass to or from a pod any more; its link goes within a second."""
        messages = [
            netlink.delete_link_route(family, value, PROTOCOL) for family, value in wiring.addresses
        ]
        messages.append(netlink.set_aside(wiring.link, CUT_MAC, SET_ASIDE))
        with named(f"link {wiring.link} cannot be cut off"):
            for reply in self._host.exchange(messages):
                if reply.error and reply.error not in GONE:
                    raise KernelError(reply.error, reply.sequence)
        self._reaper.later()

    def detach(self, link: str) -> None:
        """Remove a pod's link with all that hangs on it now; nothing to do if it is gone."""
        with named(f"link {link} cannot be removed"):
            (reply,) = self._host.exchange([netlink.delete_link(link)])
            if reply.error and reply.error not in GONE:
                raise KernelError(reply.error, 0)

    def exists(self, link: str) -> bool:
        """Whether there is such a link."""
        with named(f"link {link} cannot be read"):
            (reply,) = self._host.exchange([netlink.get_link(link)])
            if reply.error and reply.error not in GONE:
                raise KernelError(reply.error, 0)
        return not reply.error

    def mend(self, wiring: Wiring) -> None:
        """Give a pod's link what it has lost on the host: routes and neighbours."""
        with explained(wiring):
            (found,) = self._host.do((netlink.get_link(wiring.link),))
            self._set_up_host(wiring, netlink.parse_link(found.body).index)

    def routes(self) -> frozenset[tuple[Prefix, int | None]]:
        """The routes to our pods, each with the index of its link."""
        found = []
        with named("routes to pods cannot be read"):
            for family in Family:
                for reply in self._host.dump(netlink.get_routes(family)):
                    route = netlink.parse_route(reply.body)
                    if route.protocol == PROTOCOL and route.via is None:
                        found.append((route.destination, route.link))
        return frozenset(found)

    def _create(self, wiring: Wiring, namespace: int) -> Link:
        """Make the pair; a name that is taken may be that of a link that is about to go."""
        try:
            return self._make_pair(wiring, namespace)
        except KernelError as error:
            if error.code != errno.EEXIST:
                raise
        # Or left over from a crash: the attachment has no endpoint, so nobody uses such a link.
        self.detach(wiring.link)
        self._reaper.remove_all()
        return self._make_pair(wiring, namespace)

    def _make_pair(self, wiring: Wiring, namespace: int) -> Link:
        made, *asked = self._host.exchange(
            (
                netlink.new_pair(
                    *(wiring.link, HOST_MAC, wiring.mtu, wiring.ifname, wiring.mac, namespace)
                ),
                netlink.get_link(wiring.link),
            )
        )
        for reply in (made, *asked):
            if reply.error:
                raise KernelError(reply.error, reply.sequence)
        return netlink.parse_link(asked[0].body)

    def _set_up_host(self, wiring: Wiring, index: int) -> None:
        messages: list[bytes] = []
        for family, value in wiring.addresses:
            messages += (
                netlink.new_neighbour(index, family, value, wiring.mac),
                netlink.new_link_route(index, family, value, PROTOCOL),
            )
        messages.append(netlink.set_alias(index, OWN_ALIAS))
        ask = netlink.get_link_at(index)
        if not _is_ready(self._host.do((*messages, ask))[-1]):
            wait(wiring, self._host, (ask,))


@contextmanager
def connected(namespace: int, home: int) -> Iterator[Kernel]:
    """A connection to the kernel in a pod's namespace, for a thread that is at home in another."""
    enter(namespace)
    try:
        pod = Kernel()
    finally:
        enter(home)
    try:
        yield pod
    finally:
        pod.close()


def _inside(index: int, wiring: Wiring) -> list[bytes]:
    """What makes the pod's end of a link what it is to be."""
    messages = [netlink.switch_on(index)]
    for family, value in wiring.addresses:
        gateway = GATEWAYS[family]
        messages += (
            netlink.new_address(index, family, value),
            netlink.new_neighbour(index, family, gateway, HOST_MAC),
            netlink.new_default_route(index, family, gateway),
        )
    return messages


def configure(
    pod: Kernel, wiring: Wiring, what: tuple[int, list[bytes]], namespace: int, home: int
) -> None:
    """Send messages that set up the interface with this index in a pod's namespace."""
    index, messages = what
    messages = [*messages, netlink.get_link_at(index)]
    refused = [reply for reply in pod.exchange(messages) if reply.error]
    if any(reply.error == errno.EACCES for reply in refused):
        # Some runtimes turn IPv6 off in new namespaces; a pod that gets an address needs it.
        _allow_ipv6(wiring.ifname, namespace, home)
        again = [messages[reply.sequence] for reply in refused]
        refused = [r for r in pod.exchange([*again, messages[-1]]) if r.error]
    if refused:
        raise KernelError(refused[0].error, refused[0].sequence)


def _allow_ipv6(ifname: str, namespace: int, home: int) -> None:
    enter(namespace)
    try:
        switch = Path("/proc/sys/net/ipv6/conf") / ifname / "disable_ipv6"
        switch.write_text("0", encoding="ascii")
    finally:
        enter(home)


def received(wiring: Wiring) -> tuple[bytes, ...]:
    """What to ask the pod's kernel until it receives packets at all of its addresses.

    An IPv6 address does so a moment after it was added, when its local route is there; with IPv4
    the two happen at once.
    """
    return tuple(
        netlink.get_route(family, value)
        for family, value in wiring.addresses
        if family is Family.IPV6
    )


def wait(wiring: Wiring, kernel: Kernel, questions: tuple[bytes, ...]) -> None:
    """The kernel notices a moment later that a link is up, and drops packets until then.

    Who sends before that loses its first packet, which costs a second or more.
    """
    deadline = time.monotonic() + _PATIENCE
    while questions and not all(map(_is_ready, kernel.exchange(questions))):
        if time.monotonic() > deadline:
            raise CniError(
                Code.DATAPATH, f"link {wiring.link} does not come up: look into the kernel log"
            )
        time.sleep(_PAUSE)


def _is_ready(reply: Reply) -> bool:
    if reply.kind == netlink.NEW_LINK:
        return netlink.link_state(reply.body) == netlink.CARRIES
    return reply.kind == netlink.NEW_ROUTE and netlink.route_type(reply.body) == netlink.LOCAL


@contextmanager
def named(what: str) -> Iterator[None]:
    """Says in words what the kernel has refused."""
    try:
        yield
    except KernelError as error:
        raise CniError(Code.DATAPATH, f"{what}: {os.strerror(error.code)}") from error


@contextmanager
def explained(wiring: Wiring) -> Iterator[None]:
    """The same for a link that is being set up."""
    try:
        yield
    except KernelError as error:
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
