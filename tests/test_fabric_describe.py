"""EC2 describe output: what it means for route tables, and what is refused with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from tests.vpcs import Document, observe, vpc_document, write_document
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import InstanceState, Observation, Origin, PrefixList, Row, RowState


def rows(seen: Observation, table: str = "rtb-a") -> dict[str, Row]:
    found = next(t for t in seen.tables if t.id == table)
    return {str(row.destination): row for row in found.rows}


# openb.


def test_openb_at_its_quota_leaves_46_entries_in_every_table(openb: Path) -> None:
    seen = read_describe(openb / "aws.json", None)
    assert seen.quota[Family.IPV4] == 50
    assert [table.id for table in seen.tables] == ["rtb-0a11", "rtb-0b22", "rtb-0c33"]
    assert [table.counted(Family.IPV4) for table in seen.tables] == [4, 4, 4]
    assert [table.counted(Family.IPV6) for table in seen.tables] == [0, 0, 0]
    assert not seen.warnings


def test_openb_has_three_subnets_with_a_table_each(openb: Path) -> None:
    seen = read_describe(openb / "aws.json", None)
    assert [(s.id, s.zone, s.table) for s in seen.subnets] == [
        ("subnet-0a11", "us-east-1a", "rtb-0a11"),
        ("subnet-0b22", "us-east-1b", "rtb-0b22"),
        ("subnet-0c33", "us-east-1c", "rtb-0c33"),
    ]
    assert len(seen.interfaces) == len(seen.instances) == 1523
    assert set(seen.instances.values()) == {InstanceState.RUNNING}
    assert 0 < sum(not i.source_dest_check for i in seen.interfaces) < 300


def test_a_quota_in_the_cluster_file_overrides(openb: Path) -> None:
    seen = read_describe(openb / "aws.json", 2_000)
    assert seen.quota == {Family.IPV4: 2_000, Family.IPV6: 2_000}


# What rows count for.


def test_local_rows_count_and_propagated_ones_do_not(tmp_path: Path) -> None:
    found = rows(observe(tmp_path, vpc_document()))
    assert found["10.0.0.0/16"].origin is Origin.LOCAL
    assert found["10.0.0.0/16"].weight == 1
    assert found["172.30.0.0/16"].origin is Origin.PROPAGATED
    assert found["172.30.0.0/16"].weight == 0
    assert found["10.99.0.0/16"].to_interface
    assert found["10.99.0.0/16"].target == "eni-a2"
    assert not found["0.0.0.0/0"].to_interface


@pytest.mark.parametrize(
    ("prefix_list", "weight", "family"),
    [
        ({"PrefixListName": "com.amazonaws.us-east-1.s3", "OwnerId": "AWS"}, 1, Family.IPV4),
        ({"PrefixListName": "com.amazonaws.us-east-1.dynamodb"}, 1, Family.IPV4),
        (
            {"PrefixListName": "com.amazonaws.global.cloudfront.origin-facing", "OwnerId": "AWS"},
            55,
            Family.IPV4,
        ),
        (
            {"PrefixListName": "com.amazonaws.us-east-1.ipv6.vpc-lattice", "OwnerId": "AWS"},
            10,
            Family.IPV6,
        ),
        ({"PrefixListName": "offices", "OwnerId": "1", "MaxEntries": 20}, 20, Family.IPV4),
        (
            {"PrefixListName": "six", "OwnerId": "1", "MaxEntries": 3, "AddressFamily": "IPv6"},
            3,
            Family.IPV6,
        ),
        (
            {"PrefixListName": "com.amazonaws.x.s3", "OwnerId": "1", "MaxEntries": 7},
            7,
            Family.IPV4,
        ),
    ],
)
def test_a_prefix_list_counts_for_its_weight_in_its_family(
    tmp_path: Path, prefix_list: Document, weight: int, family: Family
) -> None:
    document = vpc_document()
    document["PrefixLists"] = [{"PrefixListId": "pl-s3", **prefix_list}]
    row = rows(observe(tmp_path, document))["pl-s3"]
    assert (row.weight, row.family) == (weight, family)


def test_a_prefix_list_tells_its_prefixes_where_they_are_known(tmp_path: Path) -> None:
    document = vpc_document()
    document["PrefixLists"][0]["Cidrs"] = ["52.216.0.0/15"]
    document["PrefixLists"][0]["Entries"] = [{"Cidr": "3.5.0.0/19", "Description": "more"}]
    destination = rows(observe(tmp_path, document))["pl-s3"].destination
    assert isinstance(destination, PrefixList)
    assert [str(prefix) for prefix in destination.prefixes] == ["3.5.0.0/19", "52.216.0.0/15"]


def test_without_a_quota_a_number_is_assumed_and_said(tmp_path: Path) -> None:
    document = vpc_document()
    document["Quotas"] = [{"QuotaCode": "L-0EA8095F", "Value": 200.0}]
    seen = observe(tmp_path, document)
    assert seen.quota[Family.IPV4] == 500
    (warning,) = seen.warnings
    assert "assuming 500" in warning
    assert "fabric.quota" in warning


# Which table a subnet uses.


def test_subnets_without_an_association_use_the_main_table(tmp_path: Path) -> None:
    document = vpc_document()
    document["RouteTables"][1]["Associations"] = [{"Main": True}]
    document["RouteTables"].append(
        {
            "RouteTableId": "rtb-edge",
            "VpcId": "vpc-1",
            "Routes": [],
            "Associations": [{"Main": False, "GatewayId": "igw-1"}],
        }
    )
    seen = observe(tmp_path, document)
    assert {s.id: s.table for s in seen.subnets} == {"subnet-a": "rtb-a", "subnet-b": "rtb-b"}
    assert [table.id for table in seen.tables] == ["rtb-a", "rtb-b", "rtb-edge"]


def test_an_association_that_is_going_does_not_count(tmp_path: Path) -> None:
    document = vpc_document()
    document["RouteTables"][0]["Associations"] = [{"Main": True}]
    document["RouteTables"][1]["Associations"][0]["AssociationState"] = {"State": "disassociated"}
    seen = observe(tmp_path, document)
    assert {s.table for s in seen.subnets} == {"rtb-a"}


# Other VPCs.


def test_what_belongs_to_another_vpc_is_left_out(tmp_path: Path) -> None:
    document = vpc_document()
    alone = observe(tmp_path, document)
    document["Vpcs"].insert(0, {"VpcId": "vpc-default", "CidrBlock": "172.31.0.0/16"})
    document["Subnets"].append(
        {
            "SubnetId": "subnet-x",
            "VpcId": "vpc-default",
            "AvailabilityZone": "x",
            "CidrBlock": "172.31.0.0/20",
        }
    )
    document["RouteTables"].append(
        {"RouteTableId": "rtb-x", "VpcId": "vpc-default", "Associations": [{"Main": True}]}
    )
    assert observe(tmp_path, document) == alone


def test_several_vpcs_with_interfaces_are_ambiguous(tmp_path: Path) -> None:
    document = vpc_document()
    document["Vpcs"].append({"VpcId": "vpc-2", "CidrBlock": "10.1.0.0/16"})
    document["NetworkInterfaces"].append({"NetworkInterfaceId": "eni-x", "VpcId": "vpc-2"})
    with pytest.raises(BadInputError, match="2 VPCs"):
        observe(tmp_path, document)


# Details.


def test_local_cidrs_are_those_in_force(tmp_path: Path) -> None:
    document = vpc_document()
    document["Vpcs"][0]["CidrBlockAssociationSet"] = [
        {"CidrBlock": "10.0.0.0/16", "CidrBlockState": {"State": "associated"}},
        {"CidrBlock": "10.7.0.0/16", "CidrBlockState": {"State": "associated"}},
        {"CidrBlock": "10.8.0.0/16", "CidrBlockState": {"State": "failed"}},
    ]
    local = observe(tmp_path, document).local
    assert [str(p) for p in local] == ["10.0.0.0/16", "10.7.0.0/16", "2001:db8::/56"]


def test_addresses_are_canonical_with_the_primary_one_first(tmp_path: Path) -> None:
    document = vpc_document()
    document["NetworkInterfaces"][0] |= {
        "PrivateIpAddresses": [
            {"PrivateIpAddress": "10.0.0.77", "Primary": False},
            {"PrivateIpAddress": "10.0.0.4", "Primary": True},
        ],
        "Ipv6Addresses": [{"Ipv6Address": "2001:DB8:0:0::4"}],
    }
    interface = next(i for i in observe(tmp_path, document).interfaces if i.id == "eni-a0")
    assert interface.addresses == {
        Family.IPV4: ("10.0.0.4", "10.0.0.77"),
        Family.IPV6: ("2001:db8::4",),
    }


def test_states_are_read(tmp_path: Path) -> None:
    document = vpc_document()
    document["RouteTables"][0]["Routes"][3]["State"] = "blackhole"
    document["Reservations"][0]["Instances"][0]["State"]["Name"] = "shutting-down"
    document["NetworkInterfaces"][0]["Attachment"]["Status"] = "detaching"
    seen = observe(tmp_path, document)
    assert rows(seen)["10.99.0.0/16"].state is RowState.BLACKHOLE
    assert seen.instances["i-a0"].is_gone
    settled = {i.id: i.settled for i in seen.interfaces}
    assert not settled["eni-a0"]
    assert settled["eni-a1"]
    assert settled["eni-free"]


# What is refused.


def _routes(document: Document) -> list[Document]:
    found: list[Document] = document["RouteTables"][0]["Routes"]
    return found


Break = Callable[[Document], object]

BROKEN: dict[str, tuple[Break, str]] = {
    "no vpc": (lambda d: d.pop("Vpcs"), r"Vpcs is missing"),
    "no subnets": (lambda d: d.pop("Subnets"), r"Subnets is missing"),
    "no zone": (lambda d: d["Subnets"][1].pop("AvailabilityZone"), r"Subnets\[1\]: Avail.*missing"),
    "no cidr": (lambda d: d["Subnets"][1].pop("CidrBlock"), r"Subnets\[1\]: CidrBlock is missing"),
    "host bits": (
        lambda d: d["Subnets"][0].update(CidrBlock="10.0.0.1/20"),
        r"Subnets\[0\]: CidrBlock: .*host bits",
    ),
    "no table": (
        lambda d: d["RouteTables"][1].update(Associations=[]),
        r"Subnets\[1\]: subnet-b has no route table",
    ),
    "two tables": (
        lambda d: d["RouteTables"][1]["Associations"].append({"SubnetId": "subnet-a"}),
        r"subnet-a uses rtb-a and rtb-b",
    ),
    "two main tables": (
        lambda d: [t["Associations"].append({"Main": True}) for t in d["RouteTables"]],
        r"rtb-a and rtb-b are both the main table",
    ),
    "table twice": (
        lambda d: d["RouteTables"].append(d["RouteTables"][0]),
        r"rtb-a is there twice",
    ),
    "subnet twice": (lambda d: d["Subnets"].append(d["Subnets"][0]), r"subnet-a is there twice"),
    "interface twice": (
        lambda d: d["NetworkInterfaces"].append(d["NetworkInterfaces"][0]),
        r"eni-a0 is there twice",
    ),
    "interface elsewhere": (
        lambda d: d["NetworkInterfaces"][0].update(SubnetId="subnet-z"),
        r"eni-a0 is in subnet-z",
    ),
    "no address": (
        lambda d: d["NetworkInterfaces"][0].update(PrivateIpAddress="10.0"),
        r"NetworkInterfaces\[0\]: '10.0' is not an IP address",
    ),
    "row twice": (lambda d: _routes(d).append(_routes(d)[2]), r"0\.0\.0\.0/0 is there twice"),
    "no destination": (
        lambda d: _routes(d)[2].pop("DestinationCidrBlock"),
        r"RouteTables\[0\]\.Routes\[2\]: has no destination",
    ),
    "wrong family": (
        lambda d: _routes(d)[2].update(DestinationCidrBlock="::/0"),
        r"DestinationCidrBlock is ::/0, which is not ipv4",
    ),
    "unknown origin": (
        lambda d: _routes(d)[2].update(Origin="Magic"),
        r"Origin is Magic: known are",
    ),
    "unknown state": (lambda d: _routes(d)[2].update(State="odd"), r"State is odd: known are"),
    "unknown list": (lambda d: d.pop("PrefixLists"), r"Routes\[4\]: pl-s3 is not in PrefixLists"),
    "list of unknown weight": (
        lambda d: d["PrefixLists"][0].update(PrefixListName="com.amazonaws.global.new"),
        r"pl-s3 com.amazonaws.global.new: .* not known: add MaxEntries",
    ),
    "list of two families": (
        lambda d: d["PrefixLists"][0].update(Cidrs=["10.0.0.0/8", "fd00::/8"]),
        r"has prefixes that are not ipv4",
    ),
    "unknown instance state": (
        lambda d: d["Reservations"][0]["Instances"][0].update(State={"Name": "asleep"}),
        r"Reservations\[0\]\.Instances\[0\]: State is asleep",
    ),
    "quota is no number": (
        lambda d: d["Quotas"][0].update(Value="many"),
        r"Quotas\[0\]: Value should be a whole number of at least 0, is \"many\"",
    ),
    "quota is negative": (lambda d: d["Quotas"][0].update(Value=-1.0), r"Value should be"),
    "quota is broken": (lambda d: d["Quotas"][0].update(Value=0.5), r"Value should be"),
    "no list": (lambda d: d.update(RouteTables={}), r"RouteTables should be a list, is an object"),
    "no object": (lambda d: d["Subnets"].append(7), r"Subnets\[2\] should be an object, is 7"),
    "no text": (lambda d: d["Subnets"][0].update(SubnetId=7), r"SubnetId should be text.*, is 7"),
    "no flag": (
        lambda d: d["NetworkInterfaces"][0].update(SourceDestCheck="yes"),
        r"SourceDestCheck should be true or false",
    ),
    "one page": (lambda d: d.update(NextToken="abc"), r"one page of several"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_contradicts_itself_is_refused_in_one_line_with_its_place(
    tmp_path: Path, name: str
) -> None:
    spoil, message = BROKEN[name]
    document = vpc_document()
    spoil(document)
    with pytest.raises(BadInputError, match=message) as caught:
        observe(tmp_path, document)
    assert str(caught.value).startswith(f"{tmp_path / 'aws.json'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"aws\.json:1: is not JSON"),
        (b'{"Vpcs": [\n}', r"aws\.json:2: is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"[]", "should be an object, is a list"),
        (b"[" * 200_000, "is no JSON that can be read"),
        (b'{"Vpcs": ' + b"9" * 5_000 + b"}", "is no JSON that can be read"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "aws.json"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        read_describe(path, None)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No such file"):
        read_describe(tmp_path / "aws.json", None)


def test_reading_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = write_document(tmp_path, vpc_document())
    before = path.read_bytes(), path.stat().st_mtime_ns
    read_describe(path, None)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    document = vpc_document()
    alone = observe(tmp_path, document)
    document["Tags"] = document["Vpcs"][0]["Tags"] = [{"Key": "Name"}]
    assert observe(tmp_path, document) == alone


def test_prefixes_compare_by_value() -> None:
    assert Row(Prefix.parse("10.0.0.0/8"), "eni-1", to_interface=True) == Row(
        Prefix.parse("10.0.0.0/8"), "eni-1", to_interface=True
    )
