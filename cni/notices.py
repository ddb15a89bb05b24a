"""Notices at once what others change of the node's routing, so that it can be set right.

The kernel tells every change of its routes, rules and links to who asks for it (rtnetlink(7)). Some
go untold, such as routes that vanish with a link: looking now and then stays necessary.
"""

from __future__ import annotations

import errno
import socket

from cni import netlink
from cni.hostroutes import PROTOCOL
from cni.netlink import Reply

_GROUPS = 0x1 | 0x40 | 0x80 | 0x400 | 0x40000  # links; routes and rules of IPv4, of IPv6
_SO_RCVBUFFORCE = 33
_ROOM = 16 << 20  # bytes, for thousands of changes that come at once
_BUFFER = 1 << 17


class Notices:
    """What happens in the network namespace in which this is made. For one thread.

    ``rules`` are the priorities of our rules, ``metric`` that of our routes by way of others.
    """

    def __init__(self, rules: frozenset[int], metric: int) -> None:
        self._rules = rules
        self._metric = metric
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self._socket.bind((0, _GROUPS))

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def disturbed(self, own: int, uplink: int) -> bool:
        """Whether others have changed something of ours since this was asked last.

        ``own`` is the port of the socket that makes our changes, ``uplink`` the index of the link
        that our routes go by.
        """
        found = False
        while True:
            try:
                datagram = self._socket.recv(_BUFFER)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found = True  # more happened than there is room for
                continue
            for notice in netlink.replies(datagram):
                found = found or (notice.port != own and self._concerns(notice, uplink))

    def _concerns(self, notice: Reply, uplink: int) -> bool:
        if notice.kind in (netlink.NEW_LINK, netlink.DELETE_LINK):
            return netlink.link_index(notice.body) == uplink
        if notice.kind == netlink.DELETE_RULE:
            return netlink.rule_priority(notice.body) in self._rules
        if notice.kind not in (netlink.NEW_ROUTE, netlink.DELETE_ROUTE):
            return False
        route = netlink.parse_route(notice.body)
        if route.table != netlink.MAIN_TABLE:
            return False
        if route.protocol != PROTOCOL:  # in the way of ours, or not any more
            return route.metric == self._metric
        is_ours = route.via is not None or route.kind == netlink.UNREACHABLE
        return is_ours and notice.kind == netlink.DELETE_ROUTE
