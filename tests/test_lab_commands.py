"""The commands about a lab, as an operator calls them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cni_nodes import need_nft
from tests.commands import Runner
from tests.labs import NAME
from vpcrouter.lab.lab import Lab, remove

pytestmark = pytest.mark.usefixtures("root")

UP = ("--zones", "2", "--nodes", "3", "--pods", "1", "--quota", "6")


class Commands:
    """`vpcrouter lab ...` on one lab."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = self._runner("lab", *arguments, "--name", NAME)
        assert done.code == code, done.err
        return done.out + done.err


@pytest.fixture
def lab(root: None, capsys: pytest.CaptureFixture[str]) -> Iterator[Commands]:  # noqa: ARG001
    need_nft()
    commands = Commands(Runner(capsys))
    try:
        commands("up", *UP)
        yield commands
    finally:
        remove(NAME)


def test_a_lab_is_looked_at_broken_and_healed(lab: Commands) -> None:
    assert "30 pings" in lab("ping", "--all")
    assert lab("ping", "a1-p1", "b1-p1").startswith("1 ping in")
    assert "1 lost" in lab("ping", "a1-p1", "192.0.2.1", code=4)
    for command in ("ping", "explain"):
        assert "neither an address nor a pod" in lab(command, "a1-p1", "b9-p9", code=2)
        assert "no pod 'c1-p1': its pods are a1-p1 to b3-p1" in lab(
            command, "c1-p1", "a1-p1", code=2
        )
    assert "A packet from a1-p1: a1 (10.77.0.11) -> ?" in lab("explain", "a1-p1", "b1-p1")
    shown = lab("status")
    assert shown.count("  yes      ") == 6
    assert ", 0 of them twice." in shown

    lab("break", "node", "a1")
    assert "pod a1-p1 does not run: node a1 is off" in lab("ping", "a1-p1", "b1-p1", code=2)
    assert "pod a1-p1 does not run: node a1 is off" in lab("explain", "b1-p1", "a1-p1", code=2)
    assert "Left out 1 pod: node a1 is off." in lab("apply") + lab("ping", "--all")
    assert "node a1 is broken already" in lab("break", "node", "a1", code=2)

    lab("break", "store")
    assert "is away" in lab("status")
    assert "unknown" in lab("status")
    before = tables()
    assert "locked" in lab("apply", code=5)
    assert tables() == before
    lab("heal", "store")
    lab("heal", "node", "a1")
    lab("apply")
    assert "30 pings" in lab("ping", "--all")
    assert "The lab is removed." in lab("down")
    assert "There is no lab." in lab("down")
    assert "there is no lab" in lab("status", code=2)


def tables() -> object:
    from vpcrouter.cluster import Cluster

    cluster = Cluster.open(Lab.find(NAME).record.cluster_file)
    try:
        return cluster.fabric.read().tables
    finally:
        cluster.close()
