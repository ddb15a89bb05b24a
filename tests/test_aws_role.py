"""Acting as a role: assumed over STS, again before it expires, and named where it is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipam.prefix import Prefix
from tests.aws import CREDENTIALS, Served, as_role, printed, quick_clients, served
from tests.commands import Runner, is_one_line, run_as_process
from tests.test_aws_commands import CLUSTER, discover
from tests.test_cluster import NAMES, write
from tests.vpcs import vpc_document, write_document
from vpcrouter.fabric.aws.clients import Clients
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.aws.policy import assuming
from vpcrouter.fabric.aws.settings import AssumedRole
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import FabricUnavailableError
from vpcrouter.fabric.served.access import Access, Role
from vpcrouter.fabric.served.iam import Policy, parse_policy
from vpcrouter.model import Action, Step

ROLE = "arn:aws:iam::000000000000:role/router"
EXTERNAL_ID = "known-to-both"
NOBODY = Policy(())
ASSUMED = AssumedRole(ROLE, EXTERNAL_ID, "vpcrouter-test")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def roles() -> dict[str, Role]:
    return {ROLE: Role(printed("vpc-1"), EXTERNAL_ID)}


@pytest.fixture
def aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roles: dict[str, Role]
) -> Iterator[Served]:
    quick_clients(monkeypatch)
    caller = parse_policy(assuming(ROLE), "caller")
    account = write_document(tmp_path, vpc_document(), "account.json")
    with served(account, access=Access(caller, roles)) as started:
        yield started


@pytest.fixture
def cluster(aws: Served, tmp_path: Path) -> Path:
    role = f'role: {{arn: "{ROLE}", external_id: {EXTERNAL_ID}}}, reserve'
    return write(tmp_path, NAMES, CLUSTER.format(url=aws.url).replace("reserve", role))


def fabric(aws: Served) -> AwsFabric:
    clients = Clients(as_role(ASSUMED, "eu-central-1", aws.url), "eu-central-1", aws.url)
    return AwsFabric(clients, "vpc-1", None, aws.clock)


def change(roles: dict[str, Role], *, seconds: float) -> None:
    roles[ROLE] = Role(roles[ROLE].policy, EXTERNAL_ID, seconds)


def test_who_may_only_assume_the_role_runs_everything_as_it(
    command: Runner, aws: Served, cluster: Path
) -> None:
    ended = command("apply", "--yes", "-f", cluster)
    assert (ended.code, ended.err) == (0, "")
    assert aws.disturbed.count("AssumeRole") == 1
    (asked,) = [a for a in aws.disturbed.asked_for if a.action == "sts:AssumeRole"]
    assert asked.resource == ROLE
    assert asked.context["sts:externalid"] == [EXTERNAL_ID]
    assert asked.context["sts:rolesessionname"] == ["vpcrouter-test"]
    assert command("plan", "--exit-code", "-f", cluster).code == 0


def test_a_role_that_expires_is_assumed_again_in_time(aws: Served, roles: dict[str, Role]) -> None:
    lasting = fabric(aws)
    lasting.read()
    lasting.quota()
    assert aws.disturbed.count("AssumeRole") == 1
    change(roles, seconds=300)
    ending = fabric(aws)
    ending.read()
    assert aws.disturbed.count("AssumeRole") > 2
    assert "DescribeSubnets" in aws.disturbed.calls


def test_a_role_that_is_taken_away_is_said_and_given_back_is_used(
    aws: Served, roles: dict[str, Role]
) -> None:
    change(roles, seconds=300)
    running = fabric(aws)
    running.read()
    caller, aws.access.policy = aws.access.policy, NOBODY
    with pytest.raises(FabricUnavailableError, match=f"sts:AssumeRole of {ROLE} refused"):
        running.read()
    step = Step(Action.CREATE, Prefix.parse("100.64.0.0/24"), "eni-a0", None, "test")
    with pytest.raises(FabricUnavailableError, match=f"sts:AssumeRole of {ROLE} refused"):
        running.apply("rtb-a", step)
    aws.access.policy = caller
    running.read()
    running.apply("rtb-a", step)


@pytest.mark.parametrize("wrong", ["caller", "external id", "no such role"])
def test_a_role_that_is_refused_is_named_with_the_action(
    command: Runner, aws: Served, roles: dict[str, Role], cluster: Path, wrong: str
) -> None:
    if wrong == "caller":
        aws.access.policy = NOBODY
    elif wrong == "external id":
        cluster.write_text(cluster.read_text().replace(EXTERNAL_ID, "another"))
    else:
        roles.clear()
    for arguments in (("plan",), ("apply", "--yes"), ("aws", "permissions"), ("aws", "quota")):
        ended = command(*arguments, "-f", cluster)
        assert (ended.code, ended.out) == (5, "")
        assert is_one_line(ended.err)
        assert f"sts:AssumeRole of {ROLE} refused" in ended.err
        assert "allow it" in ended.err
        assert EXTERNAL_ID not in ended.err
    assert set(aws.disturbed.calls) == {"AssumeRole"}


def test_an_sts_that_is_too_busy_is_asked_again_until_it_is_said(aws: Served) -> None:
    aws.disturbed.errors_before["AssumeRole"] = [Ec2Error("Throttling", "Rate exceeded")] * 2
    reading = fabric(aws)
    reading.read()
    assert aws.disturbed.count("AssumeRole") == 3
    aws.disturbed.always["AssumeRole"] = Ec2Error("Throttling", "Rate exceeded")
    with pytest.raises(FabricUnavailableError, match="Rate exceeded"):
        fabric(aws).read()


def test_what_the_role_may_not_is_named_as_ever(
    command: Runner, roles: dict[str, Role], cluster: Path
) -> None:
    roles[ROLE] = Role(NOBODY, EXTERNAL_ID)
    ended = command("plan", "-f", cluster)
    assert (ended.code, ended.out) == (5, "")
    assert "ec2:DescribeSubnets refused" in ended.err
    assert "assumed-role/router/vpcrouter-test" in ended.err


def test_secrets_are_never_said(command: Runner, aws: Served, cluster: Path) -> None:
    said = ""
    for arguments in (("apply", "--yes"), ("plan", "-o", "json"), ("aws", "quota", "-o", "wide")):
        ended = command(*arguments, "-f", cluster)
        said += ended.out + ended.err
    roles = list(aws.access._issued.values())
    assert roles
    for one in roles:
        assert one.secret not in said
        assert one.token not in said
        assert one.key not in said


def test_the_environment_names_who_assumes_it(aws: Served, cluster: Path) -> None:
    done = run_as_process("routes", "-f", cluster, environment=CREDENTIALS)
    assert (done.code, done.err) == (0, "")
    without = {**CREDENTIALS, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    calls = len(aws.disturbed.calls)
    done = run_as_process("routes", "-f", cluster, environment=without)
    assert (done.code, done.out) == (5, "")
    assert is_one_line(done.err)
    assert "credentials" in done.err
    assert len(aws.disturbed.calls) == calls


def test_both_policies_are_printed(command: Runner, aws: Served, cluster: Path) -> None:
    for_role = command("aws", "iam-policy", "-f", cluster, "--discover")
    assert for_role.code == 0
    assert is_one_line(for_role.err)
    assert ROLE in for_role.err
    assert "sts:" not in for_role.out
    for_caller = command("aws", "iam-policy", "-f", cluster, "--caller")
    assert (for_caller.code, for_caller.err) == (0, "")
    assert json.loads(for_caller.out) == assuming(ROLE)
    cluster.write_text(CLUSTER.format(url=aws.url))
    assert command("aws", "iam-policy", "-f", cluster, "--caller").code == 2


def test_a_vpc_is_discovered_as_a_role_which_the_first_cluster_file_names(
    command: Runner, aws: Served, tmp_path: Path
) -> None:
    target = tmp_path / "first.yaml"
    options = ("--role", ROLE, "--external-id", EXTERNAL_ID)
    written = ("--network", "100.64.0.0/16", "--write", target)
    assert command(*discover(aws, *options, *written)).code == 0
    assert command(*discover(aws, "--external-id", "x1")).code == 2
    write(tmp_path, NAMES)
    target.write_text(target.read_text() + "store: state/first.db\n")
    assert command("plan", "--exit-code", "-f", target).code == 10
