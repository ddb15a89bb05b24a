"""Each rule of topologies and networks broken in turn, and what is odd but allowed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam import codec
from ipam.errors import BadInputError
from ipam.model import Claim, Network, State, state
from ipam.placement import grow, join
from ipam.pools import networks_of_namespace
from ipam.prefix import Family, Prefix, merge, spanned
from ipam.static import grant_static
from ipam.topology import (
    PLAIN,
    SUBNET,
    AmbiguousPlaceError,
    Level,
    LevelKind,
    NamedGroup,
    NoPlaceError,
    StaticAddress,
    locate,
    shown,
    topology,
)
from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.topologies import claims, networks, ways
from vpcrouter.config import load_cluster

V4, V6 = Family.IPV4, Family.IPV6
ZONE, RACK = Level(LevelKind.LABEL, "zone"), Level(LevelKind.LABEL, "rack")

HEAD = "version: 1\ncluster: test\n"
TAIL = "fabric: {kind: simulated, describe: aws.json}\nnodes: {kubernetes: nodes.json}\n"

FULL = """\
networks:
- name: pods
  cidrs: [100.64.0.0/10, "fd00::/48"]
  exclude: [100.64.0.9, 100.64.1.0-100.64.1.200, 100.65.0.0/16]
  levels: [groups, zone, subnet, {label: example.com/rack}]
  groups:
  - name: batch
    labels: {kind: batch}
    weight: 2
    reserve: {ipv4: 14}
  - name: fixed
    cidrs: [100.80.0.0/16, 100.81.0.0/16]
    groups:
    - {name: left, hosts: [n1, n2], cidrs: [100.80.0.0/17]}
    - {name: right, hosts: [n3]}
  - {name: rest, reserve: 0.25}
  static:
  - {name: web/gateway, address: 100.64.0.10}
  - {name: web/gateway, address: "fd00::10"}
  closed: ["fd00::/48"]
- {name: blue, cidrs: [10.128.0.0/16], tenants: [blue, blue-test]}
"""


def load(folder: Path, text: str) -> tuple[Network, ...]:
    path = folder / "cluster.yaml"
    path.write_text(HEAD + text + TAIL)
    return load_cluster(path).networks


def test_everything_can_be_said(tmp_path: Path) -> None:
    pods, blue = load(tmp_path, FULL)
    assert [str(level) for level in pods.topology.levels] == [
        "groups",
        "topology.kubernetes.io/zone",
        "subnet",
        "example.com/rack",
    ]
    batch, fixed, rest = pods.topology.groups
    assert (batch.labels, batch.weight, batch.reserve) == ((("kind", "batch"),), 2.0, {V4: 14})
    assert rest.reserve == {V4: 12, V6: 50}  # a quarter of each range
    assert [group.hosts for group in fixed.groups] == [("n1", "n2"), ("n3",)]
    excluded = merge(pods.exclude)
    assert Prefix.parse("100.64.0.9/32") in excluded
    assert sum(prefix.size for prefix in excluded) == 1 + 201 + (1 << 16)
    assert [str(address) for address in pods.static] == [
        "web/gateway (100.64.0.10)",
        "web/gateway (fd00::10)",
    ]
    assert pods.closed == (Prefix.parse("fd00::/48"),)
    assert blue.tenants == ("blue", "blue-test")
    for network in (pods, blue):
        value = codec.encode(network)
        assert codec.decode(codec.network_key(network.name), value) == network


def test_a_network_without_levels_is_stored_as_before(tmp_path: Path) -> None:
    (network,) = load(tmp_path, "networks: [{name: pods, cidrs: [10.0.0.0/8], levels: [subnet]}]\n")
    assert network.topology == PLAIN
    assert set(json.loads(codec.encode(network))) == {"v", "cidrs", "block", "node", "exclude"}
    assert json.loads(codec.encode(network))["v"] == 1


# Rules: the text that replaces a piece of FULL, and the message that it leads to.
BROKEN: dict[str, tuple[str, str, str]] = {
    "no such level": ("zone, subnet", "planet, subnet", r"levels\[1\]: a level is subnet, groups"),
    "level of nothing": ("{label: example.com/rack}", "{label: ''}", r"levels\[3\]: a level is"),
    "label with a colon": ("example.com/rack}", "'subnet:x'}", r"levels\[3\]: a level is"),
    "level twice": ("zone, subnet", "zone, zone, subnet", "zone is given twice"),
    "groups twice": ("[groups, zone", "[groups, groups, zone", "groups is given twice"),
    "field of a level": ("{label: example.com/rack}", "{tag: rack}", r"levels\[3\]: a level is"),
    "unknown field": ("weight: 2", "wieght: 2", r"groups\[0\]\.wieght: .*mean weight\?"),
    "name missing": ("{name: rest, reserve", "{reserve", r"groups\[2\]\.name: is missing"),
    "name with a line end": ("name: batch", 'name: "a\\nb"', r"no control characters"),
    "same name": ("{name: rest,", "{name: batch,", "group batch: a second one beside it"),
    "same name inside": ("{name: right", "{name: left", "group left: a second one beside it"),
    "hosts and labels": ("hosts: [n3]", "hosts: [n3], labels: {a: b}", "right: has hosts and"),
    "no weight": ("weight: 2", "weight: 0", r"groups\[0\]\.weight: .*greater than 0"),
    "weight below 0": ("weight: 2", "weight: -1", r"weight: .*greater than 0"),
    "weight nan": ("weight: 2", "weight: .nan", r"weight: .*finite"),
    "weight inf": ("weight: 2", "weight: .inf", r"weight: .*finite"),
    "reserve of all": ("reserve: 0.25", "reserve: 1", r"groups\[2\]\.reserve: a reserve is"),
    "reserve of nothing": ("reserve: 0.25", "reserve: 0", r"reserve: a reserve is"),
    "reserve in words": ("reserve: 0.25", "reserve: much", r"reserve: a reserve is"),
    "reserve true": ("reserve: 0.25", "reserve: true", r"reserve: a reserve is"),
    "reserve of ipx": ("{ipv4: 14}", "{ipx: 14}", r"reserve: a reserve is"),
    "reserve text": ("{ipv4: 14}", "{ipv4: wide}", r"reserve: a reserve is"),
    "reserve too wide": ("{ipv4: 14}", "{ipv4: 9}", r"batch: a reserve of /9 should be from /10"),
    "reserve too small": ("{ipv4: 14}", "{ipv4: 25}", r"batch: a reserve of /25 should be"),
    "cidr elsewhere": ("[100.80.0.0/17]", "[10.0.0.0/17]", "in none of the cidrs of the group"),
    "cidr outside": ("100.81.0.0/16]", "10.0.0.0/16]", "10.0.0.0/16 is in none of the network's"),
    "cidr too small": ("[100.80.0.0/17]", "[100.80.0.0/25]", "smaller than a node's prefix"),
    "cidr no cidr": ("[100.80.0.0/17]", "[100.80.0.1/17]", r"groups\[0\]\.cidrs\[0\]: .*host bits"),
    "cidr overlaps": ("hosts: [n3]", "cidrs: [100.80.0.0/18], hosts: [n3]", "overlaps"),
    "cidr inside nothing": (
        "labels: {kind: batch}",
        "groups: [{name: x, cidrs: [100.90.0.0/16]}]",
        "x: 100.90.0.0/16 is in none of the cidrs of the group around it",
    ),
    "cidrs below a level": ("[groups, zone, subnet", "[zone, groups, subnet", "first level"),
    "tenant twice": (
        "tenants: [blue, blue-test]}",
        "tenants: [blue]}\n- {name: red, cidrs: [10.1.0.0/16], tenants: [blue]}",
        "namespace blue is a tenant of two ipv4 networks, blue and red",
    ),
    "tenants only": ("static:", "tenants: [x]\n  static:", "every network has tenants"),
    "tenant no name": ("[blue, blue-test]", "['']", r"networks\[1\]\.tenants\[0\]"),
    "static outside": ("100.64.0.10}", "10.0.0.1}", "should be a single address of the network"),
    "static prefix": ("100.64.0.10}", "100.64.0.0/24}", r"static\[0\]\.address: .*not an IP"),
    "static excluded": ("100.64.0.10}", "100.64.0.9}", "is excluded: leave it out of one"),
    "static twice": ('"fd00::10"', "100.64.0.11", "a name has one address of a family"),
    "static of two": (
        '{name: web/gateway, address: "fd00::10"}',
        "{name: db, address: 100.64.0.10}",
        "and an address one name",
    ),
    "static nameless": ("{name: web/gateway, address: 100.64.0.10}", "{address: 100.64.0.10}", "g"),
    "closed elsewhere": ('["fd00::/48"]\n-', '["fd01::/48"]\n-', "none of the network's cidrs"),
    "closed in part": ('["fd00::/48"]\n-', "[100.64.0.0/11]\n-", "none of the network's cidrs"),
    "closed in words": ('closed: ["fd00::/48"]', "closed: maybe", "should be true, false or"),
    "exclude backwards": ("100.64.1.0-100.64.1.200", "100.64.1.200-100.64.1.0", "is no range"),
    "exclude mixed": ("100.64.1.0-100.64.1.200", "100.64.1.0-fd00::1", "is no range"),
    "exclude elsewhere": ("[100.64.0.9,", "[10.0.0.9,", "lies in none of the network's cidrs"),
    "exclude no address": ("[100.64.0.9,", "[100.64.9,", r"exclude\[0\]: .*not an IP address"),
    "alias": ("groups:\n    - {name: left", "groups: &a\n    - *a\n    - {name: left", "alias"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_one_line_with_file_line_and_field(tmp_path: Path, name: str) -> None:
    old, new, message = BROKEN[name]
    assert FULL.count(old) == 1, "the piece to break is there once"
    with pytest.raises(BadInputError, match=message) as caught:
        load(tmp_path, FULL.replace(old, new))
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'cluster.yaml'}:")
    assert "networks" in text or "alias" in text
    assert "\n" not in text


def test_groups_that_nest_deeper_than_any_file_are_refused(tmp_path: Path) -> None:
    text = "{name: leaf}"
    for number in range(40):
        text = f"{{name: g{number}, groups: [{text}]}}"
    with pytest.raises(BadInputError, match="nested more than 20 deep"):
        load(tmp_path, f"networks: [{{name: pods, cidrs: [10.0.0.0/8], groups: [{text}]}}]\n")


def test_a_record_of_a_network_that_makes_no_sense_is_refused() -> None:
    good = json.loads(codec.encode(Network("n", (), {}, {}, topology=topology([ZONE]))))
    for field, value in (
        ("levels", "zone"),
        ("levels", ["planet"]),
        ("levels", [{"label": 1}]),
        ("groups", [{"hosts": ["x"]}]),
        ("groups", [{"name": "a", "weight": True}]),
        ("groups", [{"name": "a", "labels": {"x": 1}}]),
        ("groups", [{"name": "a", "reserve": {"ipv4": "x"}}]),
        ("groups", [{"name": "a"}, {"name": "a"}]),
        ("tenants", "everybody"),
        ("static", ["10.0.0.1"]),
        ("static", {"10.0.0.1": "x"}),
        ("closed", [1]),
    ):
        document: dict[str, Any] = {**good, field: value}
        with pytest.raises(BadInputError, match="holds no such record"):
            codec.decode("/networks/n", json.dumps(document).encode())


# Nodes that belong nowhere, or to two groups


def located(name: str, *groups: NamedGroup, **labels: str) -> list[str]:
    values = tuple(sorted(labels.items()))
    return [shown(one.path) for one in locate(topology((), groups), name, "s", values)]


def test_labels_that_match_no_group_or_two_are_named() -> None:
    one, two = NamedGroup("one", labels=(("a", "1"),)), NamedGroup("two", labels=(("b", "2"),))
    assert located("n", one, two, a="1") == ["group one, subnet s"]
    with pytest.raises(NoPlaceError, match="is taken by no group"):
        located("n", one, two, a="2")
    with pytest.raises(AmbiguousPlaceError, match="two groups, group one and group two"):
        located("n", one, two, a="1", b="2")


def test_a_group_that_asks_for_nothing_takes_the_rest() -> None:
    one, rest = NamedGroup("one", hosts=("n",)), NamedGroup("rest")
    assert located("n", one, rest) == ["group one, subnet s"]
    assert located("m", one, rest) == ["group rest, subnet s"]


def test_groups_that_ask_for_the_same_are_as_good_as_each_other() -> None:
    twins = [NamedGroup(name, labels=(("zone", "a"),)) for name in ("one", "two")]
    around = NamedGroup("around", groups=tuple(twins))
    assert located("n", around, zone="a") == [
        "group around, group one, subnet s",
        "group around, group two, subnet s",
    ]


@given(networks(), claims())
@settings(max_examples=examples(test=60, prove=20_000))
def test_places_are_those_that_the_fields_mean(drawn: tuple[Network, ...], claim: Claim) -> None:
    for network in drawn:
        try:
            expected = ways(network, claim.node, claim.subnet, dict(claim.labels))
        except LookupError:
            expected = None
        try:
            found = locate(network.topology, claim.node, claim.subnet, claim.labels)
        except AmbiguousPlaceError:
            assert expected is None or expected == []  # a label may be missing as well
        except NoPlaceError:
            assert expected == [] or expected is None
        else:
            assert expected is not None
            assert sorted(one.path for one in found) == sorted(expected)


def test_nodes_that_belong_nowhere_are_refused_by_name_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, command = Files(tmp_path), Runner(capsys)
    groups = (
        "groups: [{name: big, labels: {node.kubernetes.io/instance-type: m6i.2xlarge}}, "
        "{name: first, hosts: [node-a001]}]"
    )
    files.replace("cidrs: [100.64.0.0/10]", f"cidrs: [100.64.0.0/10], {groups}")
    ended = command("apply", "-f", files.cluster, "--yes")
    assert ended.code == 3
    assert "is taken by two groups, group big and group first" in ended.err
    assert "is taken by no group" in ended.err
    document = json.loads(command("blocks", "-f", files.cluster, "-o", "json").out)
    assert 0 < len(document["blocks"]) < 12
    assert "Traceback" not in ended.err


def test_an_error_of_the_file_is_one_line_of_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, command = Files(tmp_path), Runner(capsys)
    files.replace("cidrs: [100.64.0.0/10]", "cidrs: [100.64.0.0/10], levels: [planet]")
    ended = command("plan", "-f", files.cluster)
    assert ended.code == 2
    assert is_one_line(ended.err)


# Tenants, static addresses, reserves


def network(name: str, cidr: str, **fields: Any) -> Network:
    return replace(
        Network(name, (Prefix.parse(cidr),), {V4: 26, V6: 80}, {V4: 24, V6: 64}), **fields
    )


def test_a_namespace_has_its_own_networks_or_those_for_everybody() -> None:
    pods, pods6 = network("pods", "10.0.0.0/16"), network("pods6", "fd00::/48")
    blue = network("blue", "10.1.0.0/16", tenants=("a", "b"))
    everything = (pods, pods6, blue)
    assert networks_of_namespace(everything, "a") == {V4: (blue,), V6: (pods6,)}
    assert networks_of_namespace(everything, "c") == {V4: (pods,), V6: (pods6,)}
    assert networks_of_namespace((blue,), "c") == {}


def test_blocks_for_tenants_are_given_on_demand_by_name() -> None:
    pods, blue = network("pods", "10.0.0.0/16"), network("blue", "10.1.0.0/16", tenants=("a",))
    now = join(state("test", [pods, blue]), [Claim("n", "s1", "id")], {V4: 44}).state
    assert [str(block) for block in now.blocks("n")] == ["10.0.0.0/26"]
    now = grow(now, "n", 2, {V4: 44}, "blue").state
    assert [str(merged) for merged in merge(now.blocks("n"))] == ["10.0.0.0/26", "10.1.0.0/25"]
    now = grow(now, "n", 1, {V4: 44}).state
    assert sum(blue.cidrs[0].contains(block) for block in now.blocks("n")) == 2
    refused = grow(now, "n", 1, {V4: 44}, "red").refused
    assert "there is no network red" in refused[0].reason


def with_static(*addresses: tuple[str, str]) -> State:
    static = tuple(StaticAddress(name, Prefix.parse(text)) for name, text in addresses)
    pods = network("pods", "10.0.0.0/20", static=static)
    arriving = [Claim("n1", "s1", "id"), Claim("n2", "s1", "id"), Claim("m", "s2", "id")]
    return join(state("test", [pods]), arriving, {V4: 44}).state


def test_a_static_address_is_in_no_block_and_belongs_to_one_node_of_its_subnet() -> None:
    now = with_static(("web", "10.0.0.5/32"), ("dns", "10.0.0.6/32"))
    assert not any(Prefix.parse("10.0.0.5/32").overlaps(b) for b in now.blocks("n1"))
    now = grant_static(now, "web", "n1").state
    assert [str(prefix) for prefix in now.nodes["n1"].owned[:1]] == ["10.0.0.5/32"]
    assert grant_static(now, "web", "n1").state is now
    for name, node, message in (
        ("web", "n2", "is granted to node n1: release it first"),
        ("dns", "m", "is in a prefix of subnet s1, and node m is in subnet s2"),
        ("none", "n1", "there is no static address none"),
        ("web", "nobody", "node nobody is not known"),
    ):
        outcome = grant_static(now, name, node)
        assert outcome.state is now
        assert message in outcome.refused[0].reason


def test_a_static_address_where_nobody_is_brings_its_room_with_it() -> None:
    now = with_static(("far", "10.0.15.200/32"))
    assert not any(p.contains(Prefix.parse("10.0.15.200/32")) for p in now.prefixes("s1"))
    now = grant_static(now, "far", "n2").state
    assert Prefix.parse("10.0.15.0/24") in now.prefixes("s1")


def test_a_reserve_stays_free_for_its_group_until_it_needs_it() -> None:
    kept = NamedGroup("kept", hosts=("late",), reserve={V4: 18})
    pods = network("pods", "10.0.0.0/16", topology=topology((), [kept, NamedGroup("rest")]))
    arriving = [Claim(f"n{number:03}", "s1", "id") for number in range(192)]
    now = join(state("test", [pods]), arriving, {V4: 2000}).state
    assert sum(prefix.size for prefix in now.places["pods", ("group:kept",)].prefixes) == 1 << 14
    more = [Claim(f"x{number:03}", "s1", "id") for number in range(600)]
    outcome = join(now, [*more, Claim("late", "s1", "id")], {V4: 0})
    assert outcome.refused  # all others is full
    assert "late" in outcome.state.nodes


def test_a_group_has_room_by_its_weight() -> None:
    groups = [
        NamedGroup(name, hosts=(name,), weight=w) for name, w in (("a", 1), ("b", 2), ("c", 1))
    ]
    pods = network("pods", "10.0.0.0/16", topology=topology((), groups))
    arriving = [Claim(name, "s1", "id") for name in "abc"]
    now = join(state("test", [pods]), arriving, {V4: 44}).state
    assert [place.prefixes[0].length for place in now.places.values()] == [18, 17, 18]


# Extremes


@pytest.mark.parametrize(
    ("cidr", "block", "node", "count"),
    [
        ("10.0.0.7/32", 32, 32, 1),
        ("10.0.0.0/8", 28, 24, 200),
        ("10.0.0.0/8", 28, 28, 200),
        ("fd00::/48", 80, 64, 200),
        ("fd00::/48", 64, 64, 200),
    ],
)
def test_networks_of_extreme_sizes_are_divided(
    cidr: str, block: int, node: int, count: int
) -> None:
    prefix = Prefix.parse(cidr)
    for levels in ([ZONE], [SUBNET, RACK], [ZONE, SUBNET, RACK]):
        pods = Network(
            "pods",
            (prefix,),
            {prefix.family: block},
            {prefix.family: node},
            topology=topology(levels),
        )
        arriving = [
            Claim(f"n{n:03}", f"s{n % 3}", "id", (("rack", str(n % 7)), ("zone", str(n % 3))))
            for n in range(count)
        ]
        outcome = join(state("test", [pods]), arriving, {prefix.family: 44})
        assert not outcome.refused
        assert len({b for one in outcome.state.nodes.values() for b in one.blocks}) == count


def test_thousands_of_groups_are_all_served() -> None:
    count = examples(test=2_000, prove=10_000)
    groups = [NamedGroup(f"g{n}", labels=(("rack", f"r{n}"),)) for n in range(count)]
    pods = network("pods", "10.0.0.0/8", topology=topology((), groups))
    arriving = [Claim(f"n{n:05}", f"s{n % 3}", "id", (("rack", f"r{n}"),)) for n in range(count)]
    outcome = join(state("test", [pods]), arriving, {V4: 498})
    assert not outcome.refused
    assert len({outcome.state.blocks(claim.node) for claim in arriving}) == count
    assert len(outcome.state.places) == count


def test_thousands_of_groups_fit_into_a_file(tmp_path: Path) -> None:
    count = examples(test=2_000, prove=10_000)
    groups = "".join(f"  - {{name: g{n}, labels: {{rack: r{n}}}}}\n" for n in range(count))
    text = f"networks:\n- name: pods\n  cidrs: [10.0.0.0/8]\n  groups:\n{groups}"
    (pods,) = load(tmp_path, text)
    assert len(pods.topology.groups) == count
    assert codec.decode("/networks/pods", codec.encode(pods)) == pods


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_range_is_the_fewest_prefixes_with_its_addresses(first: int, size: int) -> None:
    found = spanned(V4, first, first + size)
    assert [a for p in found for a in range(p.value, p.last + 1)] == [
        *range(first, first + size + 1)
    ]
    assert merge(found) == found
