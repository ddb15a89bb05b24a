"""A lab comes and goes: nothing is left of it, wherever it was interrupted; nothing else moves."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipam.errors import BadInputError, UnavailableError
from tests.cni_nodes import need_nft
from tests.counts import examples
from tests.labs import NAME, apply, left_over, own_network
from tests.namespaces import namespaces
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.lab_apply import spared
from vpcrouter.cli.process import run
from vpcrouter.inventory import read_nodes
from vpcrouter.lab import processes, record, spaces
from vpcrouter.lab.files import Health, write_node_list
from vpcrouter.lab.lab import Lab, remove
from vpcrouter.lab.layout import Layout, Size

SMALL = Size(zones=2, nodes=1, pods=1, quota=6)

root = pytest.mark.usefixtures("root")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if os.geteuid() == 0:
        remove(NAME, tmp_path)


@root
def test_the_machines_own_network_is_as_it_was(folder: Path) -> None:
    # In a network of its own, so that nobody else changes it meanwhile.
    with namespaces(1) as (machine,), machine.entered():
        before = own_network()
        lab = Lab.begin(NAME, SMALL, folder)
        lab.build(apply)
        assert own_network() == before
        assert remove(NAME, folder)
        assert own_network() == before
    assert left_over(lab.record) == []
    assert not remove(NAME, folder)


_UP = """
import sys
from pathlib import Path
from tests.labs import apply
from vpcrouter.lab.lab import Lab
from vpcrouter.lab.layout import Size
Lab.begin(sys.argv[1], Size(2, 1, 1, 6), Path(sys.argv[2])).build(apply)
"""


@root
def test_nothing_is_left_of_a_lab_whose_making_was_killed(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(examples(test=1, prove=20)):
        making = subprocess.Popen([sys.executable, "-c", _UP, NAME, str(folder)], cwd=Path.cwd())
        try:
            deadline = time.monotonic() + chance.uniform(0.0, 4.0)
            while making.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            making.send_signal(signal.SIGKILL)
            making.wait()
        found = record.load(NAME, folder)
        remove(NAME, folder)
        if found is not None:
            assert left_over(found) == []
        assert not (folder / NAME).exists()


@root
def test_a_lab_is_made_once(folder: Path) -> None:
    Lab.begin(NAME, SMALL, folder)
    with pytest.raises(BadInputError, match=r"there is a lab .* already: vpcrouter lab down"):
        Lab.begin(NAME, SMALL, folder)
    remove(NAME, folder)
    with pytest.raises(BadInputError, match=r"there is no lab .*: vpcrouter lab up"):
        Lab.find(NAME, folder)


@root
def test_the_tour_leaves_a_lab_that_is_there_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Lab.begin(NAME, SMALL)
    try:
        assert run(["lab", "tour", "--name", NAME]) == ExitCode.BAD_INPUT
        assert record.load(NAME) is not None
    finally:
        remove(NAME)
    assert "there is a lab" in capsys.readouterr().err


@root
def test_health_is_said_as_kubernetes_would(folder: Path) -> None:
    lab = Lab.begin(NAME, Size(zones=1, nodes=4, pods=1, quota=6), folder)
    health = Health({"a1", "a2", "a4"}, {"a1", "a3", "a4"}, behind={"a4": "they lack a block"})
    write_node_list(lab.record, health)
    nodes = {node.name: node for node in read_nodes(lab.record.node_list).nodes}
    assert [(n.name, n.ready, n.avoid) for n in nodes.values()] == [
        ("a1", True, False),
        ("a2", True, True),
        ("a3", False, False),
        ("a4", True, True),
    ]
    assert spared(health) == (
        "The host routes of a4 are behind, so it is spared: they lack a block.\n"
    )


@root
def test_a_damaged_record_is_not_guessed_at(folder: Path) -> None:
    Lab.begin(NAME, SMALL, folder)
    path = folder / NAME / "lab.json"
    whole = path.read_text()
    for text in ("", "{}", "[]", whole.replace('"version": 1', '"version": 2')):
        path.write_text(text)
        for action in (lambda: remove(NAME, folder), lambda: Lab.find(NAME, folder)):
            with pytest.raises(BadInputError, match=r"lab\.json is no record of a lab"):
                action()
    path.write_text(whole)


@root
def test_a_namespace_is_removed_however_far_it_came(folder: Path) -> None:
    path = folder / "space"
    spaces.remove(path)
    path.touch()
    spaces.remove(path)
    assert not path.exists()
    spaces.make(path)
    with spaces.entered(path):
        assert own_network() != ""
    spaces.remove(path)
    assert not path.exists()


def test_who_is_not_root_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for command in ("up", "status", "ping --all", "break node a1", "apply", "down", "tour"):
        assert run(["lab", *command.split(), "--name", NAME]) == ExitCode.UNAVAILABLE
        assert "run it as root (sudo)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("up --zones 0", "--zones 0: a lab has 1 to 26"),
        ("up --nodes 201", "--nodes 201: a lab has 1 to 200"),
        ("up --pods 0", "--pods 0: a lab has 1 to 100"),
        ("up --quota -1", "--quota"),
        ("up --name ../etc", "letters and digits only"),
        ("ping", "name two pods, or give --all"),
        ("ping a1-p1", "name two pods, or give --all"),
        ("ping a1-p1 b1-p1 --all", "name two pods, or give --all"),
        ("break node", "name a node"),
        ("break store a1", "the store needs no name"),
        ("break roof a1", "roof"),
    ],
)
@root
def test_what_cannot_be_meant_is_said(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments.split()
    name = [] if "--name" in words else ["--name", NAME]
    assert run(["lab", *words, *name]) == ExitCode.BAD_INPUT
    assert message in capsys.readouterr().err
    assert record.load(NAME) is None


def test_names_and_addresses_are_apart() -> None:
    layout = Layout(Size(zones=26, nodes=200, pods=2, quota=50))
    machines = layout.machines
    for family in (*layout.size.families, *Size(1, 1, 1, 1).families):
        assert len({machine.address(family) for machine in machines}) == len(machines)
    assert len({machine.mac for machine in machines}) == len(machines)
    names = list(layout.spaces())
    assert len(set(names)) == len(names) == 1 + 26 * 200 * 3
    assert not {253, 254, 255} & {zone.table for zone in layout.zones}


@root
def test_what_the_kernel_refuses_is_said_in_one_line(folder: Path) -> None:
    path = folder / "space"

    def add_bridge() -> None:
        with spaces.kernel(path) as kernel:
            kernel.link("add", ifname="bridge", kind="bridge")

    spaces.make(path)
    try:
        add_bridge()
        with pytest.raises(UnavailableError, match="refuses a change of space: File exists"):
            add_bridge()
    finally:
        spaces.remove(path)


@root
def test_a_process_that_took_an_id_over_is_not_ended(folder: Path) -> None:
    pid_file = folder / "pid"
    pid_file.write_text(str(os.getpid()))
    assert processes.running("token", pid_file) is None
    processes.stop(os.getpid(), "token")  # this process goes on
    with pytest.raises(UnavailableError, match="no-such-program"):
        processes.start(["no-such-program"], "token", folder / "log", pid_file)


@root
def test_the_tour_shows_a_forwarder_fail_and_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_nft()
    size = "--zones 2 --nodes 3 --pods 1 --quota 6"
    try:
        code = run(["lab", "tour", *size.split(), "--name", NAME])
    finally:
        remove(NAME)
    shown = capsys.readouterr()
    assert code == ExitCode.DONE, shown.err
    text = shown.out
    assert "6 pods on 6 nodes in 2 zones" in text
    assert text.count("30 pings") == 2
    forwarder = re.search(r"(\w+) loses its power", text)
    assert forwarder is not None
    assert re.search(rf"A packet from .* -> {forwarder[1]} \(.*\) -> ", text)
    assert re.search(rf"~ .* {forwarder[1]} -> .* is not healthy", text)
    assert re.search(r"(\d+) pairs of node and pod did not .* before; \1 do now", text)
    assert len(re.findall(r"pairs that did lost 0 pings", text)) == 2
    assert text.endswith("The lab is removed.\n")
    assert not (record.FOLDER / NAME).exists()


@root
def test_a_process_is_known_while_it_becomes_another_program(folder: Path) -> None:
    """In between, the kernel shows no environment."""
    pid_file = folder / "pid"
    for _ in range(20):
        command = ["env", "env", "env", "sleep", "60"]
        pid = processes.start(command, "token-of-this-test", folder / "log", pid_file)
        seen = {processes.running("token-of-this-test", pid_file) for _ in range(100)}
        processes.stop(pid, "token-of-this-test")
        assert seen == {pid}
        assert processes.running("token-of-this-test", pid_file) is None


@root
def test_a_process_without_environment_is_nobodys(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not waited for: there are such on every machine."""
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as process:
        try:
            (folder / "pid").write_text(str(process.pid))
            monkeypatch.setattr("vpcrouter.lab.processes.time.sleep", pytest.fail)
            assert processes.running("token-of-this-test", folder / "pid") is None
        finally:
            process.kill()
