"""The node's own network: its uplink, host routes, and what forwarding for others needs.

Only routes with our protocol number and rules with our priorities are ever changed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni import netlink
from cni.hostroutes import PROTOCOL, HostRoute, PresentRoute, route_changes
from cni.kernel import Kernel, KernelError
from cni.netlink import SOCKET_FAMILY, Route
from cni.notices import Notices
from cni.transit import MARK
from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family, Prefix, parse_address

METRIC = 50
"""Of our host routes: before the metrics that DHCP and network managers choose."""

STALE_METRIC = 60
"""Of host routes that were put back after a restart, until it is known what they should be."""

_MAIN_TABLE = netlink.MAIN_TABLE
_GLOBAL_SCOPE = 0
_RULES: dict[int, dict[str, int | str]] = {
    1170: {"table": _MAIN_TABLE, "suppress_prefixlen": 0},
    1171: {"action": "unreachable"},
}


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface towards the VPC router; ``mtu`` in bytes, one address of each family."""

    name: str
    index: int
    mtu: int
    addresses: dict[Family, int]


class Host:
    """The network namespace in which this is made. For one thread."""

    def __init__(self) -> None:
        self._kernel = IPRoute()
        self._routes = Kernel()
        self._notices = Notices(frozenset(_RULES), METRIC)
        self._put: dict[Prefix, int] = {}
        self._uplink = 0
        self._refused: tuple[Prefix, ...] = ()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self._kernel.close()
        self._routes.close()
        self._notices.close()

    def uplink(self, name: str) -> Uplink:
        """The interface of this name, or that of the default route if the name is empty."""
        with _explained("the uplink cannot be read"):
            index = self._index(name) if name else self._default_interface()
            link = self._kernel.link("get", index=index)[0]
            addresses: dict[Family, int] = {}
            for found in self._kernel.get_addr(index=index):
                if found["scope"] == _GLOBAL_SCOPE:
                    family, value = parse_address(found.get("local") or found.get("address"))
                    addresses.setdefault(family, value)
        return Uplink(link.get("ifname"), index, link.get("mtu"), addresses)

    def allow_forwarding(self, uplink: Uplink) -> None:
        """Let packets pass between pods and uplink, in and out by the same interface too."""
        accept = _switch("ipv6", uplink.name, "accept_ra")
        # A kernel that forwards listens to router advertisements only with 2.
        if _reads(accept, "1"):
            _turn(accept, "2")
        _turn(_switch("ipv4", "all", "forwarding"), "1")
        _turn(_switch("ipv6", "all", "forwarding"), "1")
        # Forwarders send packets out by the interface on which they came; a redirect would tell the
        # sender's router to go round us.
        for name in ("all", uplink.name):
            _turn(_switch("ipv4", name, "send_redirects"), "0")
        # The way back of what a forwarder passes on is another one: loose, not strict.
        strict = [_switch("ipv4", name, "rp_filter") for name in ("all", uplink.name)]
        if any(_reads(switch, "1") for switch in strict):
            _turn(strict[-1], "2")

    def keep_split_horizon(self) -> None:
        """Transit takes any route but the default one, else it is refused as unreachable."""
        with _explained("rules cannot be set"):
            for family in SOCKET_FAMILY.values():
                present = {rule.get("priority") for rule in self._kernel.get_rules(family=family)}
                for priority, action in _RULES.items():
                    if priority not in present:
                        self._kernel.rule(
                            "add",
                            family=family,
                            priority=priority,
                            fwmark=MARK,
                            fwmask=MARK,
                            **action,
                        )

    def refuse(self, own: tuple[Prefix, ...]) -> None:
        """Answer for new blocks of our own, before the rules for transit leave them alone.

        Between the two, the default route would send what comes for them back to where it is from.
        """
        self._refuse(set(own) - set(self._refused))

    def follow(
        self, wanted: tuple[HostRoute, ...], own: tuple[Prefix, ...], uplink: Uplink
    ) -> Sequence[str]:
        """Do what ``check`` does, where nobody else has changed anything since it was called.

        Only what differs from the last time is sent to the kernel, which is not asked anything.
        """
        if uplink.index != self._uplink or own != self._refused:
            return self.check(wanted, own, uplink)
        targets = {route.destination: route.via for route in wanted}
        new = [route for route in wanted if route.destination not in self._put]
        moved = [
            route for route in wanted if self._put.get(route.destination, route.via) != route.via
        ]
        gone = [destination for destination in self._put if destination not in targets]
        make = [*(_new(route, uplink) for route in new), *(_move(r, uplink) for r in moved)]
        with _explained("host routes cannot be changed"):
            made = self._routes.put_all(make)
            removed = self._routes.put_all([_delete(destination, METRIC) for destination in gone])
        if any(made) or any(code not in (0, errno.ESRCH) for code in removed):
            return self.check(wanted, own, uplink)
        self._put = targets
        return ()

    def check(
        self, wanted: tuple[HostRoute, ...], own: tuple[Prefix, ...], uplink: Uplink
    ) -> Sequence[str]:
        """Make our host routes the wanted ones, and refuse what no pod of our own blocks has.

        By what the kernel has; gives what cannot be made right, in words.
        """
        present = tuple(self._all())
        self._refuse_unassigned(own, present)
        with _explained("host routes cannot be changed"):
            changes = route_changes(wanted, _gateway_routes(present), uplink.index, METRIC)
            codes = self._routes.put_all([_move(route, uplink) for route in changes.put])
            self._routes.put_all([_delete(r.destination, r.metric) for r in changes.remove])
        refused = _refusals(changes.put, codes)
        missing = {*refused, *changes.in_the_way}
        self._put = {r.destination: r.via for r in wanted if r.destination not in missing}
        self._uplink = uplink.index
        found = _told("made", refused)
        if changes.in_the_way:
            listed = ", ".join(map(str, changes.in_the_way))
            found.append(f"foreign routes stand in the way of host routes to {listed}: remove them")
        return found

    def disturbed(self) -> bool:
        """Whether others have changed anything of ours that ``check`` would set right.

        As far as the kernel tells: not everything is told.
        """
        return self._notices.disturbed(self._routes.port, self._uplink)

    def missing(self, wanted: Iterable[HostRoute]) -> tuple[Prefix, ...]:
        """To which of these there is no host route, after ``follow`` or ``check`` of them."""
        return tuple(r.destination for r in wanted if r.destination not in self._put)

    def put_back(self, known: tuple[HostRoute, ...], uplink: Uplink) -> tuple[int, Sequence[str]]:
        """Add what is missing of host routes that were known before; nothing is changed or removed.

        They may be old, so that they have a metric of their own: ``check`` puts the right ones in
        their place. Gives how many there are with it, and what cannot be added, in words.
        """
        present = tuple(self._all())
        ours = [r for r in present if r.protocol == PROTOCOL and r.via is not None]
        there = {route.destination for route in ours}
        missing = [route for route in known if route.destination not in there]
        with _explained("host routes cannot be put back"):
            codes = self._routes.put_all([_new(r, uplink, STALE_METRIC) for r in missing])
        stale = sum(route.metric == STALE_METRIC for route in ours) + codes.count(0)
        return stale, _told("put back", _refusals(missing, codes))

    def _refuse_unassigned(self, own: tuple[Prefix, ...], routes: Iterable[Route]) -> None:
        """Answer for addresses of our own blocks that no pod has: they must not go back."""
        present = _refused(routes)
        self._refuse(set(own) - present)
        gone = [netlink.delete_refusal(b, PROTOCOL, METRIC) for b in present - set(own)]
        self._change_refusals(gone)
        self._refused = own

    def _refuse(self, blocks: Iterable[Prefix]) -> None:
        self._change_refusals([netlink.refuse_prefix(b, PROTOCOL, METRIC) for b in blocks])

    def _change_refusals(self, messages: Sequence[bytes]) -> None:
        with _explained("routes for unassigned addresses cannot be changed"):
            for place, code in enumerate(self._routes.put_all(messages)):
                if code not in (0, errno.ESRCH):
                    raise KernelError(code, place)

    def _all(self) -> Iterator[Route]:
        try:
            for family in Family:
                for reply in self._routes.dump(netlink.get_routes(family)):
                    route = netlink.parse_route(reply.body)
                    if route.table == netlink.MAIN_TABLE:
                        yield route
        except (KernelError, OSError) as error:
            raise UnavailableError(f"the kernel's routes cannot be read ({error})") from error

    def _index(self, name: str) -> int:
        try:
            return int(self._kernel.link("get", ifname=name)[0]["index"])
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                raise BadInputError(f"there is no interface {name}: name the uplink") from error
            raise

    def _default_interface(self) -> int:
        """The link of the best default route, of IPv4 if there is one."""
        found = [
            (route.destination.family, route.metric, route.link)
            for route in self._all()
            if not route.destination.length and route.link is not None
        ]
        if not found:
            raise BadInputError("there is no default route: name the uplink with --uplink")
        return min(found)[2]


def _refused(routes: Iterable[Route]) -> set[Prefix]:
    """The prefixes that a route of ours refuses."""
    return {
        route.destination
        for route in routes
        if route.kind == netlink.UNREACHABLE and route.protocol == PROTOCOL
    }


def _refusals(routes: Sequence[HostRoute], codes: Sequence[int]) -> dict[Prefix, str]:
    """Why the kernel did not take a route, by its destination."""
    pairs = zip(routes, codes, strict=True)
    return {route.destination: os.strerror(code) for route, code in pairs if code}


def _told(what: str, refused: Mapping[Prefix, str]) -> list[str]:
    if not refused:
        return []
    first, why = next(iter(refused.items()))
    return [f"{len(refused)} host routes cannot be {what}, the first to {first}: {why}"]


def _gateway_routes(routes: Iterable[Route]) -> Iterator[PresentRoute]:
    """All routes but for default routes and those to pods."""
    for r in routes:
        if r.destination.length and (r.protocol != PROTOCOL or r.via is not None):
            yield PresentRoute(r.destination, r.via, r.link, r.protocol, r.metric)


def _new(route: HostRoute, uplink: Uplink, metric: int = METRIC) -> bytes:
    return netlink.new_gateway_route(route.destination, route.via, uplink.index, PROTOCOL, metric)


def _move(route: HostRoute, uplink: Uplink) -> bytes:
    return netlink.move_gateway_route(route.destination, route.via, uplink.index, PROTOCOL, METRIC)


def _delete(destination: Prefix, metric: int) -> bytes:
    return netlink.delete_gateway_route(destination, PROTOCOL, metric)


def _switch(family: str, interface: str, name: str) -> Path:
    return Path("/proc/sys/net") / family / "conf" / interface / name


def _reads(switch: Path, value: str) -> bool:
    try:
        return switch.read_text(encoding="ascii").strip() == value
    except OSError:
        return False


def _turn(switch: Path, value: str) -> None:
    """Set a switch of the kernel unless it is set; one that this kernel lacks needs no setting."""
    try:
        if switch.read_text(encoding="ascii").strip() != value:
            switch.write_text(value, encoding="ascii")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"{switch} cannot be set to {value}: {error.strerror}") from error


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, KernelError) as error:
        raise UnavailableError(f"{what}: {os.strerror(error.code)}") from error
