"""Messages to the kernel: pyroute2 reads in them what was meant; answers are cut right."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from cni import netlink
from cni.kernel import Kernel, KernelError
from ipam.prefix import Family, Prefix, format_address
from tests.counts import examples
from tests.namespaces import Namespace, namespaces

MAC = "0a:58:01:02:03:04"
NAMES = st.from_regex(r"[a-z]{1,15}", fullmatch=True)
INDEXES = st.integers(1, 2**31 - 1)
MACS = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))


@st.composite
def addresses(draw: st.DrawFn) -> tuple[Family, int]:
    family = draw(st.sampled_from(Family))
    return family, draw(st.integers(0, 2**family.width - 1))


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    family, value = draw(addresses())
    return Prefix(family, value, family.width).ancestor(draw(st.integers(1, family.width)))


def read(message: bytes) -> dict[str, object]:
    """The message as pyroute2 reads it: header fields, and attributes by name."""
    (parsed,) = MarshalRtnl().parse(netlink.numbered([message], 77))
    assert parsed["header"]["sequence_number"] == 77
    fields = {key: value for key, value in parsed.items() if key not in ("attrs", "event")}
    return {**fields, **dict(parsed["attrs"])}


@settings(max_examples=examples(test=25, prove=2_000))
@given(NAMES, MACS, st.integers(68, 65535), NAMES, MACS, st.integers(0, 2**31 - 1))
def test_a_pair(name: str, mac: str, mtu: int, peer: str, peer_mac: str, namespace: int) -> None:
    found = read(netlink.new_pair(name, mac, mtu, peer, peer_mac, namespace))
    assert found["header"]["type"] == 16  # type: ignore[index]
    assert found["header"]["flags"] == 1 | 4 | 0x200 | 0x400  # type: ignore[index]
    assert (found["flags"], found["change"]) == (1, 1)
    assert (found["IFLA_IFNAME"], found["IFLA_ADDRESS"], found["IFLA_MTU"]) == (name, mac, mtu)
    info = found["IFLA_LINKINFO"]
    assert info.get("IFLA_INFO_KIND") == "veth"  # type: ignore[attr-defined]
    inner = info.get("IFLA_INFO_DATA").get("VETH_INFO_PEER")  # type: ignore[attr-defined]
    assert inner.get("IFLA_IFNAME") == peer
    assert inner.get("IFLA_ADDRESS") == peer_mac
    assert inner.get("IFLA_MTU") == mtu
    assert inner.get("IFLA_NET_NS_FD") == namespace


@settings(max_examples=examples(test=25, prove=2_000))
@given(INDEXES, addresses(), MACS, st.integers(0, 255))
def test_what_hangs_on_a_link(
    index: int, address: tuple[Family, int], mac: str, protocol: int
) -> None:
    family, value = address
    text, number = format_address(family, value), netlink.SOCKET_FAMILY[family]
    found = read(netlink.new_address(index, family, value))
    assert (found["family"], found["prefixlen"], found["index"]) == (number, family.width, index)
    assert found["IFA_ADDRESS"] == found["IFA_LOCAL"] == text
    found = read(netlink.new_neighbour(index, family, value, mac))
    assert (found["family"], found["ifindex"], found["state"]) == (number, index, 0x80)
    assert (found["NDA_DST"], found["NDA_LLADDR"]) == (text, mac)
    found = read(netlink.new_default_route(index, family, value))
    assert (found["family"], found["dst_len"], found["flags"]) == (number, 0, 4)
    assert (found["table"], found["type"], found["RTA_OIF"]) == (254, 1, index)
    assert found["RTA_GATEWAY"] == text
    found = read(netlink.new_link_route(index, family, value, protocol))
    assert (found["dst_len"], found["proto"], found["scope"]) == (family.width, protocol, 253)
    assert (found["RTA_DST"], found["RTA_OIF"]) == (text, index)
    found = read(netlink.delete_link_route(family, value, protocol))
    assert (found["header"]["type"], found["proto"]) == (25, protocol)  # type: ignore[index]
    assert (found["dst_len"], found["table"], found["RTA_DST"]) == (family.width, 254, text)
    found = read(netlink.get_route(family, value))
    assert (found["header"]["type"], found["RTA_DST"]) == (26, text)  # type: ignore[index]


@settings(max_examples=examples(test=25, prove=2_000))
@given(prefixes(), INDEXES, st.integers(0, 255), st.integers(1, 2**32 - 1))
def test_a_host_route(destination: Prefix, index: int, protocol: int, metric: int) -> None:
    via = destination.last
    found = read(netlink.new_gateway_route(destination, via, index, protocol, metric))
    text = format_address(destination.family, destination.value)
    assert (found["RTA_DST"], found["dst_len"]) == (text, destination.length)
    assert found["RTA_GATEWAY"] == format_address(destination.family, via)
    assert (found["RTA_OIF"], found["RTA_PRIORITY"], found["proto"]) == (index, metric, protocol)
    found = read(netlink.delete_gateway_route(destination, protocol, metric))
    assert (found["RTA_DST"], found["dst_len"]) == (text, destination.length)
    assert (found["RTA_PRIORITY"], found["proto"]) == (metric, protocol)


@settings(max_examples=examples(test=25, prove=2_000))
@given(NAMES, INDEXES, MACS, st.integers(1, 2**31 - 1))
def test_changes_of_links(name: str, index: int, mac: str, group: int) -> None:
    assert read(netlink.get_link(name))["IFLA_IFNAME"] == name
    assert read(netlink.get_link_at(index))["index"] == index
    found = read(netlink.switch_on(index))
    assert (found["index"], found["flags"], found["change"]) == (index, 1, 1)
    assert read(netlink.set_alias(index, "a b"))["IFLA_IFALIAS"] == "a b"
    found = read(netlink.set_aside(name, mac, group))
    assert (found["index"], found["flags"], found["change"]) == (0, 0, 0)
    assert (found["IFLA_IFNAME"], found["IFLA_ADDRESS"], found["IFLA_GROUP"]) == (name, mac, group)
    found = read(netlink.delete_group(group))
    assert (found["index"], found["IFLA_GROUP"]) == (0, group)
    assert "IFLA_IFNAME" not in found
    assert read(netlink.delete_link(name))["IFLA_IFNAME"] == name


@given(st.lists(st.binary(max_size=40)))
def test_a_batch_is_cut_into_its_messages_again(bodies: list[bytes]) -> None:
    padded = [body + bytes(-len(body) % 4) for body in bodies]
    batch = netlink.numbered([netlink.message(20, 0, body) for body in padded], 5)
    found = [(reply.kind, reply.sequence, reply.body) for reply in netlink.replies(batch)]
    assert found == [(20, 5 + place, body) for place, body in enumerate(padded)]


@given(st.binary(max_size=200))
def test_answers_cut_anywhere_end(datagram: bytes) -> None:
    for reply in netlink.replies(datagram):
        assert reply.error >= 0 or reply.kind == netlink.ERROR


def test_an_error_is_a_number() -> None:
    body = struct.pack("=i", -17) + bytes(16)
    (reply,) = netlink.replies(struct.pack("=IHHII", 36, 2, 0, 9, 0) + body)
    assert (reply.sequence, reply.error) == (9, 17)


@pytest.fixture
def space(root: None) -> Iterator[Namespace]:  # noqa: ARG001
    with namespaces(1) as (made,):
        yield made


def test_the_kernel_says_which_message_it_refuses(space: Namespace) -> None:
    with space.entered():
        kernel = Kernel()
    with pytest.raises(KernelError) as caught:
        kernel.do((netlink.get_link("lo"), netlink.get_link("none"), netlink.get_link_at(1)))
    assert (caught.value.code, caught.value.place) == (19, 1)
    link = netlink.parse_link(kernel.do((netlink.get_link("lo"),))[0].body)
    assert (link.index, link.name, link.flags & netlink.UP) == (1, "lo", netlink.UP)
    kernel.close()


def test_thousands_of_messages_go_out_in_parts(space: Namespace) -> None:
    block = Prefix.parse("10.64.0.0/16")
    routes = [Prefix(Family.IPV4, block.value + 64 * i, 26) for i in range(1000)]
    with space.kernel() as reference:
        reference.addr("add", index=1, address="192.0.2.1", prefixlen=24)
    with space.entered():
        kernel = Kernel()
    wanted = [netlink.new_gateway_route(r, 0xC0000202, 1, 117, 50) for r in routes]
    wanted[500] = netlink.new_gateway_route(routes[0], 0x01020304, 1, 117, 51)
    codes = kernel.put_all(wanted)
    assert [place for place, code in enumerate(codes) if code] == [500]
    with space.kernel() as reference:
        found = [r for r in reference.get_routes(family=2) if r["proto"] == 117]
    assert len(found) == 999
    kernel.close()
