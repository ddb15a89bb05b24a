"""A cluster of AWS on the command line, with the served account behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws import CREDENTIALS, Served, quick_clients, served
from tests.commands import Runner, is_one_line, run_as_process
from tests.test_cluster import NAMES, write
from tests.vpcs import QUOTA, vpc_document, write_document
from vpcrouter.fabric.aws.policy import INTERFACES, LOOKING, ROUTING
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import InstanceState

CLUSTER = """\
version: 1
cluster: test
networks: [{{name: pods, cidrs: [100.64.0.0/16]}}]
fabric: {{kind: aws, region: eu-central-1, vpc: vpc-1, endpoint: "{url}", reserve: 1}}
nodes: {{kubernetes: nodes.json}}
store: state/test.db
"""


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(write_document(tmp_path, vpc_document(), "account.json")) as started:
        quick_clients(monkeypatch)
        yield started


@pytest.fixture
def cluster(aws: Served, tmp_path: Path) -> Path:
    return write(tmp_path, NAMES, CLUSTER.format(url=aws.url))


def test_a_cluster_is_planned_applied_and_verified(
    command: Runner, aws: Served, cluster: Path
) -> None:
    assert command("plan", "--exit-code", "-f", cluster).code == 10
    assert command("apply", "--yes", "-f", cluster).code == 0
    for table in aws.account.vpc.describe().tables:
        assert any(str(row.destination).startswith("100.64.") for row in table.rows)
    assert command("plan", "--exit-code", "-f", cluster).code == 0
    assert command("verify", "-f", cluster).code == 0
    assert not [name for name in aws.disturbed.calls if name not in actions()]


def test_the_quota_is_shown_with_who_has_which_part_of_it(
    command: Runner, aws: Served, cluster: Path
) -> None:
    command("apply", "--yes", "-f", cluster)
    ended = command("aws", "quota", "-f", cluster, "-o", "json")
    assert ended.code == 0
    document = json.loads(ended.out)
    first = document["tables"][0]
    ours = QUOTA - 1 - 1 - 2 - first["reserve"] - first["free"]
    assert ours > 0
    assert (first["id"], first["family"], first["quota"]) == ("rtb-a", "ipv4", QUOTA)
    assert (first["local"], first["prefix_lists"], first["others"]) == (1, 1, 2)
    assert (first["ours"], first["reserve"]) == (ours, 1)
    assert "Service Quotas" in document["quota_source"]
    shown = command("aws", "quota", "-f", cluster)
    assert shown.out.startswith("TABLE  FAMILY  QUOTA  OURS")
    wide = command("aws", "quota", "-f", cluster, "-o", "wide").out
    assert wide.splitlines()[0].endswith("TAKEN  USED BY")
    taken = first["ours"] + 1 + 1 + 2
    assert f"{100 * taken / QUOTA:.1f} %  subnet-a" in wide.splitlines()[1]
    aws.disturbed.always["GetServiceQuota"] = Ec2Error("AccessDeniedException", "no")
    assumed = command("aws", "quota", "-f", cluster)
    assert assumed.code == 0
    assert is_one_line(assumed.err)
    assert "servicequotas:GetServiceQuota" in assumed.err


def actions() -> set[str]:
    return {action.partition(":")[2] for action in (*LOOKING, *ROUTING, *INTERFACES)}


def test_credentials_come_from_the_usual_chain(aws: Served, cluster: Path) -> None:
    done = run_as_process("routes", "-f", cluster, environment=CREDENTIALS)
    assert (done.code, done.err) == (0, "")
    without = {**CREDENTIALS, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    started = aws.disturbed.calls.copy()
    done = run_as_process("routes", "-f", cluster, environment=without)
    assert (done.code, done.out) == (5, "")
    assert is_one_line(done.err)
    assert "credentials" in done.err
    assert aws.disturbed.calls == started


def test_without_the_cloud_commands_end_with_5_and_change_nothing(
    command: Runner, aws: Served, cluster: Path
) -> None:
    denied = Ec2Error("UnauthorizedOperation", "You are not authorized to perform this operation.")
    aws.disturbed.always["DescribeRouteTables"] = denied
    for name in ("plan", "routes", "verify"):
        ended = command(name, "-f", cluster)
        assert (ended.code, ended.out) == (5, "")
        assert is_one_line(ended.err)
        assert "ec2:DescribeRouteTables" in ended.err


def test_a_step_that_is_not_allowed_is_named_with_its_remedy_and_the_others_are_made(
    command: Runner, aws: Served, cluster: Path
) -> None:
    denied = Ec2Error("UnauthorizedOperation", "You are not authorized to perform this operation.")
    aws.disturbed.errors_before["CreateRoute"] = [denied]
    ended = command("apply", "--yes", "-f", cluster, "-o", "json")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert len(document["steps"]) > 1
    aws.disturbed.always["CreateRoute"] = denied
    aws.disturbed.always["ReplaceRoute"] = denied
    aws.account.vpc.put_instance("i-a0", InstanceState.STOPPED)
    aws.clock.sleep(61)
    ended = command("apply", "--yes", "-f", cluster, "-o", "json")
    assert ended.code == 5
    refused = [failure for failure in json.loads(ended.out)["failed"] if failure["code"]]
    assert {failure["code"] for failure in refused} == {"UnauthorizedOperation"}
    assert all("vpcrouter aws iam-policy" in failure["remedy"] for failure in refused)


# Discovery.


def discover(aws: Served, *arguments: str | Path) -> tuple[str | Path, ...]:
    place = ("--region", "eu-central-1", "--vpc", "vpc-1", "--endpoint", aws.url)
    return ("aws", "discover", *place, *arguments)


def test_a_discovered_vpc_can_be_planned_from_the_file_that_was_written(
    command: Runner, aws: Served, cluster: Path
) -> None:
    target = cluster.with_name("first.yaml")
    found = command(*discover(aws, "--network", "100.64.0.0/16", "--write", target))
    assert found.code == 0
    assert "subnet-b  eu-central-1b  rtb-b" in found.out
    assert "7 interfaces with the source/destination check on" in found.out
    target.write_text(target.read_text() + "store: state/first.db\n")
    assert command("plan", "-f", target, "--exit-code").code == 10
    again = command(*discover(aws, "--network", "100.64.0.0/16", "--write", target))
    assert again.code == 2
    assert "is there already" in again.err


def test_what_would_break_an_installation_is_found(command: Runner, aws: Served) -> None:
    networks = ("--network", "10.0.0.0/8", "--network", "172.30.0.0/15")
    found = command(*discover(aws, *networks, "-o", "json"))
    assert found.code == 3
    problems = json.loads(found.out)["problems"]
    assert "10.0.0.0/8 overlaps 10.0.0.0/16, which is the VPC's own: exclude it" in problems
    inside = [problem for problem in problems if "has a route for" in problem]
    assert len(inside) == 4
    assert any("rtb-b has a route for 172.30.0.0/16 to vgw-1" in problem for problem in inside)
    assert command(*discover(aws)).code == 0


def test_a_cluster_file_needs_networks_and_these_cidrs(command: Runner, aws: Served) -> None:
    for arguments in (("--write", "x.yaml"), ("--network", "10.0.0.1/8")):
        ended = command(*discover(aws, *arguments))
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--region", "Frankfurt"),
        ("--vpc", "eni-1"),
        ("--endpoint", "ec2.eu-central-1.amazonaws.com"),
        ("--role", "vpcrouter"),
    ],
)
def test_what_a_cluster_file_could_not_hold_is_not_discovered(
    command: Runner, aws: Served, tmp_path: Path, option: str, text: str
) -> None:
    target = tmp_path / "first.yaml"
    ended = command(*discover(aws, "--network", "100.64.0.0/16", "--write", target), option, text)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert repr(text) in ended.err
    assert not target.exists()


def rule(cidr: str, protocol: str = "-1") -> dict[str, object]:
    return {"IpProtocol": protocol, "IpRanges": [{"CidrIp": cidr}]}


@pytest.mark.parametrize(
    ("ingress", "deny", "expected"),
    [
        ([rule("100.64.0.0/10")], None, 0),
        ([rule("100.64.0.0/17"), rule("100.64.128.0/17")], None, 0),
        ([rule("0.0.0.0/0", "tcp")], None, 1),
        ([{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1"}]}], None, 1),
        ([rule("0.0.0.0/0")], "100.64.3.0/24", 1),
        ([], "100.0.0.0/8", 2),
        ([rule("0.0.0.0/0")], "10.0.0.0/8", 0),
    ],
)
def test_what_does_not_let_pods_through_is_found(
    command: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ingress: list[dict[str, object]],
    deny: str | None,
    expected: int,
) -> None:
    document = vpc_document()
    for interface in document["NetworkInterfaces"]:
        interface["Groups"] = [{"GroupId": "sg-1", "GroupName": "nodes"}]
    document["SecurityGroups"] = [
        {
            "GroupId": "sg-1",
            "VpcId": "vpc-1",
            "IpPermissions": ingress,
            "IpPermissionsEgress": [rule("0.0.0.0/0")],
        }
    ]
    entries = [acl_entry(100, "allow", "0.0.0.0/0", egress=egress) for egress in (False, True)]
    if deny is not None:
        entries.append(acl_entry(50, "deny", deny, egress=False))
    document["NetworkAcls"] = [
        {
            "NetworkAclId": "acl-1",
            "VpcId": "vpc-1",
            "Associations": [{"NetworkAclId": "acl-1", "SubnetId": "subnet-a"}],
            "Entries": entries,
        }
    ]
    with served(write_document(tmp_path, document)) as aws:
        quick_clients(monkeypatch)
        found = command(*discover(aws, "--network", "100.64.0.0/16", "-o", "json"))
        aws.disturbed.always["DescribeSecurityGroups"] = Ec2Error("UnauthorizedOperation", "no")
        denied = command(*discover(aws, "--network", "100.64.0.0/16"))
    problems = json.loads(found.out)["problems"]
    assert len(problems) == expected, problems
    assert found.code == (3 if expected else 0)
    if not [r for r in ingress if r.get("IpRanges")]:
        assert any("a reference to a group does not match pods" in line for line in problems)
    assert denied.code == (3 if deny in ("100.64.3.0/24", "100.0.0.0/8") else 0)
    assert "ec2:DescribeSecurityGroups" in denied.err


def acl_entry(number: int, action: str, cidr: str, *, egress: bool) -> dict[str, object]:
    return {
        "RuleNumber": number,
        "RuleAction": action,
        "CidrBlock": cidr,
        "Egress": egress,
        "Protocol": "-1",
    }


def test_routes_around_a_network_and_tables_without_instances_are_worth_a_note(
    command: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = vpc_document()
    document["RouteTables"][0]["Routes"].append(
        {"DestinationCidrBlock": "100.0.0.0/8", "VpcPeeringConnectionId": "pcx-1"}
    )
    document["NetworkInterfaces"] = document["NetworkInterfaces"][:3]
    with served(write_document(tmp_path, document)) as aws:
        quick_clients(monkeypatch)
        found = command(*discover(aws, "--network", "100.64.0.0/16"))
    assert found.code == 0
    assert "Note: rtb-a has a route for 100.0.0.0/8 to pcx-1, around 100.64.0.0/16" in found.out
    assert "Note: rtb-b: no instance in their subnets" in found.out


def side(vpc: str, *cidrs: str) -> dict[str, object]:
    return {"VpcId": vpc, "CidrBlock": cidrs[0], "CidrBlockSet": [{"CidrBlock": c} for c in cidrs]}


def test_the_other_side_of_a_peering_is_kept_out_of_the_networks(
    command: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = side("vpc-1", "10.0.0.0/16")
    there = side("vpc-9", "10.9.0.0/16", "100.64.8.0/24", "everything")
    document = vpc_document()
    document["VpcPeeringConnections"] = [
        {
            "VpcPeeringConnectionId": f"pcx-{number}",
            "Status": {"Code": state},
            "RequesterVpcInfo": sides[0],
            "AccepterVpcInfo": sides[1],
        }
        for number, (state, sides) in enumerate(
            [("active", (here, there)), ("active", (there, here)), ("deleted", (here, there))]
        )
    ]
    with served(write_document(tmp_path, document)) as aws:
        quick_clients(monkeypatch)
        found = command(*discover(aws, "--network", "100.64.0.0/16", "-o", "json"))
        apart = command(*discover(aws, "--network", "100.65.0.0/16"))
        denied = Ec2Error("UnauthorizedOperation", "no")
        aws.disturbed.always["DescribeVpcPeeringConnections"] = denied
        unseen = command(*discover(aws, "--network", "100.64.0.0/16"))
    assert (found.code, apart.code, unseen.code) == (3, 0, 0)
    problems = json.loads(found.out)["problems"]
    assert [line.partition(": ")[0] for line in problems] == [
        f"100.64.0.0/16 overlaps 100.64.8.0/24 of vpc-9, at the other side of pcx-{number}"
        for number in (0, 1)
    ]
    assert "ec2:DescribeVpcPeeringConnections" in unseen.err
    assert "Note: pcx-0: 'everything' of vpc-9, at its other side, is no CIDR" in apart.out
