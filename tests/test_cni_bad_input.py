"""Whatever a runtime sends and whatever the machine is like: a clear error, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni.errors import Code
from cni.plugin import TYPE
from cni.versions import VERSIONS
from ipam.model import Claim
from tests.cni_nodes import Node, addresses_of, admit, give_uplink, need_nft, running
from tests.counts import examples
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")

Environment = dict[str, str]
Config = dict[str, object]


@pytest.fixture(scope="module")
def node(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:  # noqa: ARG001
    need_nft()
    folder = tmp_path_factory.mktemp("bad")
    admit(folder / "store", [Claim("node-1", "subnet-1", "i-node-1")])
    with namespaces(1) as (space,):
        give_uplink(space)
        with running(Node("node-1", space, folder, folder / "store")) as made:
            yield made


@pytest.fixture(scope="module")
def pod(root: None) -> Iterator[Namespace]:  # noqa: ARG001
    with namespaces(1) as (made,):
        yield made


def links(space: Namespace) -> set[str]:
    with space.kernel() as kernel:
        return {link.get("ifname") for link in kernel.get_links()}


WORDS = st.sampled_from(
    ("", "x", "a/b", "..", "eth0", "lo", "a" * 16, "pod-1", "ü", "-", "10.64.0.9/32", "fd00::1")
)
TEXTS = WORDS | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
VARIABLES = ("COMMAND", "CONTAINERID", "NETNS", "IFNAME", "PATH", "ARGS")
FIELDS = ("cniVersion", "name", "type", "runtimeConfig", "prevResult", "dns", "ipam", "args")
INNER = {
    "runtimeConfig": ("ips", "mac", "portMappings"),
    "prevResult": ("cniVersion", "interfaces", "ips", "routes", "dns", "ip4"),
    "cni.dev/valid-attachments": ("containerID", "ifname"),
}


@st.composite
def requests(draw: st.DrawFn, netns: str) -> tuple[Environment, bytes]:
    """A request that is right but for some fields."""
    command = draw(st.sampled_from(("ADD", "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")))
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": f"pod-{draw(st.integers(1, 3))}",
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p",
    }
    version = "1.1.0" if command in ("GC", "STATUS") else draw(st.sampled_from(VERSIONS))
    config: Config = {"cniVersion": version, "name": "pods", "type": TYPE}
    if command == "GC":
        config["cni.dev/valid-attachments"] = []
    for name in draw(st.sets(st.sampled_from(VARIABLES), max_size=2)):
        environment[f"CNI_{name}"] = draw(TEXTS)
    for name in draw(st.sets(st.sampled_from((*FIELDS, *INNER)), max_size=2)):
        inner = st.dictionaries(st.sampled_from(INNER.get(name, ("x",))), JUNK, max_size=3)
        config[name] = draw(JUNK | inner | st.lists(inner, max_size=2))
    stdin = json.dumps(config).encode()
    if draw(st.integers(0, 9)) == 0:
        stdin = draw(st.binary(max_size=50) | st.just(stdin[: draw(st.integers(0, len(stdin)))]))
    return environment, stdin


CODES = {int(code) for code in Code}


@settings(max_examples=examples(test=300, prove=10_000))
@given(data=st.data())
def test_every_request_is_answered_and_leaves_nothing(
    node: Node, pod: Namespace, data: st.DataObject
) -> None:
    environment, stdin = data.draw(requests(pod.path))
    status, output = node.ask(environment, stdin)
    if status:
        answer = json.loads(output)
        assert answer["cniVersion"] in VERSIONS
        assert answer["code"] in CODES, answer
        assert "\n" not in answer["msg"]
    elif output:
        assert json.loads(output)["cniVersion"] in VERSIONS
    assert status in (0, 1)
    if environment["CNI_COMMAND"] == "ADD":
        environment["CNI_COMMAND"] = "DEL"
        node.ask(environment, stdin)


def test_after_all_that_nothing_is_left(node: Node, pod: Namespace) -> None:
    assert node.call("GC", config={"cni.dev/valid-attachments": []}) == (0, {})
    eventually(lambda: links(node.space) == {"lo", "outside", "uplink"})
    assert links(pod) == {"lo"}
    assert "vpcrouter_pods 0\n" in node.scrape("/metrics")[1]
    assert "Traceback" not in node.log
    assert node.call("STATUS") == (0, {})


def test_a_symbolic_link_to_a_namespace_is_one(node: Node, pod: Namespace, tmp_path: Path) -> None:
    link = tmp_path / "netns"
    link.symlink_to(pod.path)

    def added() -> bool:
        """Whether it is; after thousands of requests every address may have been released just now.

        Then it is tried again, as a runtime does.
        """
        status, result = node.call("ADD", "c1", str(link))
        assert status == 0 or "were released a moment ago" in str(result["msg"])
        return status == 0

    eventually(added, seconds=120)
    assert node.call("DEL", "c1", str(link)) == (0, {})


def test_an_address_of_the_host_goes_to_no_pod(pod: Namespace, tmp_path: Path) -> None:
    given_out = set()
    admit(tmp_path / "store", [Claim("node-1", "subnet-1", "i-node-1")])
    with namespaces(1) as (space,):
        give_uplink(space)
        with space.kernel() as kernel:
            for last in range(8):
                kernel.addr("add", index=1, address=f"10.64.0.{last}", prefixlen=32)
        with running(Node("node-1", space, tmp_path, tmp_path / "store")) as node:
            wanted = {"runtimeConfig": {"ips": ["10.64.0.3/32"]}}
            assert "own" in str(node.call("ADD", "c1", pod.path, wanted)[1].get("msg"))
            for number in range(12):
                _, result = node.call("ADD", f"c{number}", pod.path)
                given_out.add(addresses_of(result)[0])
                node.call("DEL", f"c{number}", pod.path)
    assert len(given_out) == 12
    assert not {f"10.64.0.{last}" for last in range(8)} & given_out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=2m", "none", folder), check=True)
    yield folder
    subprocess.run(("umount", "--lazy", folder), check=True)


def fill(path: Path) -> None:
    """Writes a file until the disk is full."""
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_on_a_full_disk_no_pod_starts_until_there_is_room(
    node: Node, pod: Namespace, small_disk: Path, tmp_path: Path
) -> None:
    node.stop()
    other = Node("other", node.space, tmp_path, node.store)
    other.name, other.identity = node.name, node.identity
    (other.folder / "state").symlink_to(small_disk)
    with running(other):
        assert other.call("ADD", "c1", pod.path)[0] == 0
        before = links(node.space)
        fill(small_disk / "filler")
        codes = set()
        for number in range(200):
            status, error = other.call("ADD", f"full-{number}", "/gone")
            codes.add(error["code"])
            if error["code"] == Code.IO:
                break
        assert Code.IO in codes, codes
        status, error = other.call("ADD", "c2", pod.path, ifname="eth1")
        assert (status, error["code"]) == (1, Code.IO)
        assert "free space" in str(error["msg"])
        assert links(node.space) == before
        (small_disk / "filler").unlink()
        assert other.call("DEL", "c1", pod.path) == (0, {})
        assert other.call("STATUS") == (0, {})
        assert "Traceback" not in other.log
    node.start()


@pytest.mark.parametrize("damage", ["garbage", "cut", "other"])
def test_a_state_file_that_is_not_to_be_trusted_stops_the_agent(
    node: Node, tmp_path: Path, damage: str
) -> None:
    node.stop()
    state = node.folder / "state" / "pods.sqlite"
    content = state.read_bytes()
    changed = {
        "garbage": b"no database" * 1000,
        "cut": content[: len(content) // 2],
        "other": content.replace(b"i-node-1", b"i-node-9"),
    }[damage]
    other = Node("other", node.space, tmp_path, node.store)
    other.name, other.identity = node.name, node.identity
    (other.folder / "state").mkdir()
    (other.folder / "state" / "pods.sqlite").write_bytes(changed)
    try:
        other.launch()
        assert other._agent is not None
        assert other._agent.wait(20) == 2
        other._agent = None
    finally:
        other.stop()
    line = other.log.strip()
    assert "Traceback" not in line
    assert "belongs to node i-node-9" in line or "is damaged" in line
    assert (other.folder / "state" / "pods.sqlite").read_bytes() == changed
    node.start()
