"""Nodes in network namespaces with real agents, and a caller that follows the specification."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cni.plugin import TYPE
from ipam.model import Claim, Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.sqlite import SqliteStore
from tests.namespaces import Namespace, eventually

POD_RANGES = (Prefix.parse("10.64.0.0/16"), Prefix.parse("fd00:64::/64"))
BUDGET = {Family.IPV4: 50, Family.IPV6: 50}
NETWORK = Network(
    "pods",
    POD_RANGES,
    {Family.IPV4: 26, Family.IPV6: 80},
    {Family.IPV4: 24, Family.IPV6: 78},
)


NETWORK_V4 = Network("pods", POD_RANGES[:1], {Family.IPV4: 26}, {Family.IPV4: 24})


def need_nft() -> None:
    """Leaves a test out where there is no nft."""
    if shutil.which("nft") is None:
        pytest.skip("needs nft: install the package nftables")


def admit(store: Path, claims: list[Claim], network: Network = NETWORK) -> None:
    """Gives nodes their blocks, as `vpcrouter apply` does."""
    opened = SqliteStore(store)
    outcome = Addresses(opened, "test", [network]).join(claims, BUDGET)
    opened.close()
    assert not outcome.refused


def grow(store: Path, node: str, blocks: int, network: Network = NETWORK) -> None:
    """Gives a node further blocks of each family."""
    opened = SqliteStore(store)
    outcome = Addresses(opened, "test", [network]).grow(node, blocks, BUDGET)
    opened.close()
    assert not outcome.refused


def give_uplink(space: Namespace) -> None:
    """An interface with addresses that leads nowhere, with the default route."""
    with space.kernel() as kernel:
        kernel.link("add", ifname="uplink", kind="veth", peer="outside", mtu=1450)
        for name in ("outside", "uplink"):
            index = kernel.link_lookup(ifname=name)[0]
            kernel.link("set", index=index, state="up")
        kernel.addr("add", index=index, address="192.0.2.10", prefixlen=24)
        kernel.addr("add", index=index, address="2001:db8::10", prefixlen=64, flags=2)
        kernel.route("add", dst="0.0.0.0/0", oif=index)


class Node:
    """A node with its own folders. The agent runs between ``start`` and ``stop``."""

    def __init__(self, name: str, space: Namespace, folder: Path, store: Path) -> None:
        self.name = name
        self.space = space
        self.folder = folder / name
        self.folder.mkdir()
        self.store = store
        self.socket = self.folder / "run" / "agent.sock"
        self.bin = self.folder / "bin"
        self.conf = self.folder / "conf"
        self.identity = f"i-{name}"
        self.options: tuple[str, ...] = ()
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the agent and waits until pods can start."""
        self.launch()
        eventually(lambda: (self.bin / TYPE).exists() and self.call("STATUS")[0] == 0)
        eventually(lambda: any(self.conf.glob("*.conflist")))

    def launch(self) -> None:
        command = [
            *("nsenter", f"--net={self.space.path}", sys.executable, "-m", "cni"),
            *("--node", self.name, "--identity", self.identity, "--store", str(self.store)),
            *("--state", str(self.folder / "state"), "--socket", str(self.socket)),
            *("--cni-bin", str(self.bin), "--cni-conf", str(self.conf), "--network", "pods"),
            *self.options,
        ]
        with (self.folder / "log").open("ab") as log:
            self._agent = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the agent; gives its exit status."""
        if self._agent is None:
            return 0
        self._agent.send_signal(number)
        status = self._agent.wait(20)
        self._agent = None
        return status

    def ask(self, environment: Mapping[str, str], stdin: bytes) -> tuple[int, bytes]:
        """What the plugin hands over, without starting it; gives what it would answer."""
        variables = b"".join(
            f"{name}={value}".encode("utf-8", "surrogateescape") + b"\0"
            for name, value in environment.items()
        )
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(60)
            caller.connect(str(self.socket))
            caller.sendall(struct.pack("!II", len(variables), len(stdin)) + variables + stdin)
            parts = []
            while part := caller.recv(1 << 16):
                parts.append(part)
        answer = b"".join(parts)
        assert len(answer) - 5 == int.from_bytes(answer[:4], "big")
        return answer[4], answer[5:]

    def scrape(self, path: str) -> tuple[int, str]:
        """What the agent's metrics socket answers: status and text."""
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(10)
            caller.connect(str(self.socket.with_name("metrics.sock")))
            caller.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            parts = []
            while part := caller.recv(1 << 16):
                parts.append(part)
        head, _, body = b"".join(parts).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def call(
        self,
        command: str,
        container: str = "",
        netns: str = "",
        config: Mapping[str, object] | None = None,
        ifname: str = "eth0",
    ) -> tuple[int, dict[str, object]]:
        """Runs the plugin as a runtime does; gives exit status and what it printed."""
        fields = {"cniVersion": "1.1.0", "name": "pods", "type": TYPE, **(config or {})}
        environment = {"CNI_COMMAND": command, "CNI_PATH": str(self.bin)}
        if container:
            environment |= {"CNI_CONTAINERID": container, "CNI_IFNAME": ifname}
        if netns:
            environment["CNI_NETNS"] = netns
        done = subprocess.run(
            [self.bin / TYPE],
            input=json.dumps(fields).encode(),
            env=environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert not done.stderr, done.stderr.decode()
        return done.returncode, json.loads(done.stdout) if done.stdout else {}


@contextmanager
def running(node: Node) -> Iterator[Node]:
    """A node whose agent is stopped at the end."""
    try:
        node.start()
        yield node
    finally:
        node.stop()


def addresses_of(result: Mapping[str, object]) -> list[str]:
    """The addresses in a result of 0.3.0 or newer, without their lengths."""
    listed = result["ips"]
    assert isinstance(listed, list)
    return [item["address"].partition("/")[0] for item in listed]
