"""The cluster file: defaults, and errors that name file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from vpcrouter.config import Ceiling, FabricSettings, SimulatedSource, load_cluster
from vpcrouter.fabric.aws.settings import AssumedRole, AwsSource

MINIMAL = """\
version: 1
cluster: openb
networks: [{name: pods, cidrs: [100.64.0.0/10]}]
fabric: {kind: simulated, describe: aws.json}
nodes: {kubernetes: nodes.json}
"""

FULL = """\
version: 1
cluster: prod-1
networks:
  - name: pods
    cidrs: [100.64.0.0/10, "fd00::/48"]
    block: {ipv4: 27, ipv6: 72}
    node: {ipv4: 25}
    exclude:
      - 100.64.0.0/16
  - name: more
    cidrs:
      - 10.128.0.0/9
fabric:
  kind: simulated
  describe: /data/aws.json
  quota: 2000
  reserve: 0
nodes:
  kubernetes: sub/nodes.json
planning: {slack: 0, weights: equal, own_subnet_weight: 0.25, removals: {few: 3}}
store: state/prod.db
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "cluster.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_defaults_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    cluster = load_cluster(write(tmp_path, MINIMAL))
    (network,) = cluster.networks
    assert cluster.cluster == "openb"
    assert (network.name, network.cidrs) == ("pods", (Prefix.parse("100.64.0.0/10"),))
    assert network.block == {Family.IPV4: 26, Family.IPV6: 80}
    assert network.node == {Family.IPV4: 24, Family.IPV6: 64}
    assert network.exclude == ()
    assert cluster.fabric == FabricSettings(SimulatedSource(tmp_path / "aws.json"), None, 2)
    assert cluster.nodes == tmp_path / "nodes.json"
    assert (cluster.planning.slack, cluster.planning.own_subnet_weight) == (0.05, 1.0)
    assert (cluster.planning.weights, cluster.planning.capacity) == ("equal", "equal")
    assert cluster.planning.ceiling == Ceiling(share=0.5, few=10)
    assert cluster.store == Path("/var/state/vpcrouter/openb.db")


@pytest.mark.parametrize("state", ["", "relative/state"])
def test_the_store_is_in_the_home_folder_without_a_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", "/home/one")
    cluster = load_cluster(write(tmp_path, MINIMAL))
    assert cluster.store == Path("/home/one/.local/state/vpcrouter/openb.db")


def test_everything_can_be_said(tmp_path: Path) -> None:
    cluster = load_cluster(write(tmp_path, FULL))
    pods, more = cluster.networks
    assert [str(cidr) for cidr in pods.cidrs] == ["100.64.0.0/10", "fd00::/48"]
    assert pods.block == {Family.IPV4: 27, Family.IPV6: 72}
    assert pods.node == {Family.IPV4: 25, Family.IPV6: 64}
    assert pods.exclude == (Prefix.parse("100.64.0.0/16"),)
    assert more.cidrs == (Prefix.parse("10.128.0.0/9"),)
    assert cluster.fabric == FabricSettings(SimulatedSource(Path("/data/aws.json")), 2000, 0)
    assert cluster.nodes == tmp_path / "sub" / "nodes.json"
    assert (cluster.planning.slack, cluster.planning.own_subnet_weight) == (0, 0.25)
    assert cluster.planning.ceiling == Ceiling(share=0.5, few=3)
    assert cluster.store == tmp_path / "state" / "prod.db"


def test_a_path_in_the_home_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/one")
    text = MINIMAL.replace("aws.json", "~/aws.json") + "store: ~/my.db\n"
    cluster = load_cluster(write(tmp_path, text))
    assert cluster.fabric.source == SimulatedSource(Path("/home/one/aws.json"))
    assert cluster.store == Path("/home/one/my.db")


AWS = "{kind: aws, region: eu-central-1, vpc: vpc-0cafe}"
SIMULATED = "{kind: simulated, describe: aws.json}"


def test_a_vpc_of_aws_is_named_by_region_and_id(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL.replace(SIMULATED, AWS))
    source = AwsSource("eu-central-1", "vpc-0cafe", None)
    assert load_cluster(path).fabric == FabricSettings(source, None, 2)


def test_a_role_has_a_session_named_after_the_cluster_unless_it_is_named(tmp_path: Path) -> None:
    arn = "arn:aws:iam::111122223333:role/routing/router"
    for fields, expected in (
        (f"{{arn: '{arn}'}}", AssumedRole(arn, None, "vpcrouter-openb")),
        (
            f"{{arn: '{arn}', external_id: x-1, session_name: me}}",
            AssumedRole(arn, "x-1", "me"),
        ),
    ):
        aws = AWS.replace("cafe}", f"cafe, role: {fields}}}")
        source = load_cluster(write(tmp_path, MINIMAL.replace(SIMULATED, aws))).fabric.source
        assert isinstance(source, AwsSource)
        assert source.role == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cafe}", "cafe, role: router}", r":4: fabric\.role: should be a mapping"),
        (
            "cafe}",
            "cafe, role: {arn: router}}",
            r":4: fabric\.role\.arn: a role is named by",
        ),
        ("cafe}", "cafe, role: {external_id: x1}}", r":4: fabric\.role\.arn: is missing"),
        (
            "cafe}",
            "cafe, role: {arn: 'arn:aws:iam::111122223333:role/r', id: x1}}",
            r"fabric\.role\.id: unknown field: known are arn, external_id",
        ),
        ("vpc: vpc-0cafe", "vpc: subnet-1", r":4: fabric\.vpc: a VPC is named like"),
        ("region: eu-central-1, ", "", r":4: fabric\.region: is missing"),
        ("eu-central-1", "frankfurt", r":4: fabric\.region: a region is named like"),
        ("kind: aws, ", "", r":4: fabric\.kind: is missing"),
        ("cafe}", "cafe, endpoint: localhost}", r":4: fabric\.endpoint: an endpoint is a URL"),
        ("cafe}", "cafe, describe: aws.json}", r"fabric\.describe: .* known are kind, region, vpc"),
        ("cafe}", "cafe, reserved: 1}", r"fabric\.reserved: .* mean reserve\?"),
    ],
)
def test_errors_about_aws_name_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path, MINIMAL.replace(SIMULATED, AWS.replace(old, new)))
    with pytest.raises(BadInputError, match=message):
        load_cluster(path)


# Errors: the text that replaces a piece of FULL, and the line and message that it leads to.

BROKEN: dict[str, tuple[str, str, int, str]] = {
    "unknown field": ("reserve: 0", "reserv: 0", 17, r"fabric.reserv: unknown .* mean reserve\?"),
    "unknown top field": ("store:", "stores:", 21, r"stores: unknown field: did you mean store\?"),
    "odd field": ("quota: 2000", "xyz: 1", 16, r"unknown field: known are kind, describe, quota"),
    "missing field": ("  describe: /data/aws.json\n", "", 13, r"fabric\.describe: is missing"),
    "version": ("version: 1", "version: 2", 1, r"version: should be 1"),
    "version text": ("version: 1", "version: '1'", 1, r"version: should be 1"),
    "cluster name": ("prod-1", "../etc", 2, r"cluster: a name has letters"),
    "cluster newline": ("prod-1", '"x\\n"', 2, r"cluster: a name has letters"),
    "network name": ("name: more", "name: pods", 10, r"\[1\]\.name: two networks are named pods"),
    "host bits": ("10.128.0.0/9", "10.128.0.1/9", 12, r"networks\[1\]\.cidrs\[0\]: .*host bits"),
    "no cidr": ("10.128.0.0/9", "10.128.0.0", 12, r"networks\[1\]\.cidrs\[0\]: .* not a CIDR"),
    "overlap": ("10.128.0.0/9", "100.64.0.0/24", 12, r"overlaps 100\.64\.0\.0/10 of network pods"),
    "overlap inside": (', "fd00::/48"', ", 100.96.0.0/12", 5, r"cidrs\[1\]: .* of network pods"),
    "too small": ("10.128.0.0/9", "10.128.0.0/27", 12, r"10\.128\.0\.0/27 is too small"),
    "unroutable": ("10.128.0.0/9", "169.254.0.0/16", 12, r"no VPC routes"),
    "everything": ("10.128.0.0/9", "0.0.0.0/0", 12, r"networks\[1\]\.cidrs\[0\]"),
    "cidr is a number": ("10.128.0.0/9", "10", 12, r"cidrs\[0\]: should be a valid string"),
    "no cidrs": ("    cidrs:\n      - 10.128.0.0/9\n", "    cidrs: []\n", 11, r"at least 1 item"),
    "exclude outside": ("- 100.64.0.0/16", "- 10.0.0.0/16", 9, r"none of the network's cidrs"),
    "all excluded": ("- 100.64.0.0/16", "- 100.64.0.0/10", 5, r"all of 100\.64\.0\.0/10 is excl"),
    "block too long": ("ipv4: 27", "ipv4: 64", 6, r"block\.ipv4: should be less than or equal"),
    "block text": ("ipv4: 27", "ipv4: wide", 6, r"block\.ipv4: should be a valid integer"),
    "block is true": ("ipv4: 27", "ipv4: true", 6, r"block\.ipv4: should be a valid integer"),
    "block family": ("ipv6: 72", "ipv5: 72", 6, r"unknown field: did you mean ipv[46]\?"),
    "node below block": ("ipv4: 25", "ipv4: 28", 7, r"node\.ipv4: .* must hold its block \(/27\)"),
    "too many blocks": ("ipv4: 25", "ipv4: 10", 7, r"node\.ipv4: .* too many blocks"),
    "kind": ("kind: simulated", "kind: gcp", 14, r"fabric\.kind: should be 'simulated' or 'aws'"),
    "quota": ("quota: 2000", "quota: -1", 16, r"fabric\.quota: should be greater than or equal"),
    "quota float": ("quota: 2000", "quota: 50.5", 16, r"fabric\.quota: should be a valid integer"),
    "reserve": ("reserve: 0", "reserve: -2", 17, r"fabric\.reserve"),
    "slack": ("slack: 0,", "slack: -0.1,", 20, r"planning\.slack"),
    "slack nan": ("slack: 0,", "slack: .nan,", 20, r"planning\.slack: should be a finite number"),
    "slack inf": ("slack: 0,", "slack: .inf,", 20, r"planning\.slack: should be a finite number"),
    "weights": ("weights: equal", "weights: cpu", 20, r"planning\.weights: should be 'equal'"),
    "own weight": ("0.25", "1e400", 20, r"planning\.own_subnet_weight"),
    "own weight text": ("0.25", "aut", 20, r"own_subnet_weight: should be a number or auto$"),
    "own weight below 0": ("0.25", "-1", 20, r"own_subnet_weight: should be greater than or eq"),
    "path": ("sub/nodes.json", "''", 19, r"nodes\.kubernetes"),
    "a list instead": ("nodes:\n  kubernetes: sub/nodes.json", "nodes: [a]", 18, r"a mapping"),
    "twice": ("reserve: 0", "quota: 1", 17, r"fabric\.quota: is given twice"),
    "key is no word": ("reserve: 0", "? [a]\n  : 1", 17, r"fabric: a field's name is a word"),
    "tag": ("quota: 2000", "quota: !!python/name:os.system x", 16, r"unknown YAML tag"),
    "alias": ("reserve: 0", "reserve: *x", 17, r"uses a YAML alias"),
    "flow": ("[100.64.0.0/10, ", "[[100.64.0.0/10, ", 6, r"is not YAML"),
    "tab": ("  quota: 2000", "\tquota: 2000", 16, r"is not YAML: found a tab"),
    "colon": ("quota: 2000", "quota: a: b", 16, r"is not YAML: mapping values"),
    "second document": ("planning:", "---\nplanning:", 20, r"a second document"),
    "int": ("quota: 2000", "quota: 0b_", 16, r"fabric\.quota|no value"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_is_one_line_with_file_line_and_field(tmp_path: Path, name: str) -> None:
    old, new, line, message = BROKEN[name]
    assert FULL.count(old) == 1, "the piece to break is there once"
    path = write(tmp_path, FULL.replace(old, new))
    with pytest.raises(BadInputError, match=message) as caught:
        load_cluster(path)
    text = str(caught.value)
    assert text.startswith(f"{path}:{line}: ")
    assert "\n" not in text


def test_an_excluded_prefix_of_another_family_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("/10]}", "/10], exclude: ['fd00::/64']}")
    with pytest.raises(BadInputError, match=r":3: networks\[0\]\.exclude\[0\]: .*no such family"):
        load_cluster(write(tmp_path, text))


def test_the_first_of_several_errors_is_told_with_their_number(tmp_path: Path) -> None:
    text = FULL.replace("reserve: 0", "reserve: -1").replace("quota: 2000", "quota: -1")
    with pytest.raises(BadInputError, match=r":16: fabric\.quota: .*\(and 1 more\)"):
        load_cluster(write(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r":1: is empty"),
        (b"# nothing\n", r":1: is empty"),
        (b"just text\n", r":1: should be a mapping"),
        (b"- a\n- b\n", r":1: should be a mapping"),
        (b"version: 1\n\xff\n", r":2: is not UTF-8"),
        (b"version: 1\ncluster: \x01\n", r":2: is not YAML"),
        (b"[" * 100_000, r":1: is nested more than"),
        (b"a: " + b"[" * 500 + b"]" * 500, r":1: is nested more than"),
        (b"x" * 2_000_000, r"is larger than"),
    ],
)
def test_what_is_no_cluster_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        load_cluster(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"cluster\.yaml: cannot be read: No such file"):
        load_cluster(tmp_path / "cluster.yaml")
    with pytest.raises(BadInputError, match="cannot be read"):
        load_cluster(tmp_path)


def test_a_network_as_large_as_one_block_is_enough(tmp_path: Path) -> None:
    text = MINIMAL.replace("100.64.0.0/10", "100.64.0.0/26")
    assert load_cluster(write(tmp_path, text)).networks[0].cidrs[0].length == 26


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    assert load_cluster(write(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode())).cluster == "openb"
