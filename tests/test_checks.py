"""Source/destination checks: off where a node has blocks, on again only where we switched them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec import structs

from ipam.errors import UnavailableError
from ipam.store.memory import MemoryStore
from tests.aws import Served, served
from tests.commands import Runner, is_one_line
from tests.test_cluster import CLUSTER, NAMES, kubernetes, write
from tests.vpcs import vpc_document, write_document
from vpcrouter.cluster import Cluster
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import InstanceState
from vpcrouter.fabric.served.server import LostError
from vpcrouter.ownership import CHECKS
from vpcrouter.service import Checks, NotSwitched, Switch, alone, switched_off, wanted

OFF = [Switch("eni-a0", on=False), Switch("eni-a1", on=False)]
ACTION = "ModifyNetworkInterfaceAttribute"
DENIED = Ec2Error("UnauthorizedOperation", "You are not authorized to perform this operation.")


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Served]:
    with served(write_document(tmp_path, vpc_document())) as started:
        yield started


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def checked(aws: Served) -> set[str]:
    return {i.id for i in aws.account.vpc.describe().interfaces if i.source_dest_check}


def switch(
    aws: Served, store: MemoryStore, switches: Sequence[Switch]
) -> list[Switch | NotSwitched]:
    """What comes of switching these."""
    means = alone(aws.clock)
    checks = Checks(aws.fabric(), store, means.pace)
    checks.run(switches, means.workers, aws.clock)
    assert not checks.pending
    return checks.done


def test_it_is_wanted_off_with_blocks_and_on_again_without(tmp_path: Path) -> None:
    cluster = Cluster.open(write(tmp_path, NAMES[:2]))
    before, after = cluster.present(), cluster.planned()
    interfaces = after.observation.interfaces
    assert wanted(before.snapshot, interfaces, frozenset()) == ()
    assert wanted(after.snapshot, interfaces, frozenset()) == tuple(OFF)
    off = tuple(structs.replace(i, source_dest_check=False) for i in interfaces)
    assert wanted(after.snapshot, off, frozenset({"eni-a0"})) == ()
    assert wanted(before.snapshot, off, frozenset({"eni-a0"})) == (Switch("eni-a0", on=True),)
    cluster.close()


def test_what_was_switched_off_here_is_remembered_until_it_is_on(
    aws: Served, store: MemoryStore
) -> None:
    everything = checked(aws)
    assert switch(aws, store, OFF) == OFF
    assert checked(aws) == everything - {"eni-a0", "eni-a1"}
    assert switched_off(store) == {"eni-a0", "eni-a1"}
    on = [Switch("eni-a0", on=True)]
    assert switch(aws, store, on) == on
    assert checked(aws) == everything - {"eni-a1"}
    assert switched_off(store) == {"eni-a1"}


def test_it_is_recorded_before_the_call(aws: Served, store: MemoryStore) -> None:
    aws.disturbed.always[ACTION] = Ec2Error("Unavailable", "down")
    with pytest.raises(UnavailableError):
        switch(aws, store, OFF)
    assert switched_off(store) == {"eni-a0"}


def test_one_interface_that_cannot_be_switched_does_not_stop_the_others(
    aws: Served, store: MemoryStore
) -> None:
    gone = Switch("eni-gone", on=False)
    first, *rest = switch(aws, store, [gone, *OFF])
    assert isinstance(first, NotSwitched)
    assert (first.switch, first.code) == (gone, "InvalidNetworkInterfaceID.NotFound")
    assert rest == OFF
    assert switched_off(store) == {"eni-a0", "eni-a1"}


def test_throttling_and_lost_answers_are_waited_out(aws: Served, store: MemoryStore) -> None:
    aws.disturbed.errors_before[ACTION] = [Ec2Error("RequestLimitExceeded", "slow"), LostError()]
    aws.disturbed.errors_after[ACTION] = [LostError()]
    assert switch(aws, store, OFF) == OFF
    assert aws.disturbed.count(ACTION) == 5


# On the command line.


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


def store_keys(path: Path) -> set[str]:
    cluster = Cluster.open(path)
    keys = {item.key for item in cluster.store.range(CHECKS).items}
    cluster.close()
    return keys


def test_applying_switches_the_checks_of_new_nodes_once(command: Runner, tmp_path: Path) -> None:
    path = write(tmp_path, NAMES[:4])
    dry = command("apply", "--dry-run", "-f", path)
    assert "4 source/destination checks to be switched.\n" in dry.out
    assert store_keys(path) == set()
    first = json.loads(command("apply", "--yes", "-f", path, "-o", "json").out)
    assert len(first["checks"]) == 4
    assert not any(item["source_dest_check"] for item in first["checks"])
    assert len(store_keys(path)) == 4
    again = command("apply", "-f", path)
    assert again.code == 0
    assert "check" not in again.out
    write(tmp_path, NAMES[:5])
    assert "1 source/destination check switched.\n" in command("apply", "--yes", "-f", path).out


def test_a_node_whose_addresses_are_released_gets_its_check_back(
    command: Runner, tmp_path: Path
) -> None:
    names = NAMES[:3]
    path = write(tmp_path, names)
    command("apply", "--yes", "-f", path)
    document = vpc_document()
    document["Reservations"][0]["Instances"][0]["State"]["Name"] = InstanceState.TERMINATED.value
    write(tmp_path, names[1:], document=document)
    ended = json.loads(command("apply", "--yes", "-f", path, "-o", "json").out)
    assert ended["checks"] == [{"interface": "eni-a0", "source_dest_check": True}]
    assert store_keys(path) == {f"{CHECKS}eni-a1", f"{CHECKS}eni-a2"}


def test_without_permission_the_tables_are_changed_and_the_action_is_named(
    command: Runner, aws: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = aws.fabric()
    monkeypatch.setattr("vpcrouter.cluster._aws", lambda *_: (fabric, aws.clock))
    kind = "kind: aws, region: eu-central-1, vpc: vpc-1"
    text = CLUSTER.replace("kind: simulated, describe: aws.json", kind)
    write_document(tmp_path, {"kind": "List", "items": [kubernetes("a0")]}, "nodes.json")
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    aws.disturbed.always[ACTION] = DENIED
    ended = command("apply", "--yes", "-f", path)
    assert ended.code == 5
    assert is_one_line(ended.err)
    assert "allow ec2:ModifyNetworkInterfaceAttribute" in ended.err
    assert "eni-a0" in ended.err
    assert "Made 2 steps" in ended.out
    assert store_keys(path) == set()
