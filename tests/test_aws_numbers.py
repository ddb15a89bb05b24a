"""How many calls it takes, and how long the account's rates make them last."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.aws import served
from tests.vpcs import vpc_document, write_document
from vpcrouter.cluster import Cluster
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.planner import plan
from vpcrouter.service import (
    Finished,
    InlineWorkers,
    Means,
    Router,
    SharedPace,
    switched_off,
    wanted,
)

OPENB = """\
version: 1
cluster: openb
networks: [{name: pods, cidrs: [100.64.0.0/10]}]
fabric: {kind: aws, region: us-east-1, vpc: vpc-0cafe}
nodes: {kubernetes: nodes.json}
store: store.db
"""


def test_the_first_plan_of_a_cluster_takes_hardly_longer_than_the_account_allows(
    openb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(openb / "nodes.json", tmp_path)
    path = tmp_path / "cluster.yaml"
    path.write_text(OPENB)
    with served(openb / "aws.json", region="us-east-1") as aws:
        fabric = AwsFabric(aws.clients("us-east-1"), "vpc-0cafe", None, aws.clock)
        monkeypatch.setattr("vpcrouter.cluster._aws", lambda *_: (fabric, aws.clock))
        cluster = Cluster.open(path)
        view = cluster.joined()
        switches = wanted(view.snapshot, view.observation.interfaces, switched_off(cluster.store))
        means = Means(InlineWorkers(aws.clock), SharedPace(cluster.store, aws.clock.now), aws.clock)
        router = Router(fabric, cluster.store, means)
        router.checks.run(switches, means.workers, aws.clock)
        assert router.checks.done == list(switches)
        before, started = Counter(aws.disturbed.calls), aws.clock.now()
        run = router.run(
            view.snapshot, lambda s: plan(s, 0.05), cluster.route_tables, lambda _: True
        )
        *_, last = run
        cluster.close()
    assert isinstance(last, Finished)
    assert last.is_settled
    calls = Counter(aws.disturbed.calls) - before
    assert calls["CreateRoute"] == last.made <= 150
    assert aws.clock.now() - started <= 1.2 * (calls["CreateRoute"] - 50) / 5
    assert before["ModifyNetworkInterfaceAttribute"] == len(switches)
    # Interfaces and instances come in two pages each.
    assert sum(calls.values()) - last.made <= 10


def test_discovering_5000_nodes_takes_few_calls(tmp_path: Path) -> None:
    document = vpc_document()
    instances = [f"i-{number:05x}" for number in range(5_000)]
    document["Reservations"] = [
        {"Instances": [{"InstanceId": name, "State": {"Name": "running"}}]} for name in instances
    ]
    document["NetworkInterfaces"] = [
        {
            "NetworkInterfaceId": f"eni-{number:05x}",
            "SubnetId": "subnet-a",
            "PrivateIpAddress": f"10.0.{number // 256}.{number % 256}",
            "Attachment": {"InstanceId": name, "DeviceIndex": 0, "Status": "attached"},
        }
        for number, name in enumerate(instances, 256)
    ]
    with served(write_document(tmp_path, document)) as aws:
        fabric = aws.fabric()
        seen = fabric.read()
        assert len(seen.interfaces) == len(seen.instances) == 5_000
        assert len(aws.disturbed.calls) <= 120
        aws.disturbed.calls.clear()
        fabric.read()
        assert len(aws.disturbed.calls) == 1
