"""Pods on a node, side by side with Debian's Go plugins ``ptp`` and ``host-local``.

Whole processes, as a runtime starts them; ours and theirs take turns, so that what else the machine
does hits both. Each has a node of its own with its own standing pods. IPv4 alone: with IPv6 theirs
wait a second or more for duplicate address detection.

Among them an interpreter is started with the plugin's options that ends at once: what a program in
Python cannot go below.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cni.plugin import TYPE
from ipam.model import Claim
from tests.bench.figures import Figure
from tests.cni_nodes import NETWORK_V4, Node, admit, give_uplink, grow, running
from tests.cni_spaces import light_namespaces
from tests.namespaces import Namespace, namespaces

GO_PLUGINS = Path("/usr/lib/cni")
STANDING = (0, 200, 500)
TIMES = 40
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Side:
    """A plugin as a runtime calls it: its program, configuration, and the node's namespace."""

    program: Path
    config: bytes
    space: Namespace

    def start(self, command: str, pod: str, netns: str) -> int:
        """Start one request; gives the process."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod,
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.program.parent),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        read, write = os.pipe()
        os.write(write, self.config)
        os.close(write)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            return os.posix_spawn(
                self.program,
                [str(self.program)],
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_DUP2, null, 1)],
            )
        finally:
            os.close(read)
            os.close(null)

    def run(self, command: str, pod: str, netns: str) -> float:
        """One request from start to exit, in milliseconds."""
        start = time.perf_counter()
        finish(self.start(command, pod, netns))
        return (time.perf_counter() - start) * 1000

    def run_at_once(self, pods: list[tuple[str, str]]) -> float:
        """Many ADDs started together, until the last has exited, in milliseconds."""
        start = time.perf_counter()
        for process in [self.start("ADD", pod, netns) for pod, netns in pods]:
            finish(process)
        return (time.perf_counter() - start) * 1000


def finish(process: int) -> None:
    _, status = os.waitpid(process, 0)
    if status:
        raise RuntimeError(f"a plugin failed with status {status}")


def figures() -> Iterator[Figure]:
    """Needs root, nft and the Go plugins; says so where one is missing."""
    if os.geteuid() != 0 or not (GO_PLUGINS / "ptp").exists():
        print("left out: needs root and the package containernetworking-plugins")
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        our_space, their_space = stack.enter_context(namespaces(2))
        give_uplink(our_space)
        admit(folder / "store", [Claim("node-1", "subnet-1", "i-node-1")], NETWORK_V4)
        grow(folder / "store", "node-1", 12, NETWORK_V4)
        node = stack.enter_context(running(Node("node-1", our_space, folder, folder / "store")))
        spaces = stack.enter_context(light_namespaces(2 * (max(STANDING) + TIMES + AT_ONCE)))
        sides = (ours(node), theirs(folder, their_space))
        yield from compared(sides, spaces)


def ours(node: Node) -> Side:
    config = {"cniVersion": "1.0.0", "name": "pods", "type": TYPE}
    return Side(node.bin / TYPE, json.dumps(config).encode(), node.space)


def theirs(folder: Path, space: Namespace) -> Side:
    ipam = {
        "type": "host-local",
        "dataDir": str(folder / "host-local"),
        "ranges": [[{"subnet": "10.65.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    config = {"cniVersion": "1.0.0", "name": "theirs", "type": "ptp", "ipam": ipam}
    return Side(GO_PLUGINS / "ptp", json.dumps(config).encode(), space)


def compared(sides: tuple[Side, Side], spaces: tuple[str, ...]) -> Iterator[Figure]:
    half = len(spaces) // 2
    free = (list(spaces[:half]), list(spaces[half:]))
    standing = 0
    for wanted in STANDING:
        while standing < wanted:
            for side, names in zip(sides, free, strict=True):
                add(side, f"standing-{standing}", names.pop())
            standing += 1
        adds: tuple[list[float], list[float]] = ([], [])
        deletes: tuple[list[float], list[float]] = ([], [])
        empty: list[float] = []
        for number in range(TIMES):
            empty.append(start_interpreter())
            for place, side in enumerate(sides):
                pod, netns = f"pod-{wanted}-{number}", free[place][number % AT_ONCE]
                adds[place].append(add(side, pod, netns))
                deletes[place].append(delete(side, pod, netns))
        name = f"ADD with {wanted} pods"
        yield from lines(name, adds, 1.0)
        floor = statistics.median(empty)
        yield Figure(f"{name}: of which an empty interpreter", floor, "ms")
        theirs_ = statistics.median(adds[1])
        yield Figure(f"{name}: empty interpreter over theirs", floor / theirs_, "times")
        yield from lines(f"DEL with {wanted} pods", deletes, 0.6)
    yield from at_once(sides, free)


def start_interpreter() -> float:
    """From start to exit, in milliseconds."""
    program = [os.path.realpath(sys.executable), "-IS", "-c", "import posix; posix._exit(0)"]
    start = time.perf_counter()
    finish(os.posix_spawn(program[0], program, {}))
    return (time.perf_counter() - start) * 1000


def at_once(sides: tuple[Side, Side], free: tuple[list[str], list[str]]) -> Iterator[Figure]:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(3):
        for place, side in enumerate(sides):
            pods = [(f"once-{turn}-{i}", free[place][i]) for i in range(AT_ONCE)]
            with side.space.entered():
                times[place].append(side.run_at_once(pods))
            for pod, netns in pods:
                delete(side, pod, netns)
            time.sleep(1)
    yield from lines(f"{AT_ONCE} ADDs at once", times, 1.3)


def add(side: Side, pod: str, netns: str) -> float:
    with side.space.entered():
        return side.run("ADD", pod, netns)


def delete(side: Side, pod: str, netns: str) -> float:
    with side.space.entered():
        return side.run("DEL", pod, netns)


def lines(name: str, times: tuple[list[float], list[float]], goal: float) -> Iterator[Figure]:
    ours_, theirs_ = map(statistics.median, times)
    yield Figure(f"{name}: median", ours_, "ms")
    yield Figure(f"{name}: median of ptp and host-local", theirs_, "ms")
    yield Figure(f"{name}: ours over theirs", ours_ / theirs_, "times", goal)
