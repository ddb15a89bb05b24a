"""Odd VPCs and tables: what goes on goes on, and what does not is named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.aws import Served, quick_clients, served
from tests.commands import Runner, is_one_line
from tests.test_aws_commands import CLUSTER
from tests.test_cluster import NAMES, write
from tests.vpcs import Document, vpc_document, write_document
from vpcrouter.fabric.codes import Code, Ec2Error

DENIED = Ec2Error("UnauthorizedOperation", "You are not authorized to perform this operation.")
FULL = 1_000


def crowded() -> Document:
    """The table of one subnet is full of somebody else's entries."""
    document = vpc_document()
    document["Quotas"][0]["Value"] = float(FULL)
    rows = document["RouteTables"][0]["Routes"]
    rows += [
        {
            "DestinationCidrBlock": f"172.{16 + number // 256}.{number % 256}.0/24",
            "GatewayId": "tgw-1",
            "State": "active",
            "Origin": "CreateRoute",
        }
        for number in range(FULL - 4)
    ]
    return document


def loose() -> Document:
    """A subnet uses the main table, which nobody has named for it."""
    document = vpc_document()
    document["RouteTables"][1]["Associations"] = [{"Main": True}]
    return document


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Served]:
    make = getattr(request, "param", vpc_document)
    with served(write_document(tmp_path, make(), "account.json")) as started:
        quick_clients(monkeypatch)
        yield started


@pytest.fixture
def cluster(aws: Served, tmp_path: Path) -> Path:
    return write(tmp_path, NAMES, CLUSTER.format(url=aws.url))


def rows(aws: Served, table: str) -> dict[str, str]:
    (found,) = [t for t in aws.account.vpc.describe().tables if t.id == table]
    return {
        str(r.destination): r.target for r in found.rows if str(r.destination).startswith("100.")
    }


@pytest.mark.parametrize("aws", [crowded], indirect=True)
def test_a_table_full_of_foreign_entries_is_named_and_the_other_one_is_filled(
    command: Runner, aws: Served, cluster: Path
) -> None:
    before = aws.account.vpc.describe().tables[0]
    ended = command("apply", "--yes", "-f", cluster)
    assert ended.code == 3
    assert "raise the quota" in ended.err
    assert aws.account.vpc.describe().tables[0] == before
    assert rows(aws, "rtb-b")
    shown = json.loads(command("aws", "quota", "-f", cluster, "-o", "json").out)
    (full,) = [t for t in shown["tables"] if (t["id"], t["family"]) == ("rtb-a", "ipv4")]
    assert (full["quota"], full["free"]) == (FULL, 0)


@pytest.mark.parametrize("aws", [loose], indirect=True)
def test_a_subnet_without_a_table_of_its_own_uses_the_main_one(
    command: Runner, aws: Served, cluster: Path
) -> None:
    assert command("apply", "--yes", "-f", cluster).code == 0
    assert rows(aws, "rtb-b")


def test_a_table_that_vanishes_is_named_and_stops_no_other(
    command: Runner, aws: Served, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = aws.account.vpc.create_route

    def gone(table: str, cidr: str, interface: str) -> None:
        if table == "rtb-a":
            raise Ec2Error(Code.TABLE_NOT_FOUND, f"The routeTable ID '{table}' does not exist")
        create(table, cidr, interface)

    monkeypatch.setattr(aws.account.vpc, "create_route", gone)
    ended = command("apply", "--yes", "-f", cluster)
    assert ended.code == 5
    assert is_one_line(ended.err)
    assert "rtb-a: CreateRoute refused: The routeTable ID 'rtb-a' does not exist" in ended.err
    assert "check which table the subnet uses" in ended.err
    assert len(rows(aws, "rtb-b")) == 4


def shared() -> Document:
    """Another team keeps entries in the table of one subnet, one of them among ours."""
    document = vpc_document()
    document["RouteTables"][0]["Routes"] += [
        {
            "DestinationCidrBlock": cidr,
            "NetworkInterfaceId": "eni-free",
            "State": "active",
            "Origin": "CreateRoute",
        }
        for cidr in ("100.64.3.0/24", "100.70.0.0/16")
    ]
    return document


@pytest.mark.parametrize("aws", [shared], indirect=True)
def test_entries_of_another_team_are_named_and_stay(
    command: Runner, aws: Served, cluster: Path
) -> None:
    ended = command("apply", "--yes", "-f", cluster)
    assert ended.code == 3
    assert "a foreign entry is in the way: 100.64.3.0/24; remove it or exclude its range" in (
        ended.err
    )
    assert "100.70.0.0/16" not in ended.err
    assert len(rows(aws, "rtb-b")) == 4
    command("aws", "withdraw", "--yes", "-f", cluster)
    left = {"100.64.3.0/24": "eni-free", "100.70.0.0/16": "eni-free"}
    assert rows(aws, "rtb-a") == left
    assert not rows(aws, "rtb-b")


def test_a_subnet_of_which_no_table_is_shown_is_named_and_nothing_is_changed(
    command: Runner, aws: Served, cluster: Path
) -> None:
    assert command("apply", "--yes", "-f", cluster).code == 0
    before = aws.account.vpc.describe()
    document = aws.account._file
    assert isinstance(document, dict)
    document["RouteTables"] = crowded()["RouteTables"][:1]
    ended = command("apply", "--yes", "-f", cluster)
    assert ended.code == 5
    assert is_one_line(ended.err)
    assert "subnet-b has no route table" in ended.err
    assert aws.account.vpc.describe() == before


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("vpc: vpc-1", "vpc: vpc-2", "vpc-2 is unknown: check region, VPC and account"),
        ("region: eu-central-1", "region: eu-west-1", "AuthFailure"),
    ],
)
def test_a_wrong_place_is_said_and_nothing_is_changed(
    command: Runner, aws: Served, cluster: Path, old: str, new: str, text: str
) -> None:
    cluster.write_text(cluster.read_text().replace(old, new))
    ended = command("apply", "--yes", "-f", cluster)
    assert (ended.code, ended.out) == (5, "")
    assert is_one_line(ended.err)
    assert text in ended.err
    assert not rows(aws, "rtb-a")


class _SomethingElse(BaseHTTPRequestHandler):
    """Answers everything, but not as EC2 does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


def test_an_endpoint_that_is_something_else_is_named(
    command: Runner, aws: Served, cluster: Path
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SomethingElse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    cluster.write_text(cluster.read_text().replace(aws.url, url))
    ended = command("plan", "-f", cluster)
    server.shutdown()
    server.server_close()
    assert (ended.code, ended.out) == (5, "")
    assert is_one_line(ended.err)
    assert "ec2:DescribeSubnets answered without Subnets: check the endpoint" in ended.err


def test_permissions_are_asked_for_without_changing_anything(
    command: Runner, aws: Served, cluster: Path
) -> None:
    before = aws.account.vpc.describe()
    ended = command("aws", "permissions", "-f", cluster)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("allowed") == 7
    aws.disturbed.always["ReplaceRoute"] = DENIED
    ended = command("aws", "permissions", "-f", cluster)
    assert ended.code == 5
    denied = [line for line in ended.out.splitlines() if "UnauthorizedOperation" in line]
    assert [line.split()[:2] for line in denied] == [
        ["ec2:ReplaceRoute", "rtb-a"],
        ["ec2:ReplaceRoute", "rtb-b"],
    ]
    assert aws.account.vpc.describe() == before
