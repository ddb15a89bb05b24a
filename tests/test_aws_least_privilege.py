"""The printed policy allows what is needed, on the resources that it names, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipam.errors import BadInputError
from tests.aws import ALLOWED, REGION, Served, printed, quick_clients, served
from tests.commands import Runner, is_one_line
from tests.test_aws_commands import CLUSTER, discover, side
from tests.test_cluster import NAMES, write
from tests.vpcs import vpc_document, write_document
from vpcrouter.fabric.arns import Place
from vpcrouter.fabric.aws.policy import EVENTS
from vpcrouter.fabric.port import InstanceState
from vpcrouter.fabric.served.authorization import of_ec2
from vpcrouter.fabric.served.iam import Asked, Policy, parse_policy

PLACE = Place.of(REGION, "000000000000")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    quick_clients(monkeypatch)
    with served(write_document(tmp_path, vpc_document(), "account.json")) as started:
        yield started


@pytest.fixture
def cluster(aws: Served, tmp_path: Path) -> Path:
    return write(tmp_path, NAMES, CLUSTER.format(url=aws.url))


def without(allowed: Policy, action: str) -> Policy:
    """The same without one action."""
    return Policy(
        tuple(
            replace(s, actions=tuple(a for a in s.actions if a.partition(":")[2] != action))
            for s in allowed.statements
        )
    )


def rows(aws: Served, table: str) -> dict[str, str]:
    (found,) = [t for t in aws.account.vpc.describe().tables if t.id == table]
    return {
        str(r.destination): r.target for r in found.rows if str(r.destination).startswith("100.")
    }


def everything(command: Runner, aws: Served, cluster: Path) -> None:
    """A life of a cluster, from looking at the VPC until it is withdrawn."""
    document = aws.account._file
    assert isinstance(document, dict)
    document["Quotas"] = []
    command(*discover(aws, "--network", "100.64.0.0/16"))
    command("apply", "--yes", "-f", cluster)
    aws.account.vpc.put_instance("i-a0", InstanceState.STOPPED)
    nodes = json.loads((cluster.parent / "nodes.json").read_text())
    nodes["items"][0]["status"]["conditions"] = []
    (cluster.parent / "nodes.json").write_text(json.dumps(nodes))
    command("apply", "--yes", "-f", cluster)
    command("aws", "withdraw", "--yes", "-f", cluster)


def test_every_action_of_the_policy_is_needed_by_something(
    command: Runner, aws: Served, cluster: Path
) -> None:
    everything(command, aws, cluster)
    events = {action.partition(":")[2] for action in EVENTS}
    assert set(aws.disturbed.calls) == ALLOWED - events
    for asked in aws.disturbed.asked_for:
        assert not without(printed("vpc-1"), asked.action.partition(":")[2]).allows(asked)


MISSING = {
    "DescribeVpcs": True,
    "DescribeInstances": True,
    "DescribeManagedPrefixLists": True,
    "GetServiceQuota": True,
    "ModifyNetworkInterfaceAttribute": True,
    "ReplaceRoute": True,
    "DeleteRoute": True,
    "CreateRoute": False,
    "DescribeSubnets": False,
    "DescribeRouteTables": False,
    "DescribeNetworkInterfaces": False,
}


@pytest.mark.parametrize(("action", "changes"), MISSING.items())
def test_each_missing_permission_is_named_and_what_can_go_on_goes_on(
    command: Runner, aws: Served, cluster: Path, action: str, changes: bool
) -> None:
    aws.access.policy = without(printed("vpc-1"), action)
    ended = command("apply", "--yes", "-f", cluster)
    assert bool(rows(aws, "rtb-a")) is changes
    if action in aws.disturbed.calls:
        assert action in ended.err
        assert "internal error" not in ended.err
        assert "Traceback" not in ended.err
    if not changes and action != "CreateRoute":
        assert ended.code == 5
        assert is_one_line(ended.err)


def test_a_default_quota_that_may_not_be_read_is_named(
    command: Runner, aws: Served, cluster: Path
) -> None:
    document = aws.account._file
    assert isinstance(document, dict)
    document["Quotas"] = []
    aws.access.policy = without(printed("vpc-1"), "GetAWSDefaultServiceQuota")
    ended = command("apply", "--yes", "-f", cluster)
    assert ended.code == 0
    assert is_one_line(ended.err)
    assert "servicequotas:GetAWSDefaultServiceQuota refused" in ended.err
    assert "assuming 500 entries a table" in ended.err
    assert rows(aws, "rtb-a")


LEFT_OUT = {
    "DescribeSecurityGroups": "whether security groups let pods through was not looked at",
    "DescribeNetworkAcls": "whether network ACLs let pods through was not looked at",
    "DescribeVpcPeeringConnections": "whether networks overlap the other sides of peerings",
}


CLOSED: dict[str, Any] = {
    "SecurityGroups": [
        {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": [], "IpPermissionsEgress": []}
    ],
    "NetworkAcls": [
        {
            "NetworkAclId": "acl-1",
            "VpcId": "vpc-1",
            "Associations": [{"NetworkAclId": "acl-1", "SubnetId": "subnet-a"}],
            "Entries": [],
        }
    ],
    "VpcPeeringConnections": [
        {
            "VpcPeeringConnectionId": "pcx-1",
            "Status": {"Code": "active"},
            "RequesterVpcInfo": side("vpc-1", "10.0.0.0/16"),
            "AccepterVpcInfo": side("vpc-9", "100.64.8.0/24"),
        }
    ],
}
"""Nothing lets pods through, and a peer has their addresses."""


@pytest.mark.parametrize("action", LEFT_OUT)
def test_discovery_names_what_it_may_not_look_at_and_looks_at_the_rest(
    command: Runner, aws: Served, action: str
) -> None:
    document = aws.account._file
    assert isinstance(document, dict)
    document.update(CLOSED)
    interfaces: Any = document["NetworkInterfaces"]
    for interface in interfaces:
        interface["Groups"] = [{"GroupId": "sg-1", "GroupName": "nodes"}]
    whole = command(*discover(aws, "--network", "100.64.0.0/16", "-o", "json"))
    assert whole.code == 3, whole.err
    problems = json.loads(whole.out)["problems"]
    places = {"SecurityGroups": "sg-1", "NetworkAcls": "acl-1", "VpcPeeringConnections": "pcx-1"}
    assert all(any(name in problem for problem in problems) for name in places.values())
    aws.access.policy = without(printed("vpc-1"), action)
    ended = command(*discover(aws, "--network", "100.64.0.0/16", "-o", "json"))
    assert is_one_line(ended.err)
    assert f"ec2:{action} refused" in ended.err
    assert LEFT_OUT[action] in ended.err
    found = json.loads(ended.out)["problems"]
    hidden = places[action.removeprefix("Describe")]
    assert found == [problem for problem in problems if hidden not in problem]


def test_every_action_is_tried_missing() -> None:
    tried = {*MISSING, *LEFT_OUT, "GetAWSDefaultServiceQuota"}
    events = {action.partition(":")[2] for action in EVENTS}  # with those who hear them
    assert tried == ALLOWED - events


@pytest.mark.parametrize("action", ["ReplaceRoute", "DeleteRoute"])
def test_what_may_only_be_created_is_reported_where_it_should_be_changed(
    command: Runner, aws: Served, cluster: Path, action: str
) -> None:
    assert command("apply", "--yes", "-f", cluster).code == 0
    before = rows(aws, "rtb-a")
    aws.access.policy = without(printed("vpc-1"), action)
    if action == "ReplaceRoute":
        nodes = json.loads((cluster.parent / "nodes.json").read_text())
        for item in nodes["items"][:2]:
            item["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        (cluster.parent / "nodes.json").write_text(json.dumps(nodes))
        ended = command("apply", "--yes", "-f", cluster)
    else:
        ended = command("aws", "withdraw", "--yes", "-f", cluster)
    assert action in aws.disturbed.calls
    assert ended.code == 5
    assert action in ended.err
    assert "rtb-a" in ended.err
    assert rows(aws, "rtb-a").keys() == before.keys()


def test_a_table_that_was_not_named_is_left_alone_and_the_other_one_is_filled(
    command: Runner, aws: Served, cluster: Path
) -> None:
    shown = command("aws", "iam-policy", "-f", cluster, "--table", "rtb-b")
    aws.access.policy = parse_policy(json.loads(shown.out), "shown")
    ended = command("apply", "--yes", "-f", cluster)
    assert ended.code == 5
    assert rows(aws, "rtb-b")
    assert not rows(aws, "rtb-a")
    assert (
        "ec2:CreateRoute on resource: arn:aws:ec2:eu-central-1:000000000000:route-table/rtb-a"
        in (ended.err)
    )
    assert "route-table/rtb-b" not in ended.err


def asked_of(aws: Served, action: str, **fields: str) -> Asked:
    asked = of_ec2(PLACE, aws.account, action, fields)
    assert asked is not None
    return asked


def test_what_nobody_needs_is_denied(aws: Served) -> None:
    allowed = printed("vpc-1")
    check = {"NetworkInterfaceId": "eni-a0", "SourceDestCheck.Value": "false"}
    mine = asked_of(aws, "ModifyNetworkInterfaceAttribute", **check)
    assert allowed.allows(mine)
    groups = {"NetworkInterfaceId": "eni-a0", "SecurityGroupId.1": "sg-1"}
    assert not allowed.allows(asked_of(aws, "ModifyNetworkInterfaceAttribute", **groups))
    route = asked_of(aws, "CreateRoute", RouteTableId="rtb-a")
    assert allowed.allows(route)
    for elsewhere in (printed("vpc-2"), printed("vpc-1", region="eu-west-1")):
        assert not elsewhere.allows(route)
        assert not elsewhere.allows(mine)
    assert not printed("vpc-1", tables=["rtb-b"]).allows(route)
    assert printed("vpc-1", tables=["rtb-a", "rtb-b"]).allows(route)
    for action in ("DeleteRouteTable", "TerminateInstances", "DescribeAddresses"):
        assert not allowed.allows(Asked(f"ec2:{action}", "*", {}))


def test_a_table_of_another_vpc_is_out_of_reach(tmp_path: Path) -> None:
    document = vpc_document()
    other = {**document["RouteTables"][0], "RouteTableId": "rtb-x", "VpcId": "vpc-2"}
    document["RouteTables"].append({**other, "Associations": []})
    with served(write_document(tmp_path, document)) as aws:
        asked = asked_of(aws, "CreateRoute", RouteTableId="rtb-x")
    assert not printed("vpc-1").allows(asked)


@pytest.mark.parametrize(
    ("statement", "asked", "allowed"),
    [
        ({"Resource": "*"}, "*", True),
        # Describing calls have no resource: naming one denies them.
        ({"Resource": "arn:aws:ec2:*:*:route-table/*"}, "*", False),
        ({"Resource": "arn:aws:ec2:*:*:*"}, "*", False),
        ({"Resource": "arn:*"}, "arn:aws:ec2:r:1:route-table/rtb-1", False),
        ({"Resource": "arn:aws:ec2:*:*:route-table/*"}, "arn:aws:ec2:r:1:route-table/rtb-1", True),
        ({"Resource": "arn:aws:ec2:*:*:route-table/rtb-[12]"}, "arn:aws:ec2:r:1:x", False),
        ({"Resource": "*", "Condition": {"StringEquals": {"ec2:Vpc": "v"}}}, "*", False),
        ({"Resource": "*", "Condition": {"StringEquals": {"EC2:Region": ["q", "r"]}}}, "*", True),
        ({"Resource": "*", "Condition": {"StringEquals": {"ec2:Region": "R"}}}, "*", False),
        ({"Resource": "*", "Condition": {"StringLike": {"ec2:Region": "?"}}}, "*", True),
        ({"Resource": "*", "Action": ["sqs:*", "ec2:d*"]}, "*", True),
        ({"Resource": "*", "Action": "ec2:Describe"}, "*", False),
        ({"Resource": "*", "Effect": "Deny"}, "*", False),
    ],
)
def test_policies_mean_what_iam_says_that_they_mean(
    statement: dict[str, Any], asked: str, allowed: bool
) -> None:
    whole = {"Effect": "Allow", "Action": "ec2:DescribeVpcs", **statement}
    found = parse_policy({"Statement": whole}, "policy")
    question = Asked("ec2:DescribeVpcs", asked, {"ec2:region": ["r"]})
    assert found.allows(question) is allowed
    denying = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    both = parse_policy({"Statement": [whole, denying]}, "policy")
    assert not both.allows(question)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "has no Statement"),
        ({"Statement": ["x"]}, "Statement[0] should be an object"),
        ({"Statement": {"Effect": "Allow", "NotAction": "ec2:*"}}, "NotAction is not understood"),
        ({"Statement": {"Effect": "Maybe"}}, "Effect should be Allow or Deny"),
        ({"Statement": {"Effect": "Allow", "Resource": "*"}}, "Action should be a text"),
        ({"Statement": {"Effect": "Allow", "Action": "a", "Resource": []}}, "Resource should be"),
        (
            {
                "Statement": {
                    "Effect": "Allow",
                    "Action": "a",
                    "Resource": "*",
                    "Condition": {"DateLessThan": {}},
                }
            },
            "condition DateLessThan is not understood",
        ),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(document: object, text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_policy(document, "policy.json")
    assert str(caught.value).startswith("policy.json: ")
    assert text in str(caught.value)


def test_the_policy_is_printed_for_the_chosen_options(command: Runner, cluster: Path) -> None:
    ended = command("aws", "iam-policy", "-f", cluster)
    assert (ended.code, ended.err) == (0, "")
    look, routes, interfaces = json.loads(ended.out)["Statement"]
    assert look["Resource"] == "*"
    assert not [
        a for a in look["Action"] if not a.partition(":")[2].startswith(("Describe", "Get"))
    ]
    vpc = {"ArnLike": {"ec2:Vpc": "arn:aws:ec2:eu-central-1:*:vpc/vpc-1"}}
    assert routes["Condition"] == vpc
    assert interfaces["Condition"].items() > vpc.items()
    tables = command("aws", "iam-policy", "-f", cluster, "--account", "1", "--table", "rtb-a")
    statement = json.loads(tables.out)["Statement"][1]
    assert statement["Resource"] == ["arn:aws:ec2:eu-central-1:1:route-table/rtb-a"]
    queue = "arn:aws:sqs:eu-central-1:1:events"
    more = command("aws", "iam-policy", "-f", cluster, "--discover", "--queue", queue)
    look, *_, hear = json.loads(more.out)["Statement"]
    assert "ec2:DescribeSecurityGroups" in look["Action"]
    assert (hear["Resource"], len(hear["Action"])) == (queue, 2)


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1"])
def test_other_partitions_have_other_names(command: Runner, cluster: Path, region: str) -> None:
    cluster.write_text(cluster.read_text().replace("eu-central-1", region))
    shown = command("aws", "iam-policy", "-f", cluster).out
    partition = {"cn": "aws-cn", "us": "aws-us-gov"}[region[:2]]
    assert f"arn:{partition}:ec2:{region}:*:route-table/*" in shown
    assert "arn:aws:" not in shown


def test_the_policy_of_a_simulated_cluster_is_refused(command: Runner, tmp_path: Path) -> None:
    ended = command("aws", "iam-policy", "-f", write(tmp_path, NAMES))
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
