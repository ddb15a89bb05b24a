"""Real runtimes start and stop pods: containerd's CRI plugin, ctr, podman, a caller in Go."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ipam.model import Claim
from tests.cni_nodes import Node, addresses_of, admit, give_uplink, need_nft, running
from tests.cni_runtimes import (
    GO_PLUGINS,
    Containerd,
    Cri,
    LibCni,
    Podman,
    build_libcni,
    containerd,
    make_root,
    need,
)
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def node(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:  # noqa: ARG001
    need_nft()
    folder = tmp_path_factory.mktemp("runtimes")
    admit(folder / "store", [Claim("node-1", "subnet-1", "i-node-1")])
    with namespaces(1) as (space,):
        give_uplink(space)
        with running(Node("node-1", space, folder, folder / "store")) as made:
            yield made


@pytest.fixture(scope="module")
def engine(node: Node) -> Iterator[Containerd]:
    need("containerd", "runc", "ctr", "busybox")
    with containerd(node, node.folder / "containerd") as made:
        yield made


@pytest.fixture
def cri(engine: Containerd) -> Iterator[Cri]:
    made = Cri(engine.socket)
    yield made
    made.close()


def links(space: Namespace) -> set[str]:
    with space.kernel() as kernel:
        return {link.get("ifname") for link in kernel.get_links()}


def test_kubelets_way_through_containerd(node: Node, cri: Cri) -> None:
    eventually(cri.is_ready)
    before = links(node.space)
    pods = [cri.run(f"pod-{number}") for number in range(3)]
    addresses = [cri.addresses(pod) for pod in pods]
    assert len({address for two in addresses for address in two}) == 6
    for two in addresses:
        for address in two:
            assert node.space.ping(address), address
    for pod in pods:
        cri.stop(pod)
        cri.stop(pod)
        cri.remove(pod)
    eventually(lambda: links(node.space) == before)
    assert "Traceback" not in node.log


def test_without_its_configuration_the_node_is_not_ready(node: Node, cri: Cri) -> None:
    eventually(cri.is_ready)
    (conf,) = node.conf.glob("*.conflist")
    content = conf.read_bytes()
    node.stop()
    conf.unlink()
    eventually(lambda: not cri.is_ready())
    node.start()
    eventually(cri.is_ready)
    assert conf.read_bytes() == content


def test_a_pod_that_cannot_have_a_network_leaves_nothing(node: Node, cri: Cri) -> None:
    before = links(node.space)
    node.stop()
    with pytest.raises(grpc.RpcError, match="the agent of this node does not answer"):
        cri.run("pod-without-agent")
    node.start()
    assert links(node.space) == before


def test_ctr_starts_a_container_with_a_network(node: Node, engine: Containerd) -> None:
    before = links(node.space)
    root = make_root(engine.folder)
    places = f"mkdir -p /opt/cni/bin /etc/cni/net.d; mount --bind {node.bin} /opt/cni/bin; "
    places += f"mount --bind {node.conf} /etc/cni/net.d;"
    made = f"--cni --rm --rootfs {root} ctr-1 /bin/ip -4 -o addr show eth0"
    printed = engine.ctr("run", *made.split(), shell=places)
    assert re.search(r"inet 10\.64\.\d+\.\d+/32", printed)
    eventually(lambda: links(node.space) == before)


@pytest.fixture
def podman(node: Node) -> Iterator[Podman]:
    need("podman", "runc", "conmon")
    # Podman takes no path of more than 50 characters.
    folder = Path(tempfile.mkdtemp())
    yield Podman(node, folder)

    def is_removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)  # what tidies up after a container still writes
        return not folder.exists()

    eventually(is_removed)


def test_podman_starts_and_stops_a_container(node: Node, podman: Podman) -> None:
    before = links(node.space)
    root = str(make_root(podman.folder))
    detached = ("run", "--detach", "--network", "pods", "--rootfs", root, "/bin/sleep", "1000")
    container = podman(*detached)
    try:
        listed = json.loads(podman("inspect", container))
        address = listed[0]["NetworkSettings"]["Networks"]["pods"]["IPAddress"]
        assert node.space.ping(address)
    finally:
        podman("rm", "--force", "--time", "0", container)
    eventually(lambda: links(node.space) == before)


@pytest.fixture(scope="module")
def libcni(node: Node) -> LibCni:
    need("go")
    return build_libcni(node, node.folder / "go")


OURS: dict[str, object] = {"type": "vpcrouter-cni", "capabilities": {"ips": True, "mac": True}}


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_the_reference_library_adds_checks_and_deletes(
    node: Node, libcni: LibCni, pod: Namespace, version: str
) -> None:
    before = links(node.space)
    status, printed = libcni("add", "go-1", pod.path, [OURS], version=version)
    assert status == 0, printed
    address = json.loads(printed)["ips"][0]["address"].partition("/")[0]
    assert node.space.ping(address)
    if version != "0.3.1":
        assert libcni("check", "go-1", pod.path, [OURS], version=version) == (0, "")
    with pod.kernel() as kernel:
        index = kernel.link_lookup(ifname="eth0")[0]
        kernel.addr("del", index=index, address=address, prefixlen=32)
    if version != "0.3.1":
        status, printed = libcni("check", "go-1", pod.path, [OURS], version=version)
        assert "has lost its address" in printed
    assert libcni("del", "go-1", pod.path, [OURS], version=version) == (0, "")
    eventually(lambda: links(node.space) == before)


def test_other_plugins_come_after_ours(node: Node, libcni: LibCni, pod: Namespace) -> None:
    need("iptables")
    for name in ("portmap", "bandwidth"):
        shutil.copy(GO_PLUGINS / name, node.bin)
    chain: list[dict[str, object]] = [
        OURS,
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ]
    mapping = [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}]
    asked = {"portMappings": mapping, "mac": "02:00:00:00:00:42"}
    status, printed = libcni("add", "go-2", pod.path, chain, asked)
    assert status == 0, printed
    result = json.loads(printed)
    assert result["interfaces"][1]["mac"] == "02:00:00:00:00:42"
    with pod.entered():
        address = result["ips"][0]["address"].partition("/")[0]
        server = socket.create_server((address, 80))
    with server, node.space.entered(), socket.create_connection(("192.0.2.10", 18080), 5):
        pass
    # No CHECK: this portmap looks for the rules of IPv4 in those of IPv6.
    assert libcni("del", "go-2", pod.path, chain, asked) == (0, "")


def test_wanted_addresses_come_by_the_capability(
    node: Node, libcni: LibCni, pod: Namespace
) -> None:
    _, result = node.call("ADD", "first", pod.path)
    address = addresses_of(result)[0]
    node.call("DEL", "first", pod.path)
    status, printed = libcni("add", "go-3", pod.path, [OURS], {"ips": [f"{address}/32"]})
    assert status == 0, printed
    assert json.loads(printed)["ips"][0]["address"] == f"{address}/32"
    assert libcni("del", "go-3", pod.path, [OURS])[0] == 0


@pytest.fixture
def pod(root: None) -> Iterator[Namespace]:  # noqa: ARG001
    with namespaces(1) as (made,):
        yield made
