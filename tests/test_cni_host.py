"""The node's own network: switches, rules and routes become right, and those of others stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cni.host import METRIC, STALE_METRIC, Host, Uplink
from cni.hostroutes import PROTOCOL, HostRoute
from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, parse_address
from tests.cni_nodes import give_uplink
from tests.namespaces import Namespace, namespaces

pytestmark = pytest.mark.usefixtures("root")

SWITCHES = Path("/proc/sys/net")
OWN = tuple(map(Prefix.parse, ("10.64.0.0/26", "fd00:64::/80")))


@pytest.fixture
def space(root: None) -> Iterator[Namespace]:  # noqa: ARG001
    with namespaces(1) as (made,):
        give_uplink(made)
        yield made


@pytest.fixture
def host(space: Namespace) -> Iterator[Host]:
    with space.entered(), Host() as made:
        yield made


@pytest.fixture
def uplink(host: Host) -> Uplink:
    return host.uplink("")


def route(destination: str, via: str) -> HostRoute:
    return HostRoute(Prefix.parse(destination), parse_address(via)[1])


WANTED = (
    route("10.64.1.0/26", "192.0.2.11"),
    route("10.64.2.0/26", "192.0.2.12"),
    route("fd00:64:0:0:1::/80", "2001:db8::11"),
)


def kernel_routes(space: Namespace) -> dict[str, str | None]:
    """Our routes of every kind: destination and gateway."""
    with space.kernel() as kernel:
        return {
            f"{r.get('dst')}/{r['dst_len']}": r.get("gateway")
            for family in (2, 10)
            for r in kernel.get_routes(family=family)
            if r["proto"] == PROTOCOL
        }


def test_the_uplink_is_that_of_the_default_route(host: Host, uplink: Uplink) -> None:
    assert (uplink.name, uplink.mtu) == ("uplink", 1450)
    assert uplink.addresses == dict(map(parse_address, ("192.0.2.10", "2001:db8::10")))
    assert host.uplink("outside").name == "outside"
    with pytest.raises(BadInputError, match="no interface none"):
        host.uplink("none")


def test_without_a_default_route_the_uplink_must_be_named(space: Namespace, host: Host) -> None:
    with space.kernel() as kernel:
        kernel.route("del", dst="0.0.0.0/0")
    with pytest.raises(BadInputError, match="--uplink"):
        host.uplink("")


def test_forwarding_finds_what_it_needs(host: Host, uplink: Uplink) -> None:
    (SWITCHES / "ipv4/conf/all/rp_filter").write_text("1")
    (SWITCHES / "ipv6/conf/uplink/accept_ra").write_text("1")
    host.allow_forwarding(uplink)
    found = {
        name: (SWITCHES / name).read_text().strip()
        for name in (
            "ipv4/conf/all/forwarding",
            "ipv6/conf/all/forwarding",
            "ipv4/conf/uplink/rp_filter",
            "ipv4/conf/all/send_redirects",
            "ipv4/conf/uplink/send_redirects",
            "ipv6/conf/uplink/accept_ra",
        )
    }
    assert list(found.values()) == ["1", "1", "2", "0", "0", "2"]
    assert (SWITCHES / "ipv4/conf/outside/rp_filter").read_text().strip() in ("0", "1")


def test_a_loose_filter_stays(host: Host, uplink: Uplink) -> None:
    (SWITCHES / "ipv4/conf/all/rp_filter").write_text("0")
    (SWITCHES / "ipv4/conf/uplink/rp_filter").write_text("0")
    host.allow_forwarding(uplink)
    assert (SWITCHES / "ipv4/conf/uplink/rp_filter").read_text().strip() == "0"


def test_routes_follow_what_is_wanted(space: Namespace, host: Host, uplink: Uplink) -> None:
    own = {str(block): None for block in OWN}
    assert host.follow(WANTED, OWN, uplink) == []
    assert kernel_routes(space) == {**own, **expected(WANTED)}
    moved = (route("10.64.1.0/26", "192.0.2.99"), *WANTED[2:])
    assert host.follow(moved, OWN[:1], uplink) == []
    assert kernel_routes(space) == {str(OWN[0]): None, **expected(moved)}
    more = (*moved, route("10.64.3.0/26", "192.0.2.13"))
    assert host.follow(more, OWN[:1], uplink) == ()
    assert host.follow(moved[:1], OWN[:1], uplink) == ()
    assert kernel_routes(space) == {str(OWN[0]): None, **expected(moved[:1])}


def expected(routes: tuple[HostRoute, ...]) -> dict[str, str]:
    return {str(r.destination): gateway(r) for r in routes}


def gateway(wanted: HostRoute) -> str:
    last = wanted.via & 0xFF
    return f"192.0.2.{last}" if wanted.destination.family is Family.IPV4 else f"2001:db8::{last:x}"


def test_what_others_removed_is_seen_by_a_check(
    space: Namespace, host: Host, uplink: Uplink
) -> None:
    host.check(WANTED, OWN, uplink)
    before = kernel_routes(space)
    with space.kernel() as kernel:
        kernel.flush_routes(family=2, proto=PROTOCOL)
    assert host.check(WANTED, OWN, uplink) == []
    assert kernel_routes(space) == before


@pytest.mark.parametrize("is_first", [True, False])
def test_a_route_of_somebody_else_stays(
    space: Namespace, host: Host, uplink: Uplink, is_first: bool
) -> None:
    if not is_first:
        host.check(WANTED[1:], OWN, uplink)
    with space.kernel() as kernel:
        kernel.route("add", dst="10.64.1.0/26", gateway="192.0.2.77", priority=METRIC, proto=4)
    (said,) = host.follow(WANTED, OWN, uplink)
    assert "10.64.1.0/26" in said
    assert host.missing(WANTED) == (Prefix.parse("10.64.1.0/26"),)
    with space.kernel() as kernel:
        (theirs,) = [r for r in kernel.get_routes(family=2) if r.get("dst") == "10.64.1.0"]
        assert (theirs["proto"], theirs.get("gateway")) == (4, "192.0.2.77")


def test_a_neighbour_out_of_reach_does_not_keep_the_others_away(
    space: Namespace, host: Host, uplink: Uplink
) -> None:
    far = route("10.64.9.0/26", "198.51.100.1")
    (said,) = host.follow((*WANTED, far), OWN, uplink)
    assert host.missing((*WANTED, far)) == (far.destination,)
    assert host.missing(WANTED) == ()
    assert "1 host routes cannot be made, the first to 10.64.9.0/26" in said
    assert expected(WANTED).items() <= kernel_routes(space).items()


def test_split_horizon_is_two_rules_for_each_family(space: Namespace, host: Host) -> None:
    host.keep_split_horizon()
    host.keep_split_horizon()
    with space.kernel() as kernel:
        for family in (2, 10):
            found = [r.get("priority") for r in kernel.get_rules(family=family)]
            assert [p for p in found if p in (1170, 1171)] == [1170, 1171]


def metrics(space: Namespace) -> dict[str, list[int]]:
    """The metrics of our host routes, by their destinations."""
    found: dict[str, list[int]] = {}
    with space.kernel() as kernel:
        for family in (2, 10):
            for r in kernel.get_routes(family=family):
                if r["proto"] == PROTOCOL and r.get("gateway"):
                    place = f"{r.get('dst')}/{r['dst_len']}"
                    found.setdefault(place, []).append(r.get("priority"))
    return found


def test_what_was_known_before_is_added_and_takes_nothing_away(
    space: Namespace, host: Host, uplink: Uplink
) -> None:
    host.check(WANTED[:1], OWN[:1], uplink)
    moved = route("10.64.1.0/26", "192.0.2.99")
    host.refuse(OWN)
    assert host.put_back((moved, *WANTED[1:]), uplink) == (2, [])
    host.refuse(())
    assert host.put_back((moved, *WANTED[1:2]), uplink) == (2, [])
    assert host.put_back((), uplink) == (2, [])
    own = {str(block): None for block in OWN}
    assert kernel_routes(space) == {**own, **expected(WANTED)}
    assert metrics(space) == {
        "10.64.1.0/26": [METRIC],
        "10.64.2.0/26": [STALE_METRIC],
        "fd00:64:0:0:1::/80": [STALE_METRIC],
    }


def test_what_is_known_takes_the_place_of_what_was(
    space: Namespace, host: Host, uplink: Uplink
) -> None:
    gone = route("10.64.7.0/26", "192.0.2.17")
    moved = route("10.64.1.0/26", "192.0.2.99")
    host.refuse(OWN)
    assert host.put_back((gone, moved, *WANTED[1:]), uplink) == (4, [])
    assert host.follow(WANTED, OWN, uplink) == []
    assert metrics(space) == {destination: [METRIC] for destination in expected(WANTED)}
    assert expected(WANTED).items() <= kernel_routes(space).items()


def test_what_cannot_be_put_back_is_said_and_the_rest_is(
    space: Namespace, host: Host, uplink: Uplink
) -> None:
    far = route("10.64.9.0/26", "198.51.100.1")
    stale, (said,) = host.put_back((far, *WANTED), uplink)
    assert stale == len(WANTED)
    assert "1 host routes cannot be put back, the first to 10.64.9.0/26" in said
    assert metrics(space).keys() == expected(WANTED).keys()
