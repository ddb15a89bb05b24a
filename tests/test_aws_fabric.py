"""The AWS fabric in bad weather: lost answers, lag, throttling, no permission, other hands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from ipam.errors import UnavailableError
from ipam.prefix import Family, Prefix
from tests.aws import REGION, Served, served, session
from tests.vpcs import QUOTA, vpc_document, write_document
from vpcrouter.fabric.aws.clients import Clients
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import (
    FabricUnavailableError,
    InstanceState,
    OutdatedError,
    RefusedError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.fabric.served.server import LostError
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.model import Action, Step

POD = Prefix.parse("100.64.0.0/16")
CREATE = Step(Action.CREATE, POD, "eni-a0", None, "test")
REPLACE = Step(Action.REPLACE, POD, "eni-a1", "eni-a0", "test")
DELETE = Step(Action.DELETE, POD, None, "eni-a1", "test")
DENIED = Ec2Error("UnauthorizedOperation", "You are not authorized. Encoded authorization fail")
DESCRIBES = (
    *("DescribeVpcs", "DescribeSubnets", "DescribeRouteTables", "DescribeNetworkInterfaces"),
    *("DescribeInstances", "DescribeManagedPrefixLists"),
)


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Served]:
    with served(write_document(tmp_path, vpc_document())) as started:
        yield started


def target(aws: Served, table: str = "rtb-a") -> str | None:
    row = aws.account.vpc.row(table, POD)
    return row.target if row else None


# Reading.


def test_a_cluster_is_observed_as_its_description_says(openb: Path) -> None:
    described = read_describe(openb / "aws.json", None)
    with served(openb / "aws.json", region="us-east-1") as aws:
        fabric = AwsFabric(aws.clients("us-east-1"), "vpc-0cafe", None, aws.clock)
        seen = fabric.read()
    assert replace(seen, quota_source="", tables=()) == replace(described, tables=())
    for table, expected in zip(seen.tables, described.tables, strict=True):
        assert table.id == expected.id
        assert set(map(str, table.rows)) == set(map(str, expected.rows))
    assert len(aws.disturbed.calls) <= 10


def test_a_main_table_serves_the_subnets_without_one_and_other_vpcs_stay_out(
    tmp_path: Path,
) -> None:
    document = vpc_document()
    document["RouteTables"][1]["Associations"] = [{"Main": True}]
    document["Vpcs"].append({"VpcId": "vpc-2", "CidrBlock": "10.0.0.0/16"})
    other = {"VpcId": "vpc-2", "SubnetId": "subnet-z", "AvailabilityZone": "z"}
    document["Subnets"].append({**other, "CidrBlock": "10.0.0.0/20"})
    with served(write_document(tmp_path, document)) as aws:
        seen = aws.fabric().read()
    assert [(s.id, s.table) for s in seen.subnets] == [("subnet-a", "rtb-a"), ("subnet-b", "rtb-b")]


def test_looking_again_asks_only_for_what_can_have_changed(aws: Served) -> None:
    fabric = aws.fabric()
    fabric.read()
    aws.disturbed.calls.clear()
    fabric.read()
    assert aws.disturbed.calls == ["DescribeRouteTables"]
    aws.clock.sleep(61)
    aws.disturbed.calls.clear()
    fabric.read()
    assert sorted(aws.disturbed.calls) == ["DescribeInstances", "DescribeRouteTables"]


def test_the_interface_of_a_new_instance_is_asked_for_by_its_id(aws: Served) -> None:
    fabric = aws.fabric()
    fabric.expect(["i-a0"])  # nothing was read yet: all of it will be
    fabric.read()
    new = structs.replace(fabric.read().interfaces[0], id="eni-new", instance="i-new")
    aws.account.vpc.put_interface(new)
    aws.account.vpc.put_instance("i-new", InstanceState.RUNNING)
    aws.disturbed.calls.clear()
    for _ in range(5):
        fabric.expect(["i-a0", "i-new", "i-nowhere"])
        seen = fabric.read()
    assert "eni-new" in {interface.id for interface in seen.interfaces}
    assert aws.disturbed.count("DescribeNetworkInterfaces") <= 2  # for i-nowhere and i-new


@pytest.mark.parametrize("action", DESCRIBES)
def test_reading_waits_out_throttling_and_lost_answers(aws: Served, action: str) -> None:
    errors = [
        Ec2Error("RequestLimitExceeded", "slow down"),
        LostError(),
        Ec2Error("Unavailable", ""),
    ]
    aws.disturbed.errors_before[action] = list(errors)
    aws.fabric().read()
    assert aws.disturbed.count(action) == len(errors) + 1
    assert aws.clock.now() < 60


def test_reading_gives_up_after_its_deadline(aws: Served) -> None:
    aws.disturbed.always["DescribeSubnets"] = Ec2Error("RequestLimitExceeded", "slow down")
    with pytest.raises(UnavailableError, match=r"ec2:DescribeSubnets.*RequestLimitExceeded"):
        aws.fabric().read()
    assert 30 < aws.clock.now() <= 60


@pytest.mark.parametrize(
    "action", ["DescribeSubnets", "DescribeRouteTables", "DescribeNetworkInterfaces"]
)
def test_a_permission_without_which_nothing_goes_is_named(aws: Served, action: str) -> None:
    aws.disturbed.always[action] = DENIED
    with pytest.raises(UnavailableError, match=rf"ec2:{action}.*iam-policy.*Unauthorized"):
        aws.fabric().read()


@pytest.mark.parametrize(
    "action",
    ["DescribeVpcs", "DescribeInstances", "DescribeManagedPrefixLists", "GetServiceQuota"],
)
def test_without_another_permission_the_rest_goes_on_and_it_is_named(
    aws: Served, action: str
) -> None:
    whole = aws.fabric().read()
    aws.disturbed.always[action] = DENIED
    seen = aws.fabric().read()
    assert (seen.subnets, seen.interfaces, seen.local) == (
        whole.subnets,
        whole.interfaces,
        whole.local,
    )
    assert [t.counted(f) for t in seen.tables for f in Family] == [
        t.counted(f) for t in whole.tables for f in Family
    ]
    (warning,) = seen.warnings
    assert action in warning


@pytest.mark.parametrize("vpc", ["vpc-2"])
def test_a_vpc_that_is_not_there_is_said(aws: Served, vpc: str) -> None:
    with pytest.raises(UnavailableError, match="vpc-2 is unknown: check region, VPC and account"):
        aws.fabric(vpc).read()


def test_a_wrong_region_or_no_endpoint_is_said_in_one_line(aws: Served) -> None:
    with pytest.raises(UnavailableError, match=r"AuthFailure") as caught:
        AwsFabric(aws.clients("eu-west-1"), "vpc-1", None, aws.clock).read()
    assert "\n" not in str(caught.value)
    nowhere = Clients(session(), REGION, "http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="not answered: Could not connect") as caught:
        AwsFabric(nowhere, "vpc-1", None, aws.clock).read()
    assert "\n" not in str(caught.value)


# The quota.


@pytest.mark.parametrize(
    ("stated", "readable", "expected"),
    [(None, True, QUOTA), (5, True, 5), (400, True, QUOTA), (None, False, 500), (400, False, 400)],
)
def test_the_quota_is_what_is_applied_and_never_more_than_was_stated(
    aws: Served, stated: int | None, readable: bool, expected: int
) -> None:
    if not readable:
        aws.disturbed.always["GetServiceQuota"] = DENIED
    assert aws.fabric(quota=stated).read().quota[Family.IPV4] == expected


def test_an_account_without_an_applied_quota_has_the_default(tmp_path: Path) -> None:
    with served(write_document(tmp_path, {**vpc_document(), "Quotas": []})) as aws:
        assert aws.fabric().quota().entries == 500


# Changing.


def test_a_change_whose_answer_is_lost_is_looked_up(aws: Served) -> None:
    fabric = aws.fabric()
    aws.disturbed.errors_after["CreateRoute"] = [LostError()]
    fabric.apply("rtb-a", CREATE)
    aws.disturbed.errors_after["ReplaceRoute"] = [Ec2Error("InternalError", "sorry")]
    fabric.apply("rtb-a", REPLACE)
    assert target(aws) == "eni-a1"
    assert [aws.disturbed.count(f"{action}Route") for action in ("Create", "Replace")] == [1, 1]


def test_a_change_that_never_arrived_is_of_unknown_outcome_and_can_be_repeated(
    aws: Served,
) -> None:
    fabric = aws.fabric()
    for step, action in (
        (CREATE, "CreateRoute"),
        (REPLACE, "ReplaceRoute"),
        (DELETE, "DeleteRoute"),
    ):
        aws.disturbed.errors_before[action] = [LostError()]
        with pytest.raises(UnknownOutcomeError):
            fabric.apply("rtb-a", step)
        fabric.apply("rtb-a", step)
        assert target(aws) == step.interface


def test_a_lost_delete_is_not_taken_for_done(aws: Served) -> None:
    fabric = aws.fabric()
    for step in (CREATE, REPLACE):
        fabric.apply("rtb-a", step)
    aws.disturbed.errors_after["DeleteRoute"] = [LostError()]
    with pytest.raises(UnknownOutcomeError):
        fabric.apply("rtb-a", DELETE)
    with pytest.raises(OutdatedError, match=r"InvalidRoute\.NotFound"):
        fabric.apply("rtb-a", DELETE)


def test_reads_that_lag_do_not_hide_own_changes(tmp_path: Path) -> None:
    path = write_document(tmp_path, vpc_document())
    with served(path, Behaviour(lag=100)) as aws:
        fabric = aws.fabric()
        fabric.apply("rtb-a", CREATE)
        for _ in range(3):
            fabric.read()
            fabric.apply("rtb-a", REPLACE)
            aws.clock.sleep(20)
            fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a0", "eni-a1", "test"))
        assert target(aws) == "eni-a0"


def test_a_read_from_before_the_last_two_changes_is_known_to_be_old(tmp_path: Path) -> None:
    with served(write_document(tmp_path, vpc_document()), Behaviour(lag=25)) as aws:
        fabric = aws.fabric()
        fabric.apply("rtb-a", CREATE)
        aws.clock.sleep(20)
        fabric.apply("rtb-a", REPLACE)
        aws.clock.sleep(10)
        fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a2", "eni-a1", "test"))
        aws.clock.sleep(14)
        rows = {t.id: t.rows for t in fabric.read().tables}["rtb-a"]
        assert [row.target for row in rows if row.destination == POD] == ["eni-a0"]
        fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a0", "eni-a2", "test"))
        assert target(aws) == "eni-a0"


def test_a_row_that_somebody_else_took_over_is_not_touched(aws: Served) -> None:
    fabric = aws.fabric()
    fabric.apply("rtb-a", CREATE)
    aws.account.vpc.replace_route("rtb-a", str(POD), "eni-b0")
    fabric.read()
    with pytest.raises(OutdatedError, match="leads to eni-b0"):
        fabric.apply("rtb-a", REPLACE)
    assert target(aws) == "eni-b0"


def test_deciding_whose_a_row_is_asks_once_for_many_changes(aws: Served) -> None:
    fabric = aws.fabric()
    fabric.apply("rtb-a", CREATE)
    for _ in range(10):
        fabric.apply("rtb-a", REPLACE)
        fabric.apply("rtb-a", Step(Action.REPLACE, POD, "eni-a0", "eni-a1", "test"))
    assert aws.disturbed.count("DescribeRouteTables") == 1
    assert aws.disturbed.count("ReplaceRoute") == 20


def test_what_other_tools_use_up_is_throttling_too(aws: Served) -> None:
    aws.disturbed.errors_before["CreateRoute"] = [Ec2Error("RequestLimitExceeded", "slow down")]
    with pytest.raises(ThrottledError, match="slow down"):
        aws.fabric().apply("rtb-a", CREATE)


def test_a_missing_permission_is_kept_to_its_call(aws: Served) -> None:
    fabric = aws.fabric()
    aws.disturbed.always["CreateRoute"] = DENIED
    with pytest.raises(RefusedError, match=r"rtb-a 100\.64\.0\.0/16: CreateRoute.*Unauthorized"):
        fabric.apply("rtb-a", CREATE)
    fabric.set_source_dest_check("eni-a0", on=False)


def test_expired_credentials_are_no_refusal_of_an_entry(aws: Served) -> None:
    aws.disturbed.errors_before["CreateRoute"] = [Ec2Error("RequestExpired", "too late")]
    with pytest.raises(FabricUnavailableError, match="check credentials"):
        aws.fabric().apply("rtb-a", CREATE)
