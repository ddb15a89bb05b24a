"""Pods of mode ipvlan, in a kernel that has it: run by root in a machine that is thrown away.

Prints what holds, and at the end that everything does; or ends with what does not.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cni.addresses import AddressFile
from cni.caretaker import Caretaker
from cni.datapath import Datapath
from cni.firewall import Firewall
from cni.hostroutes import PROTOCOL
from cni.ipvlan import WAY_IN, Ipvlan
from cni.plugin import TYPE
from cni.pods import Pods
from cni.protocol import Attachment
from cni.reaper import Reaper
from cni.transit import Rules
from cni.turns import Turns
from ipam.prefix import Prefix
from tests.namespaces import Namespace, eventually, namespaces

BLOCKS = (Prefix.parse("10.64.0.0/26"), Prefix.parse("fd00:64::/80"))
NODE = ("198.51.100.10", "2001:db8::10")
OUTSIDE = ("198.51.100.1", "2001:db8::1")
MTU = 1450
HELD = "everything"
PATIENT = 60.0
"""Seconds for what must come, which an emulated machine may take long for."""


class Place:
    """A node with an uplink to somebody outside, and room for pods."""

    def __init__(self, spaces: tuple[Namespace, ...], folder: Path, stack: ExitStack) -> None:
        self.outside, self.node, *self.spaces = spaces
        self._join()
        with self.node.entered():
            addresses = stack.enter_context(AddressFile(folder / "pods", "i-1", rest=0.0))
            addresses.set_blocks(BLOCKS)
            reaper = Reaper()
            stack.callback(reaper.stop)
            datapath = stack.enter_context(Datapath(reaper))
            ipvlan = stack.enter_context(Ipvlan("uplink"))
            ipvlan.prepare()
            turns: Turns[Attachment] = Turns()
            self.pods = Pods(addresses, datapath, ipvlan, turns, MTU)
            self.caretaker = Caretaker(addresses, self.pods, datapath)

    def _join(self) -> None:
        with self.node.kernel() as kernel:
            kernel.link(
                *("add",),
                ifname="uplink",
                kind="veth",
                mtu=MTU,
                peer={"ifname": "outside", "net_ns_fd": self.outside.path, "mtu": MTU},
            )
        ends = ((self.node, "uplink", NODE), (self.outside, "outside", OUTSIDE))
        for space, name, (ipv4, ipv6) in ends:
            with space.kernel() as kernel:
                index = kernel.link_lookup(ifname=name)[0]
                kernel.link("set", index=index, state="up")
                kernel.addr("add", index=index, address=ipv4, prefixlen=24)
                kernel.addr("add", index=index, address=ipv6, prefixlen=64, flags=2)
        with self.outside.kernel() as kernel:
            for block, via in zip(BLOCKS, NODE, strict=True):
                kernel.route("add", dst=str(block), gateway=via)
        with self.node.kernel() as kernel:
            for family, via in zip((2, 10), OUTSIDE, strict=True):
                kernel.route("add", family=family, dst="default", gateway=via)
        eventually(lambda: self.node.ping(OUTSIDE[1], timeout=1.0), PATIENT)

    def call(
        self, command: str, number: int, netns: str, config: Mapping[str, object] | None = None
    ) -> tuple[int, dict[str, object]]:
        """What a request gives: exit status and answer."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"pod-{number}",
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
        }
        fields = {"cniVersion": "1.1.0", "name": "pods", "type": TYPE, "mode": "ipvlan"}
        stdin = json.dumps({**fields, **(config or {})}).encode()
        with self.node.entered():
            status, output = self.pods.answer(environment, stdin)
        return status, json.loads(output) if output else {}

    def add(self, number: int, space: Namespace) -> dict[str, object]:
        """A pod of that number in this namespace; gives the result."""
        status, answer = self.call("ADD", number, space.path)
        assert status == 0, answer
        return answer

    def refused(
        self, command: str, space: Namespace, config: Mapping[str, object], number: int = 9
    ) -> int:
        """The code with which a request is refused."""
        status, answer = self.call(command, number, space.path, config)
        assert status == 1, answer
        code = answer["code"]
        assert isinstance(code, int)
        return code


@contextmanager
def places() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder, namespaces(5) as spaces, ExitStack() as stack:
        yield Place(spaces, Path(folder), stack)


def has_interface(space: Namespace) -> bool:
    with space.kernel() as kernel:
        return bool(kernel.link_lookup(ifname="eth0"))


def addresses_of(result: dict[str, object]) -> list[str]:
    """The addresses in a result, without their lengths."""
    return [item["address"].partition("/")[0] for item in result["ips"]]  # type: ignore[attr-defined]


def main() -> None:
    with places() as place:
        check(place)
    said(HELD)


def said(what: str) -> None:
    sys.stdout.write(f"held: {what}\n")
    sys.stdout.flush()


def check(place: Place) -> None:
    one, two, three = place.spaces
    results = place.add(1, one), place.add(2, two)
    first, second = map(addresses_of, results)
    check_results(place, results[0])
    check_ways(place, first, second)
    check_masquerade(place)
    check_mending(place, first)
    check_refusals(place, first, three)
    check_removal(place, first, second)


def check_results(place: Place, result: dict[str, object]) -> None:
    with place.node.kernel() as kernel:
        uplink = kernel.link("get", ifname="uplink")[0]
    with place.spaces[0].kernel() as kernel:
        inside = kernel.link("get", ifname="eth0")[0]
    assert inside.get(("linkinfo", "kind")) == "ipvlan"
    assert inside.get(("linkinfo", "data")).get("IFLA_IPVLAN_MODE") == 2
    assert inside.get("mtu") == uplink.get("mtu") == MTU
    interfaces = result["interfaces"]
    assert isinstance(interfaces, list)
    assert [interface["name"] for interface in interfaces] == ["eth0"]
    assert interfaces[0]["mac"] == inside.get("address") == uplink.get("address")
    config = {"prevResult": result}
    status, answer = place.call("CHECK", 1, place.spaces[0].path, config)
    assert status == 0, answer
    said("mode, MTU, hardware address, result and CHECK")


def check_ways(place: Place, first: list[str], second: list[str]) -> None:
    one, two, _ = place.spaces
    for source, targets in (
        (one, (*second, *NODE, *OUTSIDE)),
        (two, (*first, *NODE, *OUTSIDE)),
        (place.node, (*first, *second)),
        (place.outside, (*first, *second)),
    ):
        for target in targets:
            assert source.ping(target, timeout=PATIENT), target
    said("pods, node and outside reach each other")


def check_masquerade(place: Place) -> None:
    """Pods get answers from where nobody has a way back to their addresses."""
    with place.outside.kernel() as kernel:
        for block in BLOCKS:
            kernel.route("del", dst=str(block))
    with place.node.entered():
        Firewall().load(Rules("uplink", BLOCKS, BLOCKS, ()))
    for target in OUTSIDE:
        assert place.spaces[0].ping(target, timeout=PATIENT), target
    for source in (place.node, place.outside):
        assert source.ping(NODE[0], timeout=PATIENT)
    assert place.spaces[0].ping(NODE[0], timeout=PATIENT)
    with place.outside.kernel() as kernel:
        for block, via in zip(BLOCKS, NODE, strict=True):
            kernel.route("add", dst=str(block), gateway=via)
    said("what pods send out of the networks is masqueraded, and answers reach them")


def check_mending(place: Place, first: list[str]) -> None:
    with place.node.kernel() as kernel:
        for family in (2, 10):
            kernel.flush_routes(family=family, proto=PROTOCOL)
        kernel.link("del", index=kernel.link_lookup(ifname=WAY_IN)[0])
    assert not place.node.ping(first[0], timeout=0.5)
    with place.node.entered():
        place.caretaker.look()
    assert all(place.node.ping(address, timeout=PATIENT) for address in first)
    said("way in and routes are mended")


def check_refusals(place: Place, first: list[str], free: Namespace) -> None:
    mac = {"runtimeConfig": {"mac": "0a:58:00:00:00:01"}}
    assert place.refused("ADD", free, mac) == 7
    assert not has_interface(free)
    assert place.refused("ADD", place.node, {}) == 8
    assert place.refused("ADD", place.spaces[0], {}) == 102
    assert place.spaces[0].ping(OUTSIDE[0], timeout=PATIENT)
    assert place.node.ping(first[1], timeout=PATIENT)
    said("refusals leave everything as it was")


def check_removal(place: Place, first: list[str], second: list[str]) -> None:
    one, two, three = place.spaces
    assert place.call("DEL", 2, one.path)[0] == 0
    assert has_interface(one)
    assert has_interface(two)
    assert one.ping(OUTSIDE[0], timeout=PATIENT)
    for _ in range(2):
        assert place.call("DEL", 1, one.path)[0] == 0
    assert not has_interface(one)
    assert not any(place.node.ping(address, timeout=0.5) for address in first)
    wanted = {"runtimeConfig": {"ips": second}}
    assert place.refused("ADD", three, wanted) == 11
    assert not has_interface(three)
    with two.kernel() as kernel:
        kernel.link("del", index=kernel.link_lookup(ifname="eth0")[0])
    status, answer = place.call("ADD", 3, three.path, wanted)
    assert status == 0, answer
    assert three.ping(OUTSIDE[1], timeout=PATIENT)
    assert place.outside.ping(second[0], timeout=PATIENT)
    nobody: dict[str, object] = {"cni.dev/valid-attachments": []}
    assert place.call("GC", 0, "", nobody) == (0, {})
    assert place.call("DEL", 3, three.path) == (0, {})
    assert not place.node.ping(second[0], timeout=0.5)
    said("DEL removes what is the pod's, an address has one interface")


if __name__ == "__main__":
    main()
