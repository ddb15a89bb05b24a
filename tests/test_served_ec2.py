"""The served EC2 is strict, and says what it was described as: seen through the real client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws import REGION, Served, served, session
from tests.commands import Runner, is_one_line
from tests.vpcs import QUOTA, Document, vpc_document, write_document
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import InstanceState
from vpcrouter.fabric.served.access import Access

POD = "100.64.0.0/16"
PLACE = {"RouteTableId": "rtb-a", "DestinationCidrBlock": POD}
NO_INTERFACE = "InvalidNetworkInterfaceID.NotFound"
ROW = {"RouteTableId": "rtb-a", "DestinationCidrBlock": POD, "NetworkInterfaceId": "eni-a0"}


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Served]:
    # Whoever calls may do everything: what EC2 refuses nevertheless is what is looked at here.
    with served(write_document(tmp_path, vpc_document()), access=Access(None, {})) as started:
        yield started


@pytest.fixture
def ec2(aws: Served) -> Any:
    return aws.clients().ec2


def refused(call: Callable[[], object]) -> tuple[str, int]:
    """The code and HTTP status with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_cluster_is_read_through_the_client_as_it_was_described(openb: Path) -> None:
    with served(openb / "aws.json", region="us-east-1") as aws:
        clients = aws.clients("us-east-1")
        pages = clients.ec2.get_paginator("describe_network_interfaces").paginate(
            PaginationConfig={"PageSize": 1000}
        )
        sizes = [len(page["NetworkInterfaces"]) for page in pages]
    described = read_describe(openb / "aws.json", None)
    assert sizes == [1000, len(described.interfaces) - 1000]


def test_every_field_of_a_description_comes_through(ec2: Any) -> None:
    document = vpc_document()
    assert ec2.describe_vpcs()["Vpcs"] == document["Vpcs"]
    assert ec2.describe_subnets()["Subnets"] == document["Subnets"]
    (table,) = ec2.describe_route_tables(RouteTableIds=["rtb-b"])["RouteTables"]
    expected = document["RouteTables"][1]
    assert table["Associations"] == expected["Associations"]

    def by_text(route: Document) -> str:
        return str(sorted(route.items()))

    assert sorted(table["Routes"], key=by_text) == sorted(expected["Routes"], key=by_text)


def test_an_instance_is_in_its_vpc_until_it_is_terminated(aws: Served, ec2: Any) -> None:
    in_vpc = [{"Name": "vpc-id", "Values": ["vpc-1"]}]

    def listed() -> set[str]:
        reservations = ec2.describe_instances(Filters=in_vpc)["Reservations"]
        return {i["InstanceId"] for r in reservations for i in r["Instances"]}

    assert len(listed()) == 6
    aws.account.vpc.put_instance("i-a0", InstanceState.SHUTTING_DOWN)
    assert "i-a0" in listed()
    aws.account.vpc.put_instance("i-a0", InstanceState.TERMINATED)
    assert "i-a0" not in listed()


def test_pages_are_as_small_as_asked_for_and_none_is_lost(ec2: Any) -> None:
    pages = list(
        ec2.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5})
    )
    names = [i["NetworkInterfaceId"] for page in pages for i in page["NetworkInterfaces"]]
    assert len(pages) == 2
    assert len(names) == len(set(names)) == 7


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("describe_subnets", {"SubnetIds": ["subnet-x"]}, "InvalidSubnetID.NotFound"),
        ("describe_vpcs", {"Filters": [{"Name": "x", "Values": ["y"]}]}, "InvalidParameterValue"),
        ("describe_route_tables", {"MaxResults": 101}, "InvalidParameterValue"),
        ("describe_route_tables", {"NextToken": "x"}, "InvalidNextToken"),
        (
            "describe_subnets",
            {"SubnetIds": ["subnet-a"], "MaxResults": 5},
            "InvalidParameterCombination",
        ),
        (
            "describe_subnets",
            {"Filters": [{"Name": "subnet-id", "Values": [f"s-{n}" for n in range(201)]}]},
            "FilterLimitExceeded",
        ),
        ("create_route", {**ROW, "NetworkInterfaceId": "eni-x"}, NO_INTERFACE),
        ("create_route", {**ROW, "RouteTableId": "rtb-x"}, "InvalidRouteTableID.NotFound"),
        ("create_route", {**ROW, "GatewayId": "igw-1"}, "UnknownParameter"),
        ("create_route", {**ROW, "DestinationCidrBlock": "fd00::/48"}, "InvalidParameterValue"),
        (
            "create_route",
            {**ROW, "DestinationIpv6CidrBlock": "fd00::/48"},
            "InvalidParameterCombination",
        ),
        ("replace_route", ROW, "InvalidParameterValue"),
        ("delete_route", PLACE, "InvalidRoute.NotFound"),
        ("delete_route", {"RouteTableId": "rtb-a"}, "MissingParameter"),
        (
            "modify_network_interface_attribute",
            {"NetworkInterfaceId": "eni-a0"},
            "MissingParameter",
        ),
        ("describe_internet_gateways", {}, "InvalidAction"),
    ],
)  # fmt: skip
def test_what_ec2_would_refuse_is_refused(
    ec2: Any, method: str, arguments: dict[str, Any], code: str
) -> None:
    assert refused(lambda: getattr(ec2, method)(**arguments)) == (code, 400)


def test_a_dry_run_changes_nothing_and_says_that_it_would(aws: Served, ec2: Any) -> None:
    check = {"NetworkInterfaceId": "eni-a0", "SourceDestCheck": {"Value": False}}
    before = aws.account.vpc.describe()
    assert refused(lambda: ec2.create_route(**ROW, DryRun=True)) == ("DryRunOperation", 412)
    assert refused(lambda: ec2.describe_vpcs(DryRun=True)) == ("DryRunOperation", 412)
    assert refused(
        lambda: ec2.modify_network_interface_attribute(**check, DryRun=True)
    ) == ("DryRunOperation", 412)  # fmt: skip
    assert aws.account.vpc.describe() == before


def test_too_many_changes_are_throttled_with_a_status_of_503(ec2: Any) -> None:
    answers = [refused(lambda: ec2.replace_route(**ROW)) for _ in range(51)]
    assert answers[49] == ("InvalidParameterValue", 400)
    assert answers[50] == ("RequestLimitExceeded", 503)


def test_requests_for_another_region_are_refused(aws: Served) -> None:
    ec2 = aws.clients("eu-west-1").ec2
    assert refused(ec2.describe_vpcs) == ("AuthFailure", 401)


def test_the_quota_is_the_described_one_or_unknown(aws: Served, tmp_path: Path) -> None:
    asked = {"ServiceCode": "vpc", "QuotaCode": "L-93826ACB"}
    quotas = aws.clients().quotas
    assert quotas.get_service_quota(**asked)["Quota"]["Value"] == QUOTA
    assert quotas.get_aws_default_service_quota(**asked)["Quota"]["Value"] == 500
    other = {**asked, "QuotaCode": "L-0"}
    assert refused(lambda: quotas.get_service_quota(**other))[0] == "NoSuchResourceException"
    with served(write_document(tmp_path, {**vpc_document(), "Quotas": []}, "none.json")) as bare:
        quotas = bare.clients().quotas
        assert refused(lambda: quotas.get_service_quota(**asked))[0] == "NoSuchResourceException"


def test_a_request_without_credentials_is_refused(aws: Served) -> None:
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1})
    ec2 = session().client("ec2", region_name=REGION, endpoint_url=aws.url, config=config)
    assert refused(ec2.describe_vpcs) == ("MissingAuthenticationToken", 403)


def test_serving_says_where_and_refuses_what_is_no_describe_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Runner(capsys)
    assert command("fabric", "serve", tmp_path / "none.json").code == 2

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vpcrouter.cli.fabric_serve.time.sleep", interrupted)
    ended = command("fabric", "serve", write_document(tmp_path, vpc_document()))
    assert ended.code == 130
    assert ended.out.startswith("serving vpc-1 at http://127.0.0.1:")


def test_a_policy_that_is_none_is_refused_before_anything_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Runner(capsys)
    file = write_document(tmp_path, vpc_document())
    policy = tmp_path / "policy.json"
    for text in ("{}", "no JSON", '{"Statement": [{"Effect": "Allow"}]}'):
        policy.write_text(text)
        ended = command("fabric", "serve", file, "--policy", policy)
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)
        assert "policy.json" in ended.err
