"""Mode ipvlan: refused by name where the kernel has none, and pods with it where it has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from cni import agent, netlink
from cni.addresses import AddressFile
from cni.datapath import Datapath
from cni.errors import CniError, Code
from cni.install import CONFIGURATION, install_configuration
from cni.ipvlan import Ipvlan
from cni.plugin import TYPE
from cni.pods import Pods
from cni.protocol import Attachment, Mode, parse_request
from cni.reaper import Reaper
from cni.turns import Turns
from ipam.prefix import Family, Prefix
from tests import emulated
from tests.cni_nodes import give_uplink
from tests.counts import examples
from tests.ipvlan_guest import HELD
from tests.namespaces import Namespace, namespaces

BLOCKS = (Prefix.parse("10.64.0.0/26"), Prefix.parse("fd00:64::/80"))
NAMES = st.from_regex(r"[a-z]{1,15}", fullmatch=True)
INDEXES = st.integers(1, 2**31 - 1)


def variables(command: str, netns: str = "/var/run/netns/x") -> dict[str, str]:
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "pod-1",
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
    }


def stdin(fields: Mapping[str, object]) -> bytes:
    return json.dumps({"cniVersion": "1.1.0", "name": "pods", "type": TYPE, **fields}).encode()


# Configuration.


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, Mode.VETH),
        ({"mode": None}, Mode.VETH),
        ({"mode": ""}, Mode.VETH),
        ({"mode": "veth"}, Mode.VETH),
        ({"mode": "ipvlan"}, Mode.IPVLAN),
    ],
)
def test_the_mode_is_a_field_of_the_configuration(fields: dict[str, object], mode: Mode) -> None:
    assert parse_request(variables("ADD"), stdin(fields)).mode is mode


@pytest.mark.parametrize("mode", ["l3s", "IPVLAN", "macvlan", 7, ["ipvlan"]])
def test_another_mode_is_refused_by_name(mode: object) -> None:
    with pytest.raises(CniError, match="field mode of the network configuration") as caught:
        parse_request(variables("ADD"), stdin({"mode": mode}))
    assert caught.value.code is Code.CONFIG


def test_the_written_configuration_says_the_mode(tmp_path: Path) -> None:
    written = {}
    for mode in Mode:
        install_configuration(tmp_path / mode, "pods", (), mode)
        fields = json.loads((tmp_path / mode / CONFIGURATION).read_text())
        (written[mode],) = fields["plugins"]
    assert "mode" not in written[Mode.VETH]
    assert written[Mode.IPVLAN]["mode"] == "ipvlan"
    assert written[Mode.IPVLAN]["capabilities"] == {"ips": True}


def test_the_mode_of_a_pod_outlives_the_agent(tmp_path: Path) -> None:
    attachments = {mode: Attachment(f"pod-{mode}", "eth0") for mode in Mode}
    with AddressFile(tmp_path / "pods", "i-1") as file:
        file.set_blocks(BLOCKS)
        for mode, attachment in attachments.items():
            file.assign(attachment, "pods", mode=mode)
    with AddressFile(tmp_path / "pods", "i-1") as file:
        assert {e.attachment: e.mode for e in file.endpoints()} == {
            attachment: mode for mode, attachment in attachments.items()
        }


# Messages.


def read(message: bytes) -> dict[str, object]:
    """The message as pyroute2 reads it: attributes by name."""
    (parsed,) = MarshalRtnl().parse(message)
    return dict(parsed["attrs"])


def without_nesting(message: bytes) -> bytes:
    """pyroute2 does not mark attributes that hold others; the kernel wants no mark of these."""
    return message.replace(b"\x12\x80", b"\x12\x00").replace(b"\x02\x80", b"\x02\x00")


@settings(max_examples=examples(test=25, prove=2_000))
@given(NAMES, st.integers(68, 65535), INDEXES, st.none() | st.integers(0, 2**31 - 1))
def test_an_interface_of_the_uplink(
    name: str, mtu: int, uplink: int, namespace: int | None
) -> None:
    found = read(netlink.new_ipvlan(name, mtu, uplink, namespace))
    assert (found["IFLA_IFNAME"], found["IFLA_MTU"], found["IFLA_LINK"]) == (name, mtu, uplink)
    assert found.get("IFLA_NET_NS_FD") == namespace
    info = found["IFLA_LINKINFO"]
    assert info.get("IFLA_INFO_KIND") == "ipvlan"  # type: ignore[attr-defined]
    data = info.get("IFLA_INFO_DATA")  # type: ignore[attr-defined]
    assert data.get("IFLA_IPVLAN_MODE") == 2


def test_it_is_byte_for_byte_what_pyroute2_sends() -> None:
    message = ifinfmsg()
    message["header"].update(type=16, flags=1 | 4 | 0x200 | 0x400)
    data = {"attrs": [("IFLA_IPVLAN_MODE", 2)]}
    info = {"attrs": [("IFLA_INFO_KIND", "ipvlan"), ("IFLA_INFO_DATA", data)]}
    message["attrs"] = [
        *(("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1450), ("IFLA_LINK", 7)),
        *(("IFLA_NET_NS_FD", 9), ("IFLA_LINKINFO", info)),
    ]
    message.encode()
    assert without_nesting(netlink.new_ipvlan("eth0", 1450, 7, 9)) == bytes(message.data)


@given(INDEXES, st.sampled_from(Family))
def test_a_default_route_without_a_gateway(index: int, family: Family) -> None:
    (parsed,) = MarshalRtnl().parse(netlink.new_default_link_route(index, family))
    assert (parsed["family"], parsed["dst_len"]) == (netlink.SOCKET_FAMILY[family], 0)
    assert (parsed["table"], parsed["type"], parsed["scope"]) == (254, 1, 253)
    assert dict(parsed["attrs"]) == {"RTA_OIF": index}


# A kernel without ipvlan.


@pytest.fixture
def no_ipvlan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked for a kind of links that none has, in place of ipvlan."""
    asked = netlink.try_ipvlan().replace(b"ipvlan\0", b"nolink\0")
    monkeypatch.setattr(netlink, "try_ipvlan", lambda: asked)


@pytest.fixture
def node(root: None) -> Iterator[tuple[Namespace, Namespace]]:  # noqa: ARG001
    """A node with an uplink, and a pod."""
    with namespaces(2) as (node, pod):
        give_uplink(node)
        yield node, pod


@pytest.mark.usefixtures("no_ipvlan")
def test_without_ipvlan_requests_are_refused_by_name(
    node: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    space, pod = node
    with space.entered(), ExitStack() as stack:
        addresses = stack.enter_context(AddressFile(tmp_path / "pods", "i-1"))
        addresses.set_blocks(BLOCKS)
        reaper = Reaper()
        stack.callback(reaper.stop)
        datapath = stack.enter_context(Datapath(reaper))
        ipvlan = stack.enter_context(Ipvlan("uplink"))
        turns: Turns[Attachment] = Turns()
        pods = Pods(addresses, datapath, ipvlan, turns, 1450)
        for command, code in (("ADD", 2), ("STATUS", 50)):
            asked = variables(command, pod.path)
            status, output = pods.answer(asked, stdin({"mode": "ipvlan"}))
            answer = json.loads(output)
            assert (status, answer["code"]) == (1, code)
            assert "mode: ipvlan is not supported here" in answer["msg"]
            assert "load its module ipvlan, or use mode: veth" in answer["msg"]
            assert pods.answer(variables("STATUS"), stdin({})) == (0, b"")
        assert addresses.endpoints() == ()
        assert addresses.occupied() == {family: set() for family in Family}
        for command in ("DEL", "DEL"):
            assert pods.answer(variables(command), stdin({"mode": "ipvlan"})) == (0, b"")


@pytest.mark.usefixtures("no_ipvlan")
def test_without_ipvlan_an_agent_does_not_start_with_it(
    node: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    options = {
        "--node": "node-1",
        "--identity": "i-1",
        "--store": str(tmp_path / "store"),
        "--state": str(tmp_path / "state"),
        "--socket": str(tmp_path / "run" / "agent.sock"),
        "--cni-conf": str(tmp_path / "conf"),
        "--mode": "ipvlan",
    }
    with node[0].entered():
        outcome = CliRunner().invoke(agent.main, [w for pair in options.items() for w in pair])
    assert outcome.exit_code == 2
    assert "vpcrouter-agent: mode: ipvlan is not supported here" in outcome.output
    assert not (tmp_path / "conf").exists()


# A kernel that has it.


@pytest.mark.prove
def test_pods_of_mode_ipvlan_in_debians_kernel(pytestconfig: pytest.Config) -> None:
    cache = pytestconfig.cache
    assert cache is not None
    said = emulated.run_emulated(emulated.kernel(cache.mkdir("kernels")), "tests.ipvlan_guest")
    assert f"held: {HELD}\n" in said.replace("\r", ""), said
