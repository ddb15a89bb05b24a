"""Container runtimes from Debian packages, each with folders of its own, on a node with an agent.

containerd is driven as kubelet does it, over its CRI socket. The few messages that this takes are
written here: field numbers are those of ``k8s.io/cri-api`` (runtime/v1/api.proto).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.cni_nodes import Node
from tests.namespaces import eventually

IMAGE = "localhost/pause:1"
GO_PLUGINS = Path("/usr/lib/cni")
BUSYBOX = Path("/bin/busybox")

Message = Mapping[int, object]


def need(*programs: str) -> None:
    """Leaves a test out where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: run .ci/debian-packages /usr/bin/python3.11")


# Protocol buffers: fields by number; text, whole numbers, and messages within messages.


def packed(message: Message) -> bytes:
    """The bytes of a message."""
    out = bytearray()
    for number, value in message.items():
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
            continue
        if isinstance(value, Mapping):
            content = packed(value)
        else:
            assert isinstance(value, str)
            content = value.encode()
        out += _varint(number << 3 | 2) + _varint(len(content)) + content
    return bytes(out)


def unpacked(content: bytes) -> dict[int, list[bytes | int]]:
    """The fields of a message by number; what lies within messages is left as bytes."""
    found: dict[int, list[bytes | int]] = {}
    position = 0
    while position < len(content):
        key, position = _read_varint(content, position)
        value, position = _read_varint(content, position)
        if key & 7 == 2:
            start, position = position, position + value
            found.setdefault(key >> 3, []).append(content[start:position])
        else:
            found.setdefault(key >> 3, []).append(value)
    return found


def text(fields: Mapping[int, list[bytes | int]], number: int) -> str:
    """The first text under a number, empty if there is none."""
    value = fields.get(number, [b""])[0]
    assert isinstance(value, bytes)
    return value.decode()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position


class Cri:
    """What kubelet asks of a runtime."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def close(self) -> None:
        self._channel.close()

    def ask(self, method: str, request: Message) -> dict[int, list[bytes | int]]:
        """One call; raises grpc.RpcError where it fails."""
        call = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
        return unpacked(call(packed(request), timeout=60))

    def run(self, name: str) -> str:
        """Start a pod; gives its id."""
        metadata = {1: name, 2: f"uid-{name}", 3: "default", 4: 0}
        config = {1: metadata, 2: name, 3: "/tmp", 8: {}}
        return text(self.ask("RunPodSandbox", {1: config}), 1)

    def stop(self, pod: str) -> None:
        self.ask("StopPodSandbox", {1: pod})

    def remove(self, pod: str) -> None:
        self.ask("RemovePodSandbox", {1: pod})

    def addresses(self, pod: str) -> list[str]:
        """The pod's addresses as kubelet gets to know them."""
        status = unpacked(_bytes(self.ask("PodSandboxStatus", {1: pod})[1][0]))
        network = unpacked(_bytes(status[5][0]))
        more = [unpacked(_bytes(one)) for one in network.get(2, [])]
        return [text(network, 1), *(text(one, 1) for one in more)]

    def is_ready(self) -> bool:
        """Whether pods can have a network."""
        status = unpacked(_bytes(self.ask("Status", {})[1][0]))
        conditions = [unpacked(_bytes(one)) for one in status[1]]
        return any(text(c, 1) == "NetworkReady" and c.get(2) == [1] for c in conditions)


def _bytes(value: bytes | int) -> bytes:
    assert isinstance(value, bytes)
    return value


CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin}"
conf_dir = "{conf}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


@dataclass(frozen=True, slots=True)
class Containerd:
    """A containerd of our own: its socket, and a folder for what tests make."""

    node: Node
    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    def ctr(self, *arguments: str, shell: str = "") -> str:
        """Runs `ctr`; before it, in a mount namespace of its own, the commands of ``shell``."""
        command = f"{shell} exec ctr --address {self.socket} {' '.join(arguments)}"
        space = f"--net={self.node.space.path}"
        done = subprocess.run(
            ("nsenter", space, "unshare", "--mount", "sh", "-ec", command),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def containerd(node: Node, folder: Path) -> Iterator[Containerd]:
    """Containerd with its CRI plugin in a node's namespace; ends it with all that it started."""
    folder.mkdir()
    shutil.copy(GO_PLUGINS / "loopback", node.bin)
    values = {"folder": folder, "image": IMAGE, "bin": node.bin, "conf": node.conf}
    (folder / "config.toml").write_text(CONTAINERD.format(**values))
    command = ("nsenter", f"--net={node.space.path}", "containerd", "-c", folder / "config.toml")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    made = Containerd(node, folder)
    try:
        eventually(made.socket.exists)
        make_image(folder / "image.tar")
        made.ctr("-n", "k8s.io", "images", "import", str(folder / "image.tar"))
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        _unmount_below(folder)


def _unmount_below(folder: Path) -> None:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    places = [line.split()[1] for line in mounts]
    for place in sorted((p for p in places if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(("umount", "--lazy", place), check=False, capture_output=True)


def make_image(path: Path) -> None:
    """An OCI image with busybox that sleeps, as an archive."""
    layer = _archive({"bin/busybox": BUSYBOX.read_bytes(), "bin/sleep": BUSYBOX.read_bytes()})
    squeezed = gzip.compress(layer)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sleep", "1000000"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}

    def add(content: bytes, kind: str) -> dict[str, object]:
        blobs[_digest(content)] = content
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": _digest(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "config": add(json.dumps(config).encode(), "config.v1+json"),
        "layers": [add(squeezed, "layer.v1.tar+gzip")],
    }
    described = add(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {"io.containerd.image.name": IMAGE}
    files = {f"blobs/{name.replace(':', '/')}": content for name, content in blobs.items()}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
    path.write_bytes(_archive(files))


def _archive(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make_root(folder: Path) -> Path:
    """A root file system with busybox, for runtimes that take one."""
    root = folder / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "etc", "run", "tmp"):
        (root / name).mkdir(parents=True)
    for name in ("busybox", "sleep", "sh", "ip"):
        shutil.copy(BUSYBOX, root / "bin" / name)
    return root


CALLER = """\
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	list, err := libcni.ConfListFromFile(os.Args[2])
	exitOn(err)
	config := libcni.NewCNIConfigWithCacheDir([]string{os.Args[3]}, os.Args[4], nil)
	runtime := &libcni.RuntimeConf{
		ContainerID: os.Args[5], NetNS: os.Args[6], IfName: "eth0",
		CapabilityArgs: map[string]interface{}{},
	}
	exitOn(json.Unmarshal([]byte(os.Args[7]), &runtime.CapabilityArgs))
	switch os.Args[1] {
	case "add":
		result, err := config.AddNetworkList(context.TODO(), list, runtime)
		exitOn(err)
		exitOn(result.Print())
	case "check":
		exitOn(config.CheckNetworkList(context.TODO(), list, runtime))
	case "del":
		exitOn(config.DelNetworkList(context.TODO(), list, runtime))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"""


NONE: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True)
class LibCni:
    """The reference library of the specification, by way of a program in Go."""

    program: Path
    node: Node

    def __call__(
        self,
        command: str,
        container: str,
        netns: str,
        plugins: Sequence[Mapping[str, object]],
        capabilities: Mapping[str, object] = NONE,
        version: str = "1.0.0",
    ) -> tuple[int, str]:
        """Exit status, and what it printed on either output."""
        fields = {"cniVersion": version, "name": "pods", "plugins": list(plugins)}
        file = self.program.with_name("pods.conflist")
        file.write_text(json.dumps(fields))
        arguments = (command, file, self.node.bin, self.program.with_name("cache"), container)
        done = subprocess.run(
            (
                *("nsenter", f"--net={self.node.space.path}", self.program, *arguments),
                *(netns, json.dumps(capabilities)),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout


def build_libcni(node: Node, folder: Path) -> LibCni:
    """Compiles the caller against Debian's source of the library."""
    folder.mkdir()
    (folder / "main.go").write_text(CALLER)
    settings = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": f"{folder}/gocache"}
    subprocess.run(
        ("go", "build", "-o", folder / "libcni", folder / "main.go"),
        env={**os.environ, **settings},
        check=True,
        timeout=100,
    )
    return LibCni(folder / "libcni", node)


PODMAN = """\
[network]
network_backend = "cni"
network_config_dir = "{conf}"
cni_plugin_dirs = ["{bin}"]
default_network = "pods"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""


@dataclass(frozen=True, slots=True)
class Podman:
    """A podman with folders of its own."""

    node: Node
    folder: Path

    def __call__(self, *arguments: str) -> str:
        folder = self.folder
        (folder / "containers.conf").write_text(
            PODMAN.format(conf=self.node.conf, bin=self.node.bin)
        )
        command = [
            *("nsenter", f"--net={self.node.space.path}", "podman", "--storage-driver", "vfs"),
            *("--root", str(folder / "root"), "--runroot", str(folder / "run")),
            *("--tmpdir", str(folder / "tmp"), *arguments),
        ]
        done = subprocess.run(
            command,
            env={**os.environ, "CONTAINERS_CONF": f"{folder}/containers.conf"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
