"""Plugin and agent end to end: pods start, are checked and stop; the agent may be away."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni.versions import VERSIONS
from ipam.model import Claim
from tests.cni_nodes import Node, addresses_of, admit, give_uplink, need_nft, running
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def place(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:  # noqa: ARG001
    """A node that was admitted, without an agent yet."""
    need_nft()
    folder = tmp_path_factory.mktemp("node")
    admit(folder / "store", [Claim("node-1", "subnet-1", "i-node-1")])
    with namespaces(1) as (space,):
        give_uplink(space)
        yield Node("node-1", space, folder, folder / "store")


@pytest.fixture
def node(place: Node) -> Iterator[Node]:
    with running(place):
        yield place


@pytest.fixture
def pods(root: None) -> Iterator[tuple[Namespace, ...]]:  # noqa: ARG001
    with namespaces(2) as made:
        yield made


def links(space: Namespace) -> set[str]:
    with space.kernel() as kernel:
        return {link.get("ifname") for link in kernel.get_links()}


def test_a_pod_starts_is_checked_and_stops(node: Node, pods: tuple[Namespace, ...]) -> None:
    before = links(node.space)
    status, result = node.call("ADD", "c1", pods[0].path)
    assert status == 0, result
    status, other = node.call("ADD", "c2", pods[1].path)
    assert status == 0, other
    for address in addresses_of(other):
        assert pods[0].ping(address), address
    assert result["interfaces"][1]["mtu"] == 1450  # type: ignore[index]
    previous = {"prevResult": result}
    assert node.call("CHECK", "c1", pods[0].path, previous) == (0, {})
    assert node.call("STATUS") == (0, {})
    for container in ("c1", "c2", "c1"):
        assert node.call("DEL", container, config=previous) == (0, {})
    eventually(lambda: links(node.space) == before)
    status, error = node.call("CHECK", "c1", pods[0].path, previous)
    assert (status, error["code"]) == (1, 101)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_answered_in_its_own(
    node: Node, pods: tuple[Namespace, ...], version: str
) -> None:
    config = {"cniVersion": version}
    status, result = node.call("ADD", f"v{version}", pods[0].path, config)
    assert status == 0, result
    assert result["cniVersion"] == version
    assert ("ip4" in result) == (version < "0.3.0")
    assert node.call("DEL", f"v{version}", pods[0].path, config) == (0, {})


def test_a_result_before_ours_is_passed_on(node: Node, pods: tuple[Namespace, ...]) -> None:
    previous = {"cniVersion": "1.1.0", "ips": [{"address": "203.0.113.9/24"}]}
    status, result = node.call("ADD", "c3", pods[0].path, {"prevResult": previous})
    assert status == 0
    assert addresses_of(result)[0] == "203.0.113.9"
    assert len(addresses_of(result)) == 3
    node.call("DEL", "c3")


def test_wanted_addresses_and_hardware_address_are_given(
    node: Node, pods: tuple[Namespace, ...]
) -> None:
    _, first = node.call("ADD", "c4", pods[0].path)
    free = addresses_of(first)[0]
    node.call("DEL", "c4")
    wanted = {"runtimeConfig": {"ips": [f"{free}/32"], "mac": "02:00:00:00:00:99"}}
    status, result = node.call("ADD", "c5", pods[1].path, wanted)
    assert status == 0
    assert addresses_of(result)[0] == free
    assert result["interfaces"][1]["mac"] == "02:00:00:00:00:99"  # type: ignore[index]
    status, error = node.call("ADD", "c6", pods[0].path, wanted)
    assert (status, error["code"]) == (1, 7)
    assert "another pod's" in str(error["msg"])
    node.call("DEL", "c5")


def test_collecting_removes_what_is_not_listed(node: Node, pods: tuple[Namespace, ...]) -> None:
    before = links(node.space)
    for container, pod in zip(("c7", "c8"), pods, strict=True):
        assert node.call("ADD", container, pod.path)[0] == 0
    keep = {"cni.dev/valid-attachments": [{"containerID": "c7", "ifname": "eth0"}]}
    assert node.call("GC", config=keep) == (0, {})
    eventually(lambda: len(links(node.space) - before) == 1)
    assert "eth0" in links(pods[0])
    status, error = node.call("GC")
    assert (status, error["code"]) == (1, 7)
    assert "eth0" in links(pods[0])
    assert node.call("GC", config={"cni.dev/valid-attachments": []}) == (0, {})
    eventually(lambda: links(node.space) == before)


def test_what_a_failed_add_made_is_gone(node: Node, tmp_path: Path) -> None:
    before = links(node.space)
    file = tmp_path / "file"
    file.touch()
    for path, code in ((str(file), 4), ("/gone", 3), (node.space.path, 8)):
        status, error = node.call("ADD", "c9", path)
        assert (status, error["code"]) == (1, code)
        assert node.call("DEL", "c9") == (0, {})
    eventually(lambda: links(node.space) == before)


def test_without_an_agent_adding_is_tried_again_and_deleting_made_good(
    place: Node, pods: tuple[Namespace, ...]
) -> None:
    with running(place):
        before = links(place.space)
        status, result = place.call("ADD", "c10", pods[0].path)
        assert status == 0
    for address in addresses_of(result):
        assert place.space.ping(address, timeout=3), address  # pods need no agent to run
    assert links(place.space) > before
    status, error = place.call("ADD", "c11", pods[1].path)
    assert (status, error["code"]) == (1, 11)
    assert place.call("STATUS")[1]["code"] == 50
    assert place.call("VERSION")[1]["supportedVersions"] == list(VERSIONS)
    assert place.call("DEL", "c10") == (0, {})
    with running(place):
        eventually(lambda: links(place.space) == before)
        eventually(lambda: not list((place.socket.parent / "spool").iterdir()))


def test_a_killed_agent_starts_again_and_knows_its_pods(
    place: Node, pods: tuple[Namespace, ...]
) -> None:
    with running(place):
        _, result = place.call("ADD", "c12", pods[0].path)
        assert place.stop(signal.SIGKILL) == -signal.SIGKILL
        place.start()
        assert place.call("CHECK", "c12", pods[0].path, {"prevResult": result}) == (0, {})
        status, error = place.call("ADD", "c12", pods[1].path)
        assert (status, error["code"]) == (1, 102)
        _, other = place.call("ADD", "c13", pods[1].path)
        assert not set(addresses_of(other)) & set(addresses_of(result))
        for container in ("c12", "c13"):
            assert place.call("DEL", container) == (0, {})


def test_with_the_store_away_pods_start(place: Node, pods: tuple[Namespace, ...]) -> None:
    with running(place):
        pass
    hidden = place.store.with_name("hidden")
    place.store.rename(hidden)
    try:
        with running(place):
            assert place.call("ADD", "c14", pods[0].path)[0] == 0
            assert place.call("DEL", "c14") == (0, {})
    finally:
        hidden.rename(place.store)


def test_nobody_but_root_is_served(node: Node) -> None:
    caller = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
    command = ["/usr/bin/python3", "-c", caller, str(node.socket)]
    done = subprocess.run(command, user=65534, capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


def test_a_second_agent_gives_way(node: Node) -> None:
    other = Node("other", node.space, node.folder, node.store)
    other.name, other.identity = node.name, node.identity
    (other.folder / "state").symlink_to(node.folder / "state")
    other.launch()
    assert other._agent is not None
    assert other._agent.wait(20) == 2
    other._agent = None
    assert "in use by another agent" in other.log
    assert node.call("STATUS") == (0, {})


def test_garbage_on_the_socket_harms_nobody(node: Node) -> None:
    import socket as sockets

    for garbage in (b"", b"\0", b"\xff" * 8, b"\0\0\0\1\0\0\0\0", b"x" * 100_000):
        with sockets.socket(sockets.AF_UNIX) as caller:
            caller.connect(str(node.socket))
            try:
                caller.sendall(garbage)
                caller.shutdown(sockets.SHUT_WR)
                caller.recv(100)
            except OSError:
                pass
    assert node.call("STATUS") == (0, {})
    assert "Traceback" not in node.log


def test_the_configuration_is_written_once_pods_can_start(node: Node) -> None:
    fields = json.loads((node.conf / "10-vpcrouter.conflist").read_text())
    assert fields["plugins"][0]["type"] == "vpcrouter-cni"
