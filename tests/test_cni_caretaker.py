"""Pods that run are looked after: what they lost comes back, or their addresses are free."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from cni.addresses import AddressFile
from cni.caretaker import Caretaker, Meter
from cni.datapath import Datapath
from cni.hostroutes import PROTOCOL
from cni.ipvlan import Ipvlan
from cni.plugin import TYPE
from cni.pods import Pods
from cni.protocol import Attachment
from cni.reaper import Reaper
from cni.turns import Turns
from ipam.prefix import Family, Prefix, format_address
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")

BLOCKS = tuple(map(Prefix.parse, ("10.64.0.0/26", "fd00::/80")))


@dataclass(frozen=True, slots=True)
class Place:
    """A node without an agent, inside which the test runs, and two namespaces for pods."""

    spaces: tuple[Namespace, ...]
    addresses: AddressFile
    pods: Pods
    caretaker: Caretaker

    def start(self, number: int) -> list[str]:
        """Starts a pod; gives its addresses."""
        environment = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"pod-{number}",
            "CNI_NETNS": self.spaces[number].path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
        }
        config = {"cniVersion": "1.0.0", "name": "pods", "type": TYPE}
        status, output = self.pods.answer(environment, json.dumps(config).encode())
        assert status == 0, output
        endpoint = self.addresses.find(Attachment(f"pod-{number}", "eth0"))
        assert endpoint is not None
        return [format_address(*address) for address in endpoint.addresses]


@pytest.fixture
def place(root: None, tmp_path: Path) -> Iterator[Place]:  # noqa: ARG001
    with namespaces(3) as spaces, spaces[0].entered(), ExitStack() as stack:
        with spaces[0].kernel() as kernel:
            kernel.addr("add", index=1, address="192.0.2.1", prefixlen=32)
            kernel.addr("add", index=1, address="2001:db8::1", prefixlen=128)
        addresses = stack.enter_context(AddressFile(tmp_path / "pods", "i-1"))
        addresses.set_blocks(BLOCKS)
        reaper = Reaper()
        datapath = stack.enter_context(Datapath(reaper))
        stack.callback(reaper.stop)
        turns: Turns[Attachment] = Turns()
        ipvlan = stack.enter_context(Ipvlan("lo"))
        pods = Pods(addresses, datapath, ipvlan, turns, 1450)
        yield Place(spaces, addresses, pods, Caretaker(addresses, pods, datapath))


def test_routes_that_somebody_removed_come_back(place: Place) -> None:
    found = place.start(1)
    place.caretaker.look()
    node = place.spaces[0]
    eventually(lambda: all(node.ping(address) for address in found))
    with node.kernel() as kernel:
        for family in (2, 10):
            kernel.flush_routes(family=family, proto=PROTOCOL)
    assert not node.ping(found[0], timeout=0.05)
    place.caretaker.look()
    assert all(node.ping(address) for address in found)


def test_a_pod_that_lost_its_link_leaves_its_addresses(place: Place) -> None:
    place.start(1)
    place.start(2)
    place.caretaker.look()
    with place.spaces[1].kernel() as kernel:
        kernel.link("del", index=kernel.link_lookup(ifname="eth0")[0])
    place.caretaker.look()
    (left,) = place.addresses.endpoints()
    assert left.attachment.container == "pod-2"


def test_from_another_namespace_nobody_has_lost_anything(place: Place) -> None:
    place.start(1)
    with place.spaces[2].entered():
        reaper = Reaper()
        with Datapath(reaper) as elsewhere, Ipvlan("lo") as ipvlan:
            turns: Turns[Attachment] = Turns()
            pods = Pods(place.addresses, elsewhere, ipvlan, turns, 1450)
            caretaker = Caretaker(place.addresses, pods, elsewhere)
            caretaker.look()
            caretaker.look()
        reaper.stop()
    assert len(place.addresses.endpoints()) == 1


def test_addresses_of_the_host_are_left_alone(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with place.spaces[0].kernel() as kernel:
        kernel.addr("add", index=1, address="10.64.0.0", prefixlen=32)
        kernel.addr("add", index=1, address="10.64.0.2", prefixlen=32)
    place.caretaker.look()
    assert place.start(1)[0] == "10.64.0.1"
    assert place.start(2)[0] == "10.64.0.3"
    with place.spaces[0].kernel() as kernel:
        kernel.addr("add", index=1, address="10.64.0.3", prefixlen=32)
    place.caretaker.look()
    assert "10.64.0.3 is an address of this host and of a pod" in caplog.text


def test_what_goes_to_and_from_pods_is_measured(place: Place) -> None:
    meter = Meter(place.addresses)
    address, _ = place.start(1)
    meter.read(BLOCKS)
    eventually(lambda: place.spaces[0].ping(address))
    load = meter.read(BLOCKS)[BLOCKS[0]]
    assert load.pods == 1
    assert load.bytes >= 2 * 42
    assert {block.family for block in meter.read(BLOCKS)} == set(Family)
