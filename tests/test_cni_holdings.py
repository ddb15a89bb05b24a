"""A node's blocks: one when it comes, the next before it runs out, and empty ones go back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cni.addresses import AddressFile
from cni.errors import CniError, Code
from cni.holdings import Holdings, Registration
from cni.protocol import Attachment
from ipam.allocator import Allocator
from ipam.claims import Claims
from ipam.errors import ExhaustedError
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore

NETWORK = Network("pods", (Prefix.parse("10.64.0.0/16"),), {Family.IPV4: 28}, {Family.IPV4: 24})
SUBNET = Registration("subnet-1", {"zone": "a"})


class World:
    """A store with an allocator, and one node with a clock."""

    def __init__(self, folder: Path, registration: Registration) -> None:
        self.now = 1000.0
        self.store = MemoryStore()
        self.owners = Addresses(self.store, "test", [NETWORK])
        self.allocator = Allocator(self.store, self.owners)
        self.claims = Claims(self.store, "node-1", "i-1")
        self.addresses = AddressFile(folder / "pods", "i-1", 30.0, lambda: self.now)
        self.node = Holdings(self.claims, self.addresses, registration, lambda: self.now, 300.0)
        self.count = 0

    def settle(self) -> None:
        self.node.settle(self.owners.load().networks, True)
        self.allocator.run({Family.IPV4: 50})
        self.node.settle(self.owners.load().networks, True)

    def start_pods(self, count: int) -> list[Attachment]:
        """Pods start one after the other, and the node settles after each."""
        made = []
        for _ in range(count):
            self.count += 1
            made.append(Attachment(f"pod-{self.count}", "eth0"))
            self.addresses.assign(made[-1], "pods")
            self.settle()
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, SUBNET)
    yield made
    made.addresses.close()


def test_a_node_that_registers_gets_a_block(world: World) -> None:
    world.settle()
    assert len(world.addresses.blocks) == 1
    assert world.owners.load().nodes["node-1"].blocks == world.addresses.blocks


def test_pods_never_wait_for_a_block(world: World) -> None:
    world.settle()
    world.start_pods(100)
    assert 7 <= len(world.addresses.blocks) <= 8
    assert set(world.addresses.blocks) == set(world.owners.load().nodes["node-1"].blocks)


def test_empty_blocks_are_given_back_after_a_while(world: World) -> None:
    world.settle()
    pods = world.start_pods(40)
    before = world.addresses.blocks
    assert len(before) >= 3
    for pod in pods[1:]:
        world.addresses.release(pod)
    world.settle()
    assert world.addresses.blocks == before  # addresses rest
    world.now += 31
    world.addresses.tidy()
    world.settle()
    assert world.addresses.blocks == before  # not at once
    world.now += 301
    world.settle()
    world.settle()
    assert len(world.addresses.blocks) == 2
    assert world.addresses.find(pods[0]) is not None
    assert set(world.owners.load().nodes["node-1"].blocks) == set(world.addresses.blocks)


def test_without_a_subnet_it_is_in_the_one_that_the_store_says(tmp_path: Path) -> None:
    world = World(tmp_path, Registration("", {}))
    world.settle()
    assert world.addresses.blocks == ()
    named = Claims(world.store, "node-1", "i-1")
    named.register("subnet-7", {}, {Family.IPV4: 1})
    world.allocator.run({Family.IPV4: 50})
    world.settle()
    world.start_pods(20)
    assert world.owners.load().nodes["node-1"].subnet == "subnet-7"
    world.addresses.close()


def test_a_store_that_does_not_know_the_node_takes_nothing(world: World) -> None:
    world.settle()
    blocks = world.addresses.blocks
    empty = Claims(MemoryStore(), "node-1", "i-1")
    other = Holdings(empty, world.addresses, Registration("", {}), lambda: world.now)
    other.settle([NETWORK], True)
    assert world.addresses.blocks == blocks != ()


def test_where_nothing_is_left_it_is_said(world: World) -> None:
    small = Network("pods", (Prefix.parse("10.64.0.0/28"),), {Family.IPV4: 28}, {Family.IPV4: 28})
    world.owners = Addresses(world.store, "test", [small])
    world.allocator = Allocator(world.store, world.owners)
    world.settle()
    with pytest.raises(ExhaustedError):
        world.start_pods(17)
    assert world.node.refused


def test_the_lease_is_held(world: World) -> None:
    world.node.keep_alive()
    assert [item.key for item in world.store.range("/alive/").items] == ["/alive/node-1/i-1"]


TENANTS = Network(
    "tenants",
    (Prefix.parse("10.65.0.0/16"),),
    {Family.IPV4: 28},
    {Family.IPV4: 24},
    tenants=("bank",),
)


def test_a_namespace_has_its_own_network(world: World) -> None:
    world.owners = Addresses(world.store, "test", [NETWORK, TENANTS])
    world.allocator = Allocator(world.store, world.owners)
    world.settle()
    pod = Attachment("pod", "eth0")
    with pytest.raises(CniError, match="no block of network tenants") as caught:
        world.addresses.assign(pod, "pods", namespace="bank")
    assert caught.value.code is Code.TRY_LATER
    world.settle()
    ((_, value),) = world.addresses.assign(pod, "pods", namespace="bank").addresses
    assert TENANTS.cidrs[0].holds(value)
    ((_, value),) = world.addresses.assign(Attachment("other", "eth0"), "pods").addresses
    assert NETWORK.cidrs[0].holds(value)


def test_pinned_namespaces_are_known_without_the_store(world: World, tmp_path: Path) -> None:
    world.owners = Addresses(world.store, "test", [NETWORK, TENANTS])
    world.allocator = Allocator(world.store, world.owners)
    world.settle()
    world.addresses.close()
    world.addresses = AddressFile(tmp_path / "pods", "i-1", 30.0, lambda: world.now)
    with pytest.raises(CniError, match="pinned"):
        world.addresses.assign(Attachment("pod", "eth0"), "pods", namespace="bank")
