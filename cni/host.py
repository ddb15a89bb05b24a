"""The node's own network: its uplink, host routes, and what forwarding for others needs.

Only routes with our protocol number and rules with our priorities are ever changed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni.hostroutes import PROTOCOL, HostRoute, PresentRoute, route_changes
from cni.transit import MARK
from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family, Prefix, format_address, parse_address

METRIC = 50
"""Of our host routes: before the metrics that DHCP and network managers choose."""

_SOCKET_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}
_MAIN_TABLE = 254
_GLOBAL_SCOPE = 0
_UNREACHABLE = 7
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

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self._kernel.close()

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
        if accept.exists() and accept.read_text(encoding="ascii").strip() == "1":
            _turn(accept, "2")
        _turn(_switch("ipv4", "all", "forwarding"), "1")
        _turn(_switch("ipv6", "all", "forwarding"), "1")
        # Forwarders send packets out by the interface on which they came; a redirect would tell the
        # sender's router to go round us.
        for name in ("all", uplink.name):
            _turn(_switch("ipv4", name, "send_redirects"), "0")

    def keep_split_horizon(self) -> None:
        """Transit takes any route but the default one, else it is refused as unreachable."""
        with _explained("rules cannot be set"):
            for family in _SOCKET_FAMILY.values():
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

    def put_routes(self, wanted: tuple[HostRoute, ...], uplink: Uplink) -> tuple[Prefix, ...]:
        """Make our host routes the wanted ones; gives those that a foreign route keeps out."""
        with _explained("host routes cannot be changed"):
            changes = route_changes(wanted, self.routes(), uplink.index, METRIC)
            for route in changes.put:
                self._kernel.route(
                    "replace",
                    **_destination(route.destination),
                    gateway=format_address(route.destination.family, route.via),
                    oif=uplink.index,
                    proto=PROTOCOL,
                    priority=METRIC,
                )
            for present in changes.remove:
                self._remove(present)
        return changes.in_the_way

    def refuse_unassigned(self, blocks: tuple[Prefix, ...]) -> None:
        """Answer for addresses of our own blocks that no pod has: they must not go back."""
        with _explained("routes for unassigned addresses cannot be changed"):
            present = set(self._refused())
            for block in set(blocks) - present:
                self._kernel.route(
                    "replace",
                    **_destination(block),
                    type="unreachable",
                    proto=PROTOCOL,
                    priority=METRIC,
                )
            for block in present - set(blocks):
                self._kernel.route(
                    "del", **_destination(block), type="unreachable", priority=METRIC
                )

    def _refused(self) -> Iterator[Prefix]:
        for family, number in _SOCKET_FAMILY.items():
            for route in self._kernel.get_routes(family=number, table=_MAIN_TABLE):
                if route["type"] == _UNREACHABLE and route["proto"] == PROTOCOL:
                    yield Prefix(family, parse_address(route.get("dst"))[1], route["dst_len"])

    def routes(self) -> tuple[PresentRoute, ...]:
        """The routes of the main table, but for default routes and those to pods."""
        found = []
        for family, number in _SOCKET_FAMILY.items():
            for route in self._kernel.get_routes(family=number, table=_MAIN_TABLE):
                text, gateway = route.get("dst"), route.get("gateway")
                if text is None or (route["proto"] == PROTOCOL and gateway is None):
                    continue
                destination = Prefix(family, parse_address(text)[1], route["dst_len"])
                via = parse_address(gateway)[1] if gateway else None
                metric = route.get("priority") or 0
                found.append(
                    PresentRoute(destination, via, route.get("oif"), route["proto"], metric)
                )
        return tuple(found)

    def _remove(self, route: PresentRoute) -> None:
        try:
            self._kernel.route(
                "del", **_destination(route.destination), proto=PROTOCOL, priority=route.metric
            )
        except NetlinkError as error:
            if error.code != errno.ESRCH:
                raise

    def _index(self, name: str) -> int:
        try:
            return int(self._kernel.link("get", ifname=name)[0]["index"])
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                raise BadInputError(f"there is no interface {name}: name the uplink") from error
            raise

    def _default_interface(self) -> int:
        for family in _SOCKET_FAMILY.values():
            for route in self._kernel.get_routes(family=family, table=_MAIN_TABLE):
                if route["dst_len"] == 0 and route.get("oif"):
                    return int(route.get("oif"))
        raise BadInputError("there is no default route: name the uplink with --uplink")


def _destination(prefix: Prefix) -> dict[str, object]:
    return {"family": _SOCKET_FAMILY[prefix.family], "dst": str(prefix), "table": _MAIN_TABLE}


def _switch(family: str, interface: str, name: str) -> Path:
    return Path("/proc/sys/net") / family / "conf" / interface / name


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
    except NetlinkError as error:
        raise UnavailableError(f"{what}: {os.strerror(error.code)}") from error
