"""Events about instances from a queue: heard of before they are read, and never needed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipam.store.memory import MemoryStore
from tests.aws import QUEUE, Served, served
from tests.test_aws_commands import CLUSTER
from tests.test_cluster import NAMES, write
from tests.vpcs import vpc_document, write_document
from vpcrouter.cluster import Cluster
from vpcrouter.config import load_cluster
from vpcrouter.fabric.aws.events import QueueEvents, parse_event
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import Heard, InstanceState
from vpcrouter.planner import plan
from vpcrouter.reconcile import CloudEvents, Loop, Timing, Urgency
from vpcrouter.service import alone


def state_change(instance: str, state: str) -> str:
    detail = {"instance-id": instance, "state": state}
    kind = "EC2 Instance State-change Notification"
    return json.dumps({"version": "0", "detail-type": kind, "detail": detail})


def spot_notice(instance: str) -> str:
    detail = {"instance-id": instance, "instance-action": "terminate"}
    kind = "EC2 Spot Instance Interruption Warning"
    return json.dumps({"version": "0", "detail-type": kind, "detail": detail})


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Served]:
    with served(write_document(tmp_path, vpc_document(), "account.json")) as started:
        yield started


def test_messages_are_told_apart() -> None:
    assert parse_event(state_change("i-1", "stopping")) == Heard("i-1", InstanceState.STOPPING)
    assert parse_event(spot_notice("i-1")) == Heard("i-1", None)
    for body in ("", "[]", "null", "{", state_change("i-1", "dancing"), '{"detail-type": "x"}'):
        assert parse_event(body) is None


def test_messages_are_taken_once_and_others_are_thrown_away(aws: Served) -> None:
    for body in (state_change("i-a0", "running"), "no event", spot_notice("i-a1")):
        aws.account.send(body)
    events = QueueEvents(aws.clients().sqs(), QUEUE, aws.clock)
    deadline = time.monotonic() + 20
    heard: list[Heard] = []
    while (aws.account.queue or len(heard) < 2) and time.monotonic() < deadline:
        heard += events.take()
        time.sleep(0.01)
    events.close()
    assert heard == [Heard("i-a0", InstanceState.RUNNING), Heard("i-a1", None)]
    assert not aws.account.queue


def test_a_queue_that_cannot_be_read_is_said(aws: Served) -> None:
    aws.disturbed.always["ReceiveMessage"] = Ec2Error("AccessDenied", "not for you")
    events = QueueEvents(aws.clients().sqs(), QUEUE, aws.clock)
    deadline = time.monotonic() + 20
    while not events.problem and time.monotonic() < deadline:
        time.sleep(0.01)
    events.close()
    assert events.problem == (
        f"{QUEUE}: sqs:ReceiveMessage refused: not for you: allow it; vpcrouter aws iam-policy "
        "--queue prints what is needed; until then instances are polled for"
    )


def test_what_cannot_be_taken_out_is_heard_nevertheless(aws: Served) -> None:
    aws.disturbed.always["DeleteMessage"] = Ec2Error("AccessDenied", "not for you")
    for name in ("i-a0", "i-a1"):
        aws.account.send(state_change(name, "running"))
    events = QueueEvents(aws.clients().sqs(), QUEUE, aws.clock)
    deadline = time.monotonic() + 20
    while not events.problem and time.monotonic() < deadline:
        time.sleep(0.01)
    events.close()
    assert [heard.instance for heard in events.take()] == ["i-a0", "i-a1"]
    assert "sqs:DeleteMessage refused: not for you: allow it" in events.problem


class Told:
    """Events that a test tells."""

    problem = ""

    def __init__(self) -> None:
        self.next: list[Heard] = []

    def take(self) -> list[Heard]:
        found, self.next = self.next, []
        return found

    def close(self) -> None:
        """Nothing."""


def test_what_is_heard_is_acted_on_at_once(aws: Served, tmp_path: Path) -> None:
    path = write(tmp_path, NAMES, CLUSTER.format(url=aws.url))
    fabric = AwsFabric(aws.clients(), "vpc-1", None, aws.clock)
    cluster = Cluster(load_cluster(path), MemoryStore(), fabric, aws.clock)
    told = Told()
    loop = Loop(
        cluster,
        alone(aws.clock),
        lambda s: plan(s, 0.0),
        CloudEvents(told, fabric),
        Timing(),
    )

    def run(seconds: float) -> None:
        end = aws.clock.now() + seconds
        for _ in loop.run(lambda: aws.clock.now() >= end):
            pass

    def hops() -> set[str]:
        tables = aws.account.vpc.describe().tables
        pods = ("100.64.",)
        return {r.target for t in tables for r in t.rows if str(r.destination).startswith(pods)}

    run(5)
    assert "eni-a0" in hops()
    aws.disturbed.calls.clear()
    told.next = [Heard("i-a0", InstanceState.STOPPING)]
    run(3)
    assert "eni-a0" not in hops()
    assert "DescribeInstances" not in aws.disturbed.calls
    told.next = [Heard("i-a1", None)]
    run(3)
    (node,) = [n for n in cluster.present().snapshot.nodes if n.name == "a1"]
    assert (node.healthy, node.avoid) == (True, True)
    run(400)  # nobody has stopped them after all: reads tell
    assert all(node.healthy for node in cluster.present().snapshot.nodes)


@pytest.mark.parametrize(
    ("heard", "urgency"),
    [
        ([], Urgency.NOTHING),
        ([Heard("i-1", InstanceState.RUNNING)], Urgency.CHANGE),
        ([Heard("i-1", None), Heard("i-2", InstanceState.RUNNING)], Urgency.FAILURE),
    ],
)
def test_what_goes_is_urgent(aws: Served, heard: list[Heard], urgency: Urgency) -> None:
    told = Told()
    told.next = heard
    assert CloudEvents(told, aws.fabric()).poll() is urgency
