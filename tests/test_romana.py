"""Romana's topologies: its files mean the same here, and what would not is refused by name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.model import Claim, Network, state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from ipam.romana import Imported, read_romana
from ipam.topology import NoPlaceError, locate
from tests.commands import Runner, is_one_line
from tests.conftest import DATA, NO_DATA
from tests.counts import examples
from vpcrouter.cli.topology_import import cluster_file
from vpcrouter.config import load_cluster

EXAMPLES = Path(__file__).parents[1] / "docs/examples/romana"
PUBLISHED = ("aws-eu-central-1", "aws-us-east-1", "aws-us-west-1", "kubeadm-network")
Json = dict[str, Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of the topologies that were published with Romana."""
    folder = DATA / "romana"
    if not folder.is_dir():
        pytest.skip(f"{NO_DATA}: {folder} is missing (VPCROUTER_DATA names its parent)")
    return folder


def read(document: object) -> tuple[Network, ...]:
    return read_romana(json.dumps(document), "t.json").networks


def loaded(command: Runner, tmp_path: Path, file: Path) -> tuple[Network, ...]:
    """What our own loader makes of the cluster file that is printed for a topology."""
    ended = command("topology", "import", file)
    assert (ended.code, ended.err) == (0, "")
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(ended.out)
    return load_cluster(cluster).networks


# Romana's own rules, in the plainest words: a host belongs to every group whose assignment, and
# whose every outer group's, it has; in a group with hosts it belongs if it is one of them.


def leaves(groups: Iterable[Json], outer: tuple[Json, ...] = ()) -> list[tuple[Json, ...]]:
    found = []
    for group in groups:
        inner = group.get("groups") or []
        if inner and not inner[0].get("ip"):
            found += leaves(inner, (*outer, group))
        else:
            found.append((*outer, group))
    return found


def may_hold(way: tuple[Json, ...], name: str, labels: Mapping[str, str]) -> bool:
    wanted = [item for group in way for item in (group.get("assignment") or {}).items()]
    hosts = [host["name"] for host in way[-1].get("groups") or []]
    return all(labels.get(k) == v for k, v in wanted) and (not hosts or name in hosts)


def path(way: tuple[Json, ...]) -> tuple[str, ...]:
    return tuple(group["name"] for group in way)


# The published files


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_as_they_are(
    command: Runner, tmp_path: Path, published: Path, name: str
) -> None:
    document = json.loads((published / f"{name}.json").read_text())
    (network,) = loaded(command, tmp_path, published / f"{name}.json")
    (given_network,) = document["networks"]
    assert [str(cidr) for cidr in network.cidrs] == [given_network["cidr"]]
    assert network.name == given_network["name"]
    assert network.block[Family.IPV4] == 29
    assert same_groups(document["topologies"][0]["map"], network)


@pytest.mark.parametrize("name", PUBLISHED)
def test_hosts_go_round_in_published_groups_as_in_romana(published: Path, name: str) -> None:
    text = (published / f"{name}.json").read_text()
    ways = leaves(json.loads(text)["topologies"][0]["map"])
    zones = sorted({tuple(sorted((way[-1].get("assignment") or {}).items())) for way in ways})
    claims = [
        Claim(f"n{zone}-{i}", f"s{zone}", "i", labels)
        for zone, labels in enumerate(zones)
        for i in range(16)
    ]
    outcome = join(state("test", read_romana(text, name).networks), claims, {Family.IPV4: 60})
    assert outcome.refused == ()
    counts: Counter[str] = Counter()
    now = outcome.state
    for place in now.places.values():
        owners = [
            node.name
            for node in now.nodes.values()
            if any(prefix.contains(b) for prefix in place.prefixes for b in node.blocks)
        ]
        counts[place.path[-1].removeprefix("group:")] = len(owners)
    per_leaf = 16 * len(zones) // len(ways)
    assert {counts[way[-1]["name"]] for way in ways} == {per_leaf}


def same_groups(groups: list[Json], network: Network) -> bool:
    """Whether a network has exactly these groups, nested and asking for labels as they do."""
    wanted = {
        path(leaves([group], outer)[0][: len(outer) + 1]): group.get("assignment") or {}
        for outer, group in every(groups)
    }
    found = {
        tuple(segment.partition(":")[2] for segment in way): dict(group.labels)
        for way, group in network.topology.by_path.items()
    }
    return found == wanted


def every(groups: list[Json], outer: tuple[Json, ...] = ()) -> list[tuple[tuple[Json, ...], Json]]:
    found = []
    for group in groups:
        found.append((outer, group))
        if not any(inner.get("ip") for inner in group.get("groups") or []):
            found += every(group.get("groups") or [], (*outer, group))
    return found


# Our own examples


def test_zones_keep_their_networks_groups_labels_and_tenants(
    command: Runner, tmp_path: Path
) -> None:
    pods, batch = loaded(command, tmp_path, EXAMPLES / "zones.json")
    assert (pods.block[Family.IPV4], pods.node[Family.IPV4], pods.tenants) == (27, 24, ())
    assert (batch.block[Family.IPV4], batch.tenants) == (29, ("jobs", "reports"))
    assert pods.topology == batch.topology
    zone, kind = "topology.kubernetes.io/zone", "karpenter.sh/capacity-type"
    located = locate(pods.topology, "n", "s", ((kind, "spot"), (zone, "b")))
    assert [place.above for place in located] == [("group:zone-b", "group:b-spot")]
    assert len(locate(pods.topology, "n", "s", ((zone, "a"),))) == 2
    with pytest.raises(NoPlaceError):
        locate(pods.topology, "n", "s", ((kind, "spot"), (zone, "c")))


def test_racks_keep_their_hosts_and_show_their_addresses(command: Runner, tmp_path: Path) -> None:
    (pods,) = loaded(command, tmp_path, EXAMPLES / "racks.json")
    assert [group.hosts for group in pods.topology.groups] == [("node-1", "node-2"), ("node-3",)]
    printed = command("topology", "import", EXAMPLES / "racks.json").out
    assert "#   node-3 192.168.2.3\n" in printed
    with pytest.raises(NoPlaceError):
        locate(pods.topology, "node-4", "s", ())


def test_what_romana_does_not_say_can_be_said(command: Runner, tmp_path: Path) -> None:
    options = ("--cluster", "prod", "--region", "eu-central-1", "--vpc", "vpc-0123")
    ended = command("topology", "import", EXAMPLES / "zones.json", *options)
    file = tmp_path / "cluster.yaml"
    file.write_text(ended.out)
    found = load_cluster(file)
    assert found.cluster == "prod"
    assert "region: eu-central-1" in ended.out


# Generated files


LABELS = ("zone", "rack", "kind")
VALUES = ("a", "b")
HOSTS = ("n1", "n2", "n3", "n4")


@st.composite
def group_lists(draw: st.DrawFn, depth: int = 3) -> list[Json]:
    made: list[Json] = []
    for number in range(draw(st.integers(1, 3))):
        group: Json = {"name": f"g{number}"}
        kind = draw(st.sampled_from(["leaf", "leaf", "groups"] if depth else ["leaf"]))
        group["groups"] = draw(group_lists(depth - 1)) if kind == "groups" else []
        some = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(VALUES), max_size=2)
        assignment: dict[str, str] = draw(some)
        is_said: bool = draw(st.booleans())
        if assignment or is_said:
            group["assignment"] = assignment
        made.append(group)
    return made


@settings(max_examples=examples(test=100, prove=5_000))
@given(group_lists(), st.data())
def test_a_host_goes_where_romana_would_let_it(groups: list[Json], data: st.DataObject) -> None:
    """Where ours lets it go nowhere, that is since groups would take it that ask for different
    things, or since those that ask for something take precedence over those that do not.
    """
    (network,) = read(file_of(groups))
    some = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(VALUES))
    labels: dict[str, str] = data.draw(some)
    allowed = [path(way) for way in leaves(groups) if may_hold(way, "n1", labels)]
    try:
        located = locate(network.topology, "n1", "s", tuple(sorted(labels.items())))
    except NoPlaceError:
        asked = [
            tuple(tuple(sorted((group.get("assignment") or {}).items())) for group in way)
            for way in leaves(groups)
            if may_hold(way, "n1", labels)
        ]
        assert len(set(asked)) != 1
        return
    for place in located:
        assert tuple(segment.partition(":")[2] for segment in place.above) in allowed


def file_of(groups: list[Json]) -> Json:
    return {
        "networks": [{"name": "pods", "cidr": "10.0.0.0/8"}],
        "topologies": [{"networks": ["pods"], "map": groups}],
    }


@settings(max_examples=examples(test=100, prove=5_000))
@given(group_lists())
def test_every_group_is_kept_with_what_it_asks_for(groups: list[Json]) -> None:
    (network,) = read(file_of(groups))
    assert same_groups(groups, network)


# Refusals

GOOD: Json = {
    "networks": [{"name": "pods", "cidr": "10.0.0.0/8", "block_mask": 26, "tenants": []}],
    "topologies": [
        {
            "networks": ["pods"],
            "map": [
                {"name": "a", "groups": [], "assignment": {"zone": "a"}},
                {"name": "h", "groups": [{"name": "node-1", "ip": "10.9.0.1"}]},
            ],
        }
    ],
}
NETWORK = ("networks", 0)
GROUP = ("topologies", 0, "map", 0)
HOST = ("topologies", 0, "map", 1, "groups", 0)


def changed(where: tuple[str | int, ...], value: object) -> Json:
    document: Json = json.loads(json.dumps(GOOD))
    part: Any = document
    for step in where[:-1]:
        part = part[step]
    if value is MISSING:
        del part[where[-1]]
    else:
        part[where[-1]] = value
    return document


MISSING = object()


def test_the_file_that_is_broken_below_is_good() -> None:
    (pods,) = read(GOOD)
    assert pods.cidrs == (Prefix.parse("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        ((*GROUP, "routing"), "bgp", "group 'a'"),
        ((*GROUP, "dummy"), True, "group 'a'"),
        ((*GROUP, "cidr"), "10.0.0.0/9", "'cidr'"),
        ((*GROUP, "ip"), "10.9.0.9", "host 'a'"),
        ((*GROUP, "name"), "h", "'h'"),
        ((*GROUP, "name"), "x\ny", "name"),
        ((*GROUP, "name"), 7, "name"),
        ((*GROUP, "groups"), {}, "groups"),
        ((*GROUP, "assignment"), ["zone"], "assignment"),
        ((*GROUP, "assignment"), {"zone": 1}, "zone"),
        ((*GROUP, "assignment"), {"": "a"}, "assignment"),
        ((*HOST, "routing"), "bgp", "host 'node-1'"),
        ((*HOST, "ip"), "10.9.0", "host 'node-1'"),
        ((*HOST, "name"), "", "host"),
        ((*HOST, "groups"), [{}], "host 'node-1'"),
        ((*HOST, "assignment"), {"a": "b"}, "host 'node-1'"),
        (("topologies", 0, "map", 1, "assignment"), {"a": "b"}, "group 'h'"),
        (("topologies", 0, "map", 1, "groups", 0, "ip"), [1], "host 'node-1'"),
        (("topologies", 0, "map"), [], "map"),
        (("topologies", 0, "networks"), ["nets"], "'nets'"),
        (("topologies", 0, "networks"), ["pods", "pods"], "pods"),
        (("topologies", 0, "networks"), [], "pods"),
        (("topologies",), [], "pods"),
        (("topologies",), MISSING, "pods"),
        (("topologies", 0, "groups"), [], "'groups'"),
        ((*NETWORK, "name"), "pod network", "'pod network'"),
        ((*NETWORK, "name"), "", "name"),
        ((*NETWORK, "cidr"), "10.0.0.1/8", "pods"),
        ((*NETWORK, "cidr"), MISSING, "pods"),
        ((*NETWORK, "cidr"), "fd00::/48", "pods"),
        ((*NETWORK, "block_mask"), 7, "block_mask 7"),
        ((*NETWORK, "block_mask"), 33, "block_mask 33"),
        ((*NETWORK, "block_mask"), 26.0, "block_mask 26.0"),
        ((*NETWORK, "block_mask"), True, "block_mask True"),
        ((*NETWORK, "tenants"), ["a"], "tenants"),
        ((*NETWORK, "tenants"), ["a b"], "'a b'"),
        ((*NETWORK, "tenants"), "all", "tenants"),
        ((*NETWORK, "vlan"), 7, "'vlan'"),
        (("networks",), [], "networks"),
        (("networks",), None, "networks"),
        (("networks",), [GOOD["networks"][0]] * 2, "pods"),
        (("comment",), "x", "'comment'"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(
    where: tuple[str | int, ...], value: object, named: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        read(changed(where, value))
    assert str(caught.value).startswith("t.json: ")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_that_overlap_are_refused() -> None:
    document = changed(("networks",), [*GOOD["networks"], {"name": "more", "cidr": "10.1.0.0/16"}])
    document["topologies"][0]["networks"].append("more")
    with pytest.raises(BadInputError, match="overlap"):
        read(document)


def test_groups_beside_hosts_and_groups_that_nest_too_deep_are_refused() -> None:
    mixed = [{"name": "node-1", "ip": "10.9.0.1"}, {"name": "inner", "groups": []}]
    with pytest.raises(BadInputError, match=r"'a'.*beside"):
        read(changed((*GROUP, "groups"), mixed))
    deep: list[Json] = []
    for number in range(9):
        deep = [{"name": f"g{number}", "groups": deep}]
    with pytest.raises(BadInputError, match="deep"):
        read(changed((*GROUP, "groups"), deep))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"networks": NaN}', '{"networks": [], "networks": []}', "[" * 100_000],
)
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match=r"^t\.json: "):
        read_romana(text, "t.json")


@st.composite
def damaged(draw: st.DrawFn) -> object:
    """The good file with something else at any place."""
    document = json.loads(json.dumps(GOOD))
    part = document
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(part[key], dict | list) and draw(st.integers(0, 3)):
            part = part[key]
            continue
        part[key] = draw(_ANYTHING)
        break
    return document


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "groups", "ip", "cidr", "networks", "assignment", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=examples(test=300, prove=20_000))
@given(damaged() | _ANYTHING)
def test_damaged_files_are_read_or_refused_in_one_line(document: object) -> None:
    imported = outcome(json.dumps(document))
    if isinstance(imported, str):
        assert "\n" not in imported
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.yaml"
        fabric = {"kind": "simulated", "describe": "aws.json"}
        file.write_text(cluster_file(imported, "test", fabric, "t.json"))
        assert load_cluster(file).networks == imported.networks


@settings(max_examples=examples(test=100, prove=5_000))
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_are_no_internal_error(content: bytes) -> None:
    assert "\n" not in str(outcome(content.decode("utf-8", "surrogateescape")))


def outcome(text: str) -> Imported | str:
    """What a file is read as, or why it is refused."""
    try:
        return read_romana(text, "t.json")
    except BadInputError as error:
        return str(error)


# The command


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.json"],
        ["."],
        [str(EXAMPLES / "zones.json"), "--region", "eu-central-1"],
        [str(EXAMPLES / "zones.json"), "--cluster", "a b"],
        [],
    ],
)
def test_wrong_usage_is_one_line(command: Runner, arguments: list[str]) -> None:
    ended = command("topology", "import", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)


def test_a_file_that_is_not_utf_8_and_one_that_is_too_large_are_refused(
    command: Runner, tmp_path: Path
) -> None:
    file = tmp_path / "t.json"
    file.write_bytes(b"\xff\xfe")
    ended = command("topology", "import", file)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    groups = [{"name": f"group-with-a-long-name-{i:06}" * 4, "groups": []} for i in range(10_000)]
    file.write_text(json.dumps(file_of(groups)))
    ended = command("topology", "import", file)
    assert (ended.code, ended.out) == (2, "")
    assert "bytes" in ended.err
