"""The Linux fabric beyond the contract: foreign routes, missing rules and interfaces, a crash."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import structs

from ipam.errors import UnavailableError
from ipam.prefix import Prefix
from tests.namespaces import eventually, namespaces
from tests.routers import Router, interfaces, ip, router, settings
from vpcrouter.fabric.linux.fabric import LinuxFabric
from vpcrouter.fabric.linux.rows import Cidrs
from vpcrouter.fabric.linux.settings import PROTOCOL
from vpcrouter.fabric.port import (
    FabricUnavailableError,
    NetworkInterface,
    Observation,
    OutdatedError,
    RefusedError,
    Row,
    RowState,
)
from vpcrouter.model import Action, Step

POD = Prefix.parse("100.64.0.0/16")

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def linux() -> Iterator[Router]:
    with router() as made:
        yield made


def create(destination: Prefix, interface: str) -> Step:
    return Step(Action.CREATE, destination, interface, None, "test")


def rows(seen: Observation, table: str = "rtb-a") -> list[Row]:
    (found,) = [one for one in seen.tables if one.id == table]
    return [row for row in found.rows if row.destination == POD]


def test_an_entry_is_a_route_that_carries_our_protocol(linux: Router) -> None:
    linux.fabric.apply("rtb-a", create(POD, "eni-b1"))
    shown = linux.ip(f"route show table 101 proto {PROTOCOL}")
    assert shown.startswith("100.64.0.0/16 via 10.0.16.5 dev br-b metric 50")


def test_packets_from_a_subnet_take_its_table_alone(linux: Router) -> None:
    linux.fabric.apply("rtb-a", create(POD, "eni-b1"))
    assert "via 10.0.16.5" in linux.ip("route get 100.64.0.1 from 10.0.0.4 iif br-a")
    assert "via 10.0.16.9" in linux.ip("route get 100.64.0.1 from 10.0.16.4 iif br-b")


@pytest.mark.parametrize("metric", [0, 50, 1000])
def test_a_foreign_route_keeps_ours_out_and_is_left_alone(linux: Router, metric: int) -> None:
    linux.ip(f"route add {POD} via 10.0.0.6 table 101 metric {metric}")
    before = linux.ip("route show table 101")
    assert [row.to_interface for row in rows(linux.fabric.read())] == [False]
    with pytest.raises(OutdatedError, match="RouteAlreadyExists"):
        linux.fabric.apply("rtb-a", create(POD, "eni-a0"))
    for action in (Action.REPLACE, Action.DELETE):
        wanted = "eni-a1" if action is Action.REPLACE else None
        with pytest.raises(OutdatedError, match="not touched"):
            linux.fabric.apply("rtb-a", Step(action, POD, wanted, "eni-a2", "test"))
    assert linux.ip("route show table 101") == before


@pytest.mark.parametrize("metric", [0, 1000])
def test_a_foreign_route_beside_ours_is_said_and_only_ours_goes(linux: Router, metric: int) -> None:
    linux.fabric.apply("rtb-a", create(POD, "eni-a0"))
    linux.ip(f"route add {POD} via 10.0.0.6 table 101 metric {metric}")
    seen = linux.fabric.read()
    assert [row.to_interface for row in rows(seen)] == [True, False]
    (warning,) = seen.warnings
    assert "rtb-a 100.64.0.0/16: somebody else" in warning
    linux.fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a1", "eni-a0", "test"))
    assert f"via 10.0.0.5 dev br-a proto {PROTOCOL}" in linux.ip(f"route show {POD} table 101")
    linux.fabric.apply("rtb-a", Step(Action.DELETE, POD, None, "eni-a1", "test"))
    assert [row.to_interface for row in rows(linux.fabric.read())] == [False]


def test_a_route_of_our_protocol_that_is_no_entry_is_foreign(linux: Router) -> None:
    for number, kind in enumerate(("blackhole", "unreachable", "prohibit", "throw")):
        destination = f"100.{65 + number}.0.0/16"
        linux.ip(f"route add {kind} {destination} table 101 proto {PROTOCOL} metric 50")
    hops = "nexthop via 10.0.0.4 nexthop via 10.0.0.5"
    linux.ip(f"route add 100.80.0.0/16 table 101 proto {PROTOCOL} metric 50 {hops}")
    found = next(table for table in linux.fabric.read().tables if table.id == "rtb-a")
    targets = {str(row.destination): row.target for row in found.rows if not row.to_interface}
    assert targets["100.65.0.0/16"] == "blackhole"
    assert targets["100.68.0.0/16"] == "throw"
    assert targets["100.80.0.0/16"] == "several"
    assert not any(row.to_interface for row in found.rows)


def test_an_entry_to_a_machine_that_is_gone_is_named_by_its_address(linux: Router) -> None:
    linux.fabric.apply("rtb-a", create(POD, "eni-a0"))
    fabric = LinuxFabric(settings(linux.space.path), lambda cidrs: interfaces(cidrs)[1:])
    (row,) = rows(fabric.read())
    assert (row.target, row.to_interface) == ("10.0.0.4", True)
    fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a1", "10.0.0.4", "test"))
    assert rows(fabric.read())[0].target == "eni-a1"


def test_a_next_hop_without_an_address_of_the_family_is_refused(linux: Router) -> None:
    fabric = LinuxFabric(
        settings(linux.space.path),
        lambda cidrs: [
            structs.replace(one, addresses={f: a for f, a in one.addresses.items() if f == "ipv4"})
            for one in interfaces(cidrs)
        ],
    )
    with pytest.raises(RefusedError, match="eni-a0 has no ipv6 address"):
        fabric.apply("rtb-a", create(Prefix.parse("fd00::/48"), "eni-a0"))


def test_an_interface_that_carries_nothing_shows_as_a_blackhole(linux: Router) -> None:
    linux.ip("link add port type veth peer name other")
    linux.ip("link set port master br-a up")
    linux.ip("link set other up")
    eventually(lambda: "LOWER_UP" in linux.ip("link show br-a"))
    linux.fabric.apply("rtb-a", create(POD, "eni-a0"))
    assert rows(linux.fabric.read())[0].state is RowState.ACTIVE
    linux.ip("link set other down")
    eventually(lambda: rows(linux.fabric.read())[0].state is RowState.BLACKHOLE)


def test_a_subnet_that_does_not_use_its_table_is_said(linux: Router) -> None:
    assert linux.fabric.read().warnings == ()
    linux.ip("-6 rule del iif br-b lookup 102")
    (warning,) = linux.fabric.read().warnings
    assert "subnet subnet-b" in warning
    remedy = warning.rpartition(": ")[2]
    linux.ip(remedy.removeprefix("ip "))
    assert linux.fabric.read().warnings == ()


def test_without_the_interface_of_a_subnet_nothing_is_read_or_changed(linux: Router) -> None:
    linux.ip("link del br-b")
    with pytest.raises(UnavailableError, match="subnet-b: the router has no interface br-b"):
        linux.fabric.read()
    with pytest.raises(FabricUnavailableError):
        linux.fabric.apply("rtb-a", create(POD, "eni-a0"))


def test_a_router_that_is_not_there_is_unavailable() -> None:
    fabric = LinuxFabric(settings("/run/netns/no-such-router"), interfaces)
    with pytest.raises(UnavailableError, match=r"no-such-router.*No such file"):
        fabric.read()
    with pytest.raises(FabricUnavailableError, match="no-such-router"):
        fabric.apply("rtb-a", create(POD, "eni-a0"))


def test_this_thread_is_back_in_its_own_namespace_whatever_happens(linux: Router) -> None:
    with namespaces(1) as (other,), other.entered():
        before = ip(other, "link")
        linux.fabric.read()
        with pytest.raises(RefusedError):
            linux.fabric.apply("rtb-a", create(POD, "eni-none"))
        with pytest.raises(UnavailableError):
            LinuxFabric(settings("/dev/null"), interfaces).read()
        from pyroute2 import IPRoute

        with IPRoute() as kernel:
            assert len(kernel.get_links()) == before.count("link/")


def test_there_is_no_check_to_switch_on(linux: Router) -> None:
    assert not any(one.source_dest_check for one in linux.fabric.read().interfaces)
    linux.fabric.set_source_dest_check("eni-a0", on=False)
    with pytest.raises(RefusedError, match="no source/destination check"):
        linux.fabric.set_source_dest_check("eni-a0", on=True)
    with pytest.raises(RefusedError, match=r"InvalidNetworkInterfaceID\.NotFound"):
        linux.fabric.set_source_dest_check("eni-none", on=False)


def test_the_list_of_nodes_is_read_again_only_for_a_node_that_is_new(linux: Router) -> None:
    asked = []

    def count(cidrs: Cidrs) -> list[NetworkInterface]:
        asked.append(1)
        found = interfaces(cidrs)
        return found if len(asked) > 1 else found[1:]

    fabric = LinuxFabric(settings(linux.space.path), count)
    fabric.read()
    fabric.apply("rtb-a", create(POD, "eni-a1"))
    fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a2", "eni-a1", "test"))
    assert len(asked) == 1
    fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a0", "eni-a2", "test"))
    assert len(asked) == 2
    assert rows(fabric.read())[0].target == "eni-a0"
