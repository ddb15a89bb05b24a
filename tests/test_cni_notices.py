"""What others change of the node's routing is noticed at once; all else is no reason to look."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from cni.host import METRIC, Host, Uplink
from cni.hostroutes import PROTOCOL, HostRoute
from ipam.prefix import Family, Prefix, parse_address
from tests.cni_nodes import give_uplink
from tests.namespaces import Namespace, namespaces

pytestmark = pytest.mark.usefixtures("root")

OWN = tuple(map(Prefix.parse, ("10.64.0.0/26", "fd00:64::/80")))
WANTED = tuple(
    HostRoute(Prefix.parse(destination), parse_address(via)[1])
    for destination, via in (
        ("10.64.1.0/26", "192.0.2.11"),
        ("10.64.2.0/26", "192.0.2.12"),
        ("fd00:64:0:0:1::/80", "2001:db8::11"),
    )
)
MANY = 5_000


@pytest.fixture
def space(root: None) -> Iterator[Namespace]:  # noqa: ARG001
    with namespaces(1) as (made,):
        give_uplink(made)
        ip(made, "link set uplink up")
        yield made


@pytest.fixture
def host(space: Namespace) -> Iterator[Host]:
    """All is as wanted."""
    with space.entered(), Host() as made:
        made.keep_split_horizon()
        made.check(WANTED, OWN, made.uplink(""))
        made.disturbed()
        yield made


@pytest.fixture
def uplink(host: Host) -> Uplink:
    return host.uplink("")


def ip(space: Namespace, command: str, stdin: str = "") -> None:
    words = ("nsenter", f"--net={space.path}", "ip", *command.split())
    subprocess.run(words, input=stdin, text=True, check=True)


def test_our_own_changes_are_none(host: Host, uplink: Uplink) -> None:
    moved = (HostRoute(WANTED[0].destination, WANTED[1].via), *WANTED[2:])
    for wanted, own in ((moved, OWN), (WANTED, OWN), (WANTED[:1], OWN[:1]), ((), ())):
        host.refuse(own)
        host.follow(wanted, own, uplink)
        host.check(wanted, own, uplink)
        host.keep_split_horizon()
        assert not host.disturbed()


@pytest.mark.parametrize(
    "command",
    [
        f"route del 10.64.1.0/26 proto {PROTOCOL} metric {METRIC}",
        f"-6 route del fd00:64:0:0:1::/80 proto {PROTOCOL} metric {METRIC}",
        f"route replace 10.64.1.0/26 via 192.0.2.77 metric {METRIC}",
        f"route del 10.64.7.0/26 via 192.0.2.77 metric {METRIC}",
        f"route del unreachable 10.64.0.0/26 metric {METRIC}",
        f"route flush proto {PROTOCOL}",
        "rule del priority 1170",
        "-6 rule del priority 1171",
        "link set uplink down",
    ],
)
def test_what_others_take_from_us_is_noticed_once(
    space: Namespace, host: Host, uplink: Uplink, command: str
) -> None:
    ip(space, f"route add 10.64.7.0/26 via 192.0.2.77 metric {METRIC}")
    assert host.disturbed()
    ip(space, command)
    assert host.disturbed()
    assert not host.disturbed()
    if "uplink" in command:
        ip(space, "link set uplink up")
        ip(space, "route add default dev uplink")
        assert host.disturbed()
    host.keep_split_horizon()
    host.check(WANTED, OWN, uplink)
    assert not host.disturbed()


@pytest.mark.parametrize(
    "command",
    [
        f"route add 10.64.0.5/32 dev outside proto {PROTOCOL}",  # a pod's
        f"route del 10.64.0.9/32 dev outside proto {PROTOCOL}",
        "route add 10.99.0.0/16 via 192.0.2.77",
        f"route add 10.99.1.0/24 via 192.0.2.77 metric {METRIC} table 7",
        "rule add priority 900 lookup 7",
        "rule del priority 901",
        "link add name other type veth peer name third",
        "link set outside alias something",
        "addr add 203.0.113.9/32 dev lo",
    ],
)
def test_what_is_not_ours_is_no_reason_to_look(space: Namespace, host: Host, command: str) -> None:
    ip(space, f"route add 10.64.0.9/32 dev outside proto {PROTOCOL}")
    ip(space, "rule add priority 901 lookup 7")
    assert not host.disturbed()
    ip(space, command)
    assert not host.disturbed()


def test_thousands_of_changes_are_noticed(space: Namespace, host: Host, uplink: Uplink) -> None:
    via = parse_address("192.0.2.11")[1]
    many = tuple(
        HostRoute(Prefix(Family.IPV4, (11 << 24) + (n << 6), 26), via) for n in range(MANY)
    )
    host.follow(many, OWN, uplink)
    host.check(many, OWN, uplink)
    assert not host.disturbed()
    ip(space, f"route flush proto {PROTOCOL}")
    assert host.disturbed()
    assert host.check(many, OWN, uplink) == []
    assert not host.disturbed()
    assert host.missing(many) == ()
