"""moto as a second opinion about the wire: what is sent is understood there, what it says here.

It checks little, so that nothing but the wire is tried: see the strict simulation for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.model import OperationModel
from moto.server import ThreadedMotoServer

from ipam.prefix import Family
from ipam.store.memory import MemoryStore
from tests.aws import ALLOWED, REGION, session
from vpcrouter.cluster import Cluster
from vpcrouter.config import load_cluster
from vpcrouter.fabric.aws.clients import Clients
from vpcrouter.fabric.aws.events import QueueEvents
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.firewalls import obstacles
from vpcrouter.fabric.port import Heard
from vpcrouter.planner import plan
from vpcrouter.reconcile import Ended, Loop, NodeListChanges, Timing
from vpcrouter.service import Made, alone

NODES = 20


@dataclass
class Account:
    """A VPC in moto with instances in two subnets, each of which has a table."""

    url: str
    vpc: str
    tables: list[str]
    instances: list[dict[str, Any]]

    def client(self, service: str) -> Any:
        return session().client(service, region_name=REGION, endpoint_url=self.url)  # type: ignore[call-overload]


def covered(clients: Clients) -> Clients:
    """The same, where a call that the printed policy does not name fails the test."""

    def check(model: OperationModel, **_: object) -> None:
        assert model.name in ALLOWED

    for client in (clients.ec2, clients.quotas):
        client.meta.events.register("before-call", check)
    return clients


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    ec2 = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    tables: list[str] = []
    instances: list[Any] = []
    for number, zone in enumerate("ab"):
        subnet = ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{16 * number}.0/20", AvailabilityZone=f"{REGION}{zone}"
        )["Subnet"]["SubnetId"]
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        tables.append(table)
        started = ec2.run_instances(
            ImageId="ami-12c6146b", MinCount=NODES // 2, MaxCount=NODES // 2, SubnetId=subnet
        )
        instances += started["Instances"]
    yield Account(url, vpc, tables, instances)
    server.stop()


def test_a_cluster_is_discovered_and_its_tables_are_filled(
    account: Account, tmp_path: Path
) -> None:
    clock = SimulatedClock()
    clients = covered(Clients(session(), REGION, account.url))
    fabric = AwsFabric(clients, account.vpc, None, clock)
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "version: 1\ncluster: moto\nnetworks: [{name: pods, cidrs: [100.64.0.0/16]}]\n"
        f"fabric: {{kind: aws, region: {REGION}, vpc: {account.vpc}}}\n"
        "nodes: {kubernetes: nodes.json}\n"
    )
    items = [_node(instance) for instance in account.instances]
    (tmp_path / "nodes.json").write_text(json.dumps({"kind": "List", "items": items}))
    cluster = Cluster(load_cluster(path), MemoryStore(), fabric, clock)
    assert fabric.quota().entries == 50
    loop = Loop(
        cluster,
        alone(clock),
        lambda s: plan(s, 0.0),
        NodeListChanges(tmp_path / "nodes.json"),
        Timing(),
    )
    made = 0
    for event in loop.run(lambda: False):
        made += isinstance(event, Made)
        if isinstance(event, Ended) and event.is_settled and not event.passed.made:
            break
    described = account.client("ec2").describe_route_tables(RouteTableIds=account.tables)
    for table in described["RouteTables"]:
        routes = [r for r in table["Routes"] if r.get("NetworkInterfaceId")]
        assert len(routes) == NODES
    assert made == 2 * NODES
    seen = fabric.read()
    assert all(subnet.table in account.tables for subnet in seen.subnets)
    assert seen.quota[Family.IPV4] == 50
    interfaces = account.client("ec2").describe_network_interfaces()["NetworkInterfaces"]
    assert sum(not item["SourceDestCheck"] for item in interfaces) == NODES


def _node(instance: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": instance["InstanceId"]},
        "spec": {"providerID": f"aws:///{REGION}a/{instance['InstanceId']}"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": instance["PrivateIpAddress"]}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def test_firewalls_are_understood(account: Account) -> None:
    fabric = AwsFabric(
        covered(Clients(session(), REGION, account.url)), account.vpc, None, SimulatedClock()
    )
    walls, denied = fabric.discovery.firewalls()
    networks = [cidr for cidr in fabric.read().local if cidr.family is Family.IPV4]
    assert denied == ()
    assert walls.acls
    assert walls.groups
    lines = list(obstacles(walls, networks))
    assert all("acl-" not in line for line in lines), "the default ACL lets everything through"
    assert any("sg-" in line for line in lines), "the default group lets in only itself"


def test_a_queue_is_read_and_emptied(account: Account) -> None:
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    body = (
        '{"detail-type": "EC2 Spot Instance Interruption Warning", "detail": {"instance-id": "i"}}'
    )
    sqs.send_message(QueueUrl=url, MessageBody=body)
    events = QueueEvents(
        covered(Clients(session(), REGION, account.url)).sqs(), url, SimulatedClock()
    )
    heard: list[Heard] = []
    for _ in range(2000):
        heard += events.take()
        if heard:
            break
        events._stop.wait(0.01)
    events.close()
    assert [one.instance for one in heard] == ["i"]


def test_an_assumed_role_signs_the_calls(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Roles are taken from the usual profile files, as by every tool."""
    config = tmp_path / "config"
    config.write_text(
        "[profile router]\nrole_arn = arn:aws:iam::123456789012:role/router\n"
        "source_profile = base\nregion = eu-central-1\n"
        f"[profile base]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
        f"endpoint_url = {account.url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "router")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", account.url)
    role = covered(Clients(boto3.Session(profile_name="router"), REGION, account.url))
    assert AwsFabric(role, account.vpc, None, SimulatedClock()).read().vpc == account.vpc
