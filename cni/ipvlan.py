"""A pod's link in mode ipvlan: an interface of the uplink (l3s) in the pod, none of its own here.

The pod has its addresses with full length and default routes by the interface alone, and the
hardware address of the uplink; on such an interface nobody ever asks for one. What the pod sends
goes through output and postrouting of the host, what is for it through its prerouting, then
directly to it. Between pods of this node the kernel passes packets directly.

The host itself cannot send to interfaces of its uplink by the uplink. Therefore it has one ipvlan
interface too, the way in: the routes to pods lead there. It carries no address, so that the host
sends with the uplink's.

A pod's interface is removed with DEL at once, since the pod's namespace, by which alone it is
found, may be gone a moment later; it goes with that namespace in any case.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from cni import netlink
from cni.datapath import (
    GONE,
    OWN_ALIAS,
    Wiring,
    configure,
    connected,
    explained,
    named,
    received,
    wait,
)
from cni.errors import CniError, Code
from cni.hostroutes import PROTOCOL
from cni.kernel import Kernel, KernelError
from cni.namespaces import opened, own, refuse_same
from cni.netlink import Link

WAY_IN = "vrpods"
"""The host's own ipvlan interface."""


class Ipvlan:
    """Pods' interfaces of the uplink with this name. For one thread.

    The uplink is in the network namespace in which this is made.
    """

    def __init__(self, uplink: str) -> None:
        self._uplink = uplink
        self._namespace = own()
        self._host = Kernel()

    def __enter__(self) -> Ipvlan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection to the kernel; interfaces stay."""
        self._host.close()
        os.close(self._namespace)

    def demand(self) -> None:
        """Raises CniError with code 2 where this kernel has no ipvlan. Makes nothing."""
        with named("the kernel cannot be asked for ipvlan"):
            (reply,) = self._host.exchange([netlink.try_ipvlan()])
        if reply.error != errno.EINVAL:
            raise CniError(
                Code.FIELD,
                "mode: ipvlan is not supported here, this kernel has no ipvlan "
                f"({os.strerror(reply.error)}): load its module ipvlan, or use mode: veth",
            )

    def prepare(self) -> None:
        """Make the way in, so that all that may be missing for pods is said. Raises CniError."""
        self.demand()
        with self._made(f"interface {WAY_IN} cannot be made"):
            self._way_in()

    def mac(self) -> str:
        """The hardware address of the uplink, and so of all pods."""
        with named(f"uplink {self._uplink} cannot be read"):
            return self._link(self._uplink).mac

    def attach(self, wiring: Wiring, netns: str) -> None:
        """Connect the pod whose network namespace has this path.

        Raises CniError, with nothing left behind, where that is not possible.
        """
        self.demand()
        what = f"interface {wiring.ifname} of uplink {self._uplink} cannot be made"
        with opened(netns) as namespace, explained(wiring), self._made(what):
            refuse_same(namespace, self._namespace, netns)
            with connected(namespace, self._namespace) as pod, ExitStack() as undo:
                uplink, way_in = self._way_in()
                made = netlink.new_ipvlan(wiring.ifname, wiring.mtu, uplink.index, namespace)
                self._host.do([made])
                undo.callback(pod.exchange, [netlink.delete_link(wiring.ifname)])
                index, messages = _set_up(pod, wiring)
                configure(pod, wiring, (index, messages), namespace, self._namespace)
                undo.callback(self._host.exchange, _forget(wiring))
                self._route(wiring, way_in)
                # Its state says nothing: the kernel never notices that such an interface is up.
                wait(wiring, pod, received(wiring))
                undo.pop_all()

    def cut(self, wiring: Wiring, netns: str) -> None:
        """Remove a pod's interface and the routes to it; fine if they are gone.

        Without the path of its namespace, which then is about to go, only the routes.
        """
        with named(f"routes to {wiring.link} cannot be removed"):
            for reply in self._host.exchange(_forget(wiring)):
                if reply.error and reply.error not in GONE:
                    raise KernelError(reply.error, reply.sequence)
        with named(f"interface {wiring.ifname} cannot be removed"), ExitStack() as stack:
            try:
                namespace = stack.enter_context(opened(netns)) if netns else self._namespace
            except CniError:
                return  # no namespace is there any more, so no interface
            if not os.path.samestat(os.fstat(namespace), os.fstat(self._namespace)):
                _remove(stack.enter_context(connected(namespace, self._namespace)), wiring)

    def mend(self, wiring: Wiring) -> None:
        """Give the host back what it has lost: the way in, and the routes to a pod."""
        with self._made(f"routes to {wiring.link} cannot be mended"):
            self._route(wiring, self._way_in()[1])

    def _way_in(self) -> tuple[Link, Link]:
        """The uplink and the way in, which is made if it is missing."""
        uplink = self._link(self._uplink)
        (reply,) = self._host.exchange([netlink.get_link(WAY_IN)])
        if reply.error in GONE:
            made = netlink.new_ipvlan(WAY_IN, uplink.mtu, uplink.index)
            (answer,) = self._host.exchange([made])
            if answer.error not in (0, errno.EEXIST):  # another thread was faster
                raise KernelError(answer.error, 0)
        way_in = self._link(WAY_IN)
        if way_in.peer != uplink.index:
            raise CniError(
                Code.DATAPATH,
                f"interface {WAY_IN} does not belong to uplink {self._uplink}: remove it",
            )
        if not way_in.flags & netlink.UP:
            index = way_in.index
            self._host.do([netlink.switch_on(index), netlink.get_link_at(index)])
        return uplink, way_in

    def _link(self, name: str) -> Link:
        (found,) = self._host.do([netlink.get_link(name)])
        return netlink.parse_link(found.body)

    def _route(self, wiring: Wiring, way_in: Link) -> None:
        routes = [
            netlink.new_link_route(way_in.index, family, value, PROTOCOL)
            for family, value in wiring.addresses
        ]
        self._host.do([*routes, netlink.get_link_at(way_in.index)])

    @contextmanager
    def _made(self, what: str) -> Iterator[None]:
        """Says what the kernel means where an interface of the uplink cannot be made."""
        try:
            yield
        except KernelError as error:
            if error.code == errno.EEXIST:
                raise
            if error.code == errno.EADDRINUSE:
                raise CniError(
                    Code.TRY_LATER,
                    f"{what}: the interface of a pod that was stopped has its address until its "
                    "namespace ends: trying again takes another address",
                ) from error
            if error.code == errno.EBUSY:
                raise CniError(
                    Code.DATAPATH,
                    f"{what}: the uplink belongs to a bridge or has macvlan interfaces: take it "
                    "out, or use mode: veth",
                ) from error
            raise CniError(Code.DATAPATH, f"{what}: {os.strerror(error.code)}") from error


def _set_up(pod: Kernel, wiring: Wiring) -> tuple[int, list[bytes]]:
    (found,) = pod.do([netlink.get_link(wiring.ifname)])
    index = netlink.parse_link(found.body).index
    messages = [netlink.set_alias(index, _alias(wiring)), netlink.switch_on(index)]
    for family, value in wiring.addresses:
        messages += (
            netlink.new_address(index, family, value),
            netlink.new_default_link_route(index, family),
        )
    return index, messages


def _forget(wiring: Wiring) -> list[bytes]:
    """Takes the routes to a pod; the last message asks for an answer."""
    messages = [netlink.delete_link_route(f, value, PROTOCOL) for f, value in wiring.addresses]
    return [*messages, netlink.get_link(WAY_IN)]


def _remove(pod: Kernel, wiring: Wiring) -> None:
    """Remove the interface if it is this pod's, by what is written beside it."""
    (reply,) = pod.exchange([netlink.get_link(wiring.ifname)])
    if reply.error or netlink.parse_link(reply.body).alias != _alias(wiring):
        return
    (reply,) = pod.exchange([netlink.delete_link(wiring.ifname)])
    if reply.error and reply.error not in GONE:
        raise KernelError(reply.error, 0)


def _alias(wiring: Wiring) -> str:
    return f"{OWN_ALIAS} {wiring.link}"
