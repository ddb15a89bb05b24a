"""A sample of histories in bad weather over HTTP: the real client, its pages and its parsing."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from ipam.errors import UnavailableError
from ipam.store.memory import MemoryStore
from tests.aws import served
from tests.counts import examples
from tests.test_aws_commands import CLUSTER
from tests.test_cluster import NAMES, write
from tests.vpcs import vpc_document, write_document
from vpcrouter.cluster import Cluster
from vpcrouter.config import load_cluster
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import InstanceState
from vpcrouter.fabric.served.server import LostError
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.ownership import Stage
from vpcrouter.planner import plan
from vpcrouter.reconcile import Loop, Lost, NodeListChanges, Timing
from vpcrouter.service import alone

STORM_SECONDS = 200.0
CALM_SECONDS = 400.0


class Storm:
    """Faults at so many calls, before and after their effect."""

    def __init__(self, random: Random, rate: float) -> None:
        self.random = random
        self.rate = rate
        self.injected = 0

    def before(self, action: str) -> None:
        self._strike(
            Ec2Error("RequestLimitExceeded", f"{action}: slow down"),
            Ec2Error("Unavailable", f"{action}: not now"),
            Ec2Error("InternalError", f"{action}: sorry"),
            LostError(),
        )

    def after(self, action: str) -> None:
        self._strike(Ec2Error("InternalError", f"{action}: sorry"), LostError())

    def _strike(self, *errors: Exception) -> None:
        if self.random.random() < self.rate / 2:
            self.injected += 1
            raise self.random.choice(errors)


@pytest.mark.parametrize("number", range(examples(test=1, prove=10)))
def test_over_http_all_ends_well_too(tmp_path: Path, seed: int, number: int) -> None:
    random = Random(seed * 1_000 + number)
    path = write_document(tmp_path, vpc_document(), "account.json")
    with served(path, Behaviour(lag=random.choice([0.0, 20.0]))) as aws:
        storm = Storm(random, 0.3)
        usual = aws.disturbed.before

        def before(action: str) -> None:
            usual(action)
            storm.before(action)

        cluster_path = write(tmp_path, NAMES, CLUSTER.format(url=aws.url))
        cluster = Cluster(load_cluster(cluster_path), MemoryStore(), aws.fabric(), aws.clock)
        signals = NodeListChanges(tmp_path / "nodes.json")
        loop = Loop(cluster, alone(aws.clock), lambda s: plan(s, 0.0), signals, Timing())

        def run(seconds: float) -> list[Lost]:
            end = aws.clock.now() + seconds
            return [e for e in loop.run(lambda: aws.clock.now() >= end) if isinstance(e, Lost)]

        aws.disturbed.before = before  # type: ignore[method-assign]
        aws.disturbed.after = storm.after  # type: ignore[method-assign]
        run(STORM_SECONDS / 2)
        aws.account.vpc.put_instance(f"i-{random.choice(NAMES)}", InstanceState.STOPPED)
        run(STORM_SECONDS / 2)
        assert storm.injected
        storm.rate = 0.0
        run(CALM_SECONDS)
        view = cluster.joined()
        assert not any(table.steps for table in plan(view.snapshot, 0.0).tables)
        records = cluster.records()
        assert {record.stage for record in records.values()} == {Stage.DONE}
        for table in view.snapshot.route_tables:
            ours = {destination for name, destination in records if name == table.id}
            assert {entry.destination for entry in table.entries} == ours
        assert loop.failed == {}


def test_pages_that_do_not_come_are_no_answer(tmp_path: Path) -> None:
    """What was read until then is not taken for all there is."""
    document = vpc_document()
    first = document["NetworkInterfaces"][0]
    document["NetworkInterfaces"] += [
        {
            **first,
            "NetworkInterfaceId": f"eni-{number}",
            "PrivateIpAddress": f"10.0.{4 + number // 200}.{number % 200 + 1}",
            "Attachment": {"InstanceId": f"i-{number}", "DeviceIndex": 0, "Status": "attached"},
        }
        for number in range(1_500)
    ]
    with served(write_document(tmp_path, document)) as aws:
        pages = 0
        usual = aws.disturbed.before

        def second_page_is_lost(action: str) -> None:
            nonlocal pages
            usual(action)
            pages += action == "DescribeNetworkInterfaces"
            if pages >= 2:
                raise LostError

        aws.disturbed.before = second_page_is_lost  # type: ignore[method-assign]
        with pytest.raises(UnavailableError, match="DescribeNetworkInterfaces"):
            aws.fabric().read()
