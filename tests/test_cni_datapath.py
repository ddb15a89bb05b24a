"""Pod links in network namespaces: they carry packets, and nothing is left of what failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cni.datapath import Datapath, Wiring
from cni.errors import CniError, Code
from cni.inspection import faults, pod_links
from cni.reaper import Reaper
from ipam.prefix import Family, parse_address
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")

MTU = 1400
NODE_V4, NODE_V6 = "192.0.2.1", "2001:db8::1"


@pytest.fixture
def spaces(root: None) -> Iterator[tuple[Namespace, ...]]:  # noqa: ARG001
    """A node that forwards, and two pods."""
    with namespaces(3) as made:
        node, *_ = made
        with node.entered():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        with node.kernel() as kernel:
            kernel.addr("add", index=1, address=NODE_V4, prefixlen=32)
            kernel.addr("add", index=1, address=NODE_V6, prefixlen=128)
        eventually(lambda: node.ping(NODE_V6, timeout=0.05))
        yield made


@pytest.fixture
def datapath(spaces: tuple[Namespace, ...]) -> Iterator[Datapath]:
    with spaces[0].entered():
        reaper = Reaper()
        with Datapath(reaper) as made:
            yield made
        reaper.stop()


def wiring(number: int, *addresses: str) -> Wiring:
    return Wiring(
        f"vr{number:012x}",
        "eth0",
        f"0a:58:00:00:00:{number:02x}",
        MTU,
        tuple(map(parse_address, addresses)),
    )


ONE = wiring(1, "10.64.0.0", "fd00::")
TWO = wiring(2, "10.64.0.63", "fd00::ffff")


def state_of(space: Namespace) -> tuple[object, ...]:
    """Links, addresses, routes and neighbours of a namespace, but for what moves by itself."""
    with space.kernel() as kernel:
        return (
            [link.get("ifname") for link in kernel.get_links()],
            sorted(address.get("address") for address in kernel.get_addr()),
            sorted((str(r.get("dst")), r["dst_len"]) for r in kernel.get_routes()),
            sorted(n.get("dst") for n in kernel.get_neighbours() if n["state"] == 0x80),
        )


def test_pods_reach_each_other_and_their_node(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    _, one, two = spaces
    datapath.attach(ONE, one.path)
    datapath.attach(TWO, two.path)
    for pod, others in ((one, ("10.64.0.63", "fd00::ffff")), (two, ("10.64.0.0", "fd00::"))):
        for address in (*others, NODE_V4, NODE_V6):
            assert pod.ping(address), address
    assert faults(ONE, one.path) == ()
    assert set(pod_links()) == {ONE.link, TWO.link}


def test_no_neighbour_is_ever_asked_for(spaces: tuple[Namespace, ...], datapath: Datapath) -> None:
    node, one, _ = spaces
    datapath.attach(ONE, one.path)
    assert one.ping(NODE_V4)
    for space in (node, one):
        with space.kernel() as kernel:
            unicast = [
                n
                for family in (2, 10)
                for n in kernel.get_neighbours(family=family)
                if n["state"] != 0x40  # multicast and loopback need none
            ]
            assert len(unicast) == 2
            assert {n["state"] for n in unicast} == {0x80}


def test_both_ends_have_the_mtu_that_was_asked_for(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    node, one, _ = spaces
    datapath.attach(ONE, one.path)
    for space, name in ((node, ONE.link), (one, "eth0")):
        with space.kernel() as kernel:
            assert kernel.link("get", ifname=name)[0].get("mtu") == MTU


@pytest.mark.parametrize("address", ["10.64.0.9", "fd00::9"])
def test_one_family_alone_works(
    spaces: tuple[Namespace, ...], datapath: Datapath, address: str
) -> None:
    _, one, _ = spaces
    datapath.attach(wiring(1, address), one.path)
    assert one.ping(NODE_V6 if ":" in address else NODE_V4)


def test_ipv6_that_a_runtime_turned_off_is_turned_on(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    _, one, _ = spaces
    with one.entered():
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    datapath.attach(ONE, one.path)
    assert one.ping(NODE_V6)


def test_removing_leaves_nothing_and_may_be_repeated(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    before = [state_of(space) for space in spaces]
    datapath.attach(ONE, spaces[1].path)
    assert [state_of(space) for space in spaces] != before
    datapath.detach(ONE.link)
    datapath.detach(ONE.link)
    assert [state_of(space) for space in spaces] == before


def test_removing_works_when_the_pod_is_gone(datapath: Datapath) -> None:
    with namespaces(1) as (pod,):
        datapath.attach(ONE, pod.path)
    datapath.detach(ONE.link)
    assert pod_links() == {}


def test_an_existing_interface_is_an_error_and_stays(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    _, one, _ = spaces
    datapath.attach(ONE, one.path)
    before = [state_of(space) for space in spaces]
    with pytest.raises(CniError) as caught:
        datapath.attach(TWO, one.path)
    assert caught.value.code is Code.EXISTS
    assert [state_of(space) for space in spaces] == before


def test_what_fails_halfway_is_undone(spaces: tuple[Namespace, ...], datapath: Datapath) -> None:
    _, one, _ = spaces
    with one.kernel() as kernel:
        kernel.link("add", ifname="other", kind="veth", peer="another")
        kernel.link("set", index=kernel.link_lookup(ifname="other")[0], state="up")
        kernel.link("set", index=kernel.link_lookup(ifname="another")[0], state="up")
        index = kernel.link_lookup(ifname="other")[0]
        kernel.route("add", dst="0.0.0.0/0", oif=index)
    before = [state_of(space)[:2] for space in spaces]
    with pytest.raises(CniError) as caught:
        datapath.attach(ONE, one.path)
    assert caught.value.code is Code.EXISTS
    assert [state_of(space)[:2] for space in spaces] == before


def test_what_is_cut_off_passes_nothing_and_goes_within_a_second(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    node, one, two = spaces
    before = state_of(node)
    datapath.attach(ONE, one.path)
    datapath.attach(TWO, two.path)
    reaper = datapath._reaper
    datapath.cut(ONE)
    for source, target in (
        (one, NODE_V4),
        (one, "10.64.0.63"),
        (two, "10.64.0.0"),
        (node, "fd00::"),
    ):
        assert not source.ping(target, timeout=0.05), target
    assert two.ping(NODE_V4)
    datapath.cut(ONE)
    datapath.cut(TWO)
    assert len(pod_links()) == 2
    reaper.start()
    eventually(lambda: state_of(node) == before, seconds=1.0)


def test_a_new_pod_may_have_all_that_one_just_cut_off_had(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    _, one, two = spaces
    datapath.attach(ONE, one.path)
    datapath.cut(ONE)
    datapath.attach(ONE, one.path)
    assert one.ping(NODE_V6)
    datapath.cut(ONE)
    datapath.attach(replace(ONE, link="vr00000000000f"), one.path)
    assert one.ping(NODE_V4)
    assert two.ping(NODE_V4) is False
    assert set(pod_links()) == {"vr00000000000f"}


def test_a_link_left_over_from_a_crash_is_replaced(
    spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    _, one, two = spaces
    datapath.attach(ONE, two.path)
    datapath.attach(ONE, one.path)
    assert one.ping(NODE_V4)
    assert set(pod_links()) == {ONE.link}


def test_faults_are_named(spaces: tuple[Namespace, ...], datapath: Datapath) -> None:
    _, one, _ = spaces
    datapath.attach(ONE, one.path)
    with one.kernel() as kernel:
        index = kernel.link_lookup(ifname="eth0")[0]
        kernel.addr("del", index=index, address="10.64.0.0", prefixlen=32)
        kernel.route("del", family=10, dst="::/0", oif=index)
    found = "; ".join(faults(ONE, one.path))
    assert "has lost its address 10.64.0.0" in found
    assert "no default route of ipv6" in found
    datapath.detach(ONE.link)
    found = "; ".join(faults(ONE, one.path))
    assert "missing on the host" in found
    assert "missing in the pod" in found


def test_links_of_others_are_not_ours(spaces: tuple[Namespace, ...]) -> None:
    with spaces[0].kernel() as kernel:
        kernel.link("add", ifname="vr0123456789ab", kind="veth", peer="vrpeer")
    with spaces[0].entered():
        assert pod_links() == {}


def test_a_path_that_is_no_pod_is_refused(
    tmp_path: Path, spaces: tuple[Namespace, ...], datapath: Datapath
) -> None:
    file, link, fifo = tmp_path / "file", tmp_path / "link", tmp_path / "folder"
    file.write_text("x")
    link.symlink_to(file)
    fifo.mkdir()
    codes = {
        str(file): Code.ENVIRONMENT,
        str(link): Code.ENVIRONMENT,
        str(fifo): Code.ENVIRONMENT,
        f"/proc/{spaces[0].pid}/ns/mnt": Code.ENVIRONMENT,
        "/dev/null": Code.ENVIRONMENT,
        str(tmp_path / "gone"): Code.CONTAINER,
        spaces[0].path: Code.NAMESPACE,
    }
    for path, code in codes.items():
        with pytest.raises(CniError) as caught:
            datapath.attach(ONE, path)
        assert caught.value.code is code, path
    assert pod_links() == {}
    assert Family.IPV4 in dict(ONE.addresses)
