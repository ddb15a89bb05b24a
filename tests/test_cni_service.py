"""What an agent does besides pods: blocks, routes, masquerade, reports, metrics."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cni.firewall import Firewall
from cni.follower import Follower, Identity, Settings
from cni.hostroutes import PROTOCOL
from cni.last_known import FILE, LastKnownFile
from cni.plugin import TYPE
from cni.surroundings import agent_key, dump_uplinks, report_key
from cni.transit import Rules
from ipam.allocator import Allocator
from ipam.errors import UnavailableError
from ipam.model import Claim
from ipam.prefix import Family, Prefix, parse_address
from ipam.service import Addresses
from ipam.store.memory import MemoryStore, MemoryWatch
from ipam.store.port import Put, RangeResult
from ipam.store.sqlite import SqliteStore
from tests.cni_nodes import BUDGET, NETWORK, Node, addresses_of, admit, give_uplink, need_nft
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def node(root: None, tmp_path: Path) -> Iterator[Node]:  # noqa: ARG001
    need_nft()
    with namespaces(1) as (space,):
        give_uplink(space)
        made = Node("node-1", space, tmp_path, tmp_path / "store")
        yield made
        made.stop()


@pytest.fixture
def pods(root: None) -> Iterator[tuple[Namespace, ...]]:  # noqa: ARG001
    with namespaces(2) as made:
        yield made


def routes(node: Node) -> set[str]:
    with node.space.kernel() as kernel:
        return {
            f"{route.get('dst')}/{route['dst_len']}"
            for family in (2, 10)
            for route in kernel.get_routes(family=family)
            if route.get("gateway") and route["proto"] == PROTOCOL
        }


def rules(node: Node, *arguments: str) -> str:
    done = subprocess.run(
        ("nsenter", f"--net={node.space.path}", "nft", *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_node_that_registers_gets_blocks_and_serves(
    node: Node, pods: tuple[Namespace, ...]
) -> None:
    node.options = ("--subnet", "subnet-1", "--label", "zone=a")
    node.launch()
    store = SqliteStore(node.store)
    owners = Addresses(store, "test", [NETWORK])
    allocator = Allocator(store, owners)
    eventually((node.bin / TYPE).exists)
    assert not node.conf.exists()  # no pod could start yet
    eventually(lambda: node.scrape("/healthz")[0] == 503)
    admit(node.store, [])
    eventually(lambda: bool(allocator.run(BUDGET).state.nodes))
    eventually(lambda: any(node.conf.glob("*.conflist")))
    assert node.call("ADD", "c1", pods[0].path)[0] == 0
    assert node.scrape("/healthz") == (200, "ok\n")
    eventually(lambda: store.get(report_key("node-1", "i-node-1")) is not None)
    assert [item.key for item in store.range("/alive/").items] == ["/alive/node-1/i-node-1"]
    store.close()


def test_a_neighbours_new_block_becomes_a_route_and_stays_one(node: Node) -> None:
    claims = [Claim("node-1", "subnet-1", "i-node-1"), Claim("node-2", "subnet-1", "i-node-2")]
    admit(node.store, claims)
    store = SqliteStore(node.store)
    uplinks = dict(map(parse_address, ("192.0.2.11", "2001:db8::11")))
    store.txn([], [Put(agent_key("subnet-1", "node-2"), dump_uplinks("i-node-2", uplinks))])
    node.start()
    owners = Addresses(store, "test", [NETWORK])
    theirs = {str(block) for block in owners.load().blocks("node-2")}
    eventually(lambda: routes(node) == theirs)
    owners.grow("node-2", 1, BUDGET)
    theirs = {str(block) for block in owners.load().blocks("node-2")}
    eventually(lambda: routes(node) == theirs)
    item = store.get("/nodes/node-2")
    assert item is not None
    revision = item.mod_revision
    eventually(lambda: int(str(reported(store)["revision"])) >= revision)
    assert reported(store)["unrouted"] == []
    # Somebody has a route of his own in the way: that block is reported until his is gone.
    block = min(r for r in theirs if "." in r)
    with node.space.kernel() as kernel:
        kernel.route("replace", dst=block, gateway="192.0.2.77", proto=4, priority=50)
    eventually(lambda: reported(store)["unrouted"] == [block])
    with node.space.kernel() as kernel:
        kernel.route("del", dst=block, proto=4, priority=50)
    eventually(lambda: reported(store)["unrouted"] == [])
    # Somebody removes a route, and the rules: both come back.
    with node.space.kernel() as kernel:
        kernel.route("del", dst=min(r for r in theirs if "." in r), proto=PROTOCOL, priority=50)
    rules(node, "flush", "table", "inet", "vpcrouter")
    eventually(lambda: routes(node) == theirs)
    eventually(lambda: "notrack" in rules(node, "list", "ruleset"))
    owners.leave(["node-2"])
    eventually(lambda: routes(node) == set())
    store.close()


def reported(store: SqliteStore) -> dict[str, object]:
    item = store.get(report_key("node-1", "i-node-1"))
    found: dict[str, object] = json.loads(item.value) if item is not None else {"revision": 0}
    return found


def test_only_what_leaves_the_networks_is_masqueraded(
    node: Node, pods: tuple[Namespace, ...]
) -> None:
    admit(node.store, [Claim("node-1", "subnet-1", "i-node-1")])
    node.options = ("--keep-source", "203.0.113.0/24")
    node.start()
    _, result = node.call("ADD", "c1", pods[0].path)
    address = addresses_of(result)[0]
    eventually(lambda: "masquerade" in rules(node, "list", "table", "inet", "vpcrouter"))
    rules(node, "add", "table", "inet", "seen")
    rules(node, "add chain inet seen out { type filter hook postrouting priority 300; }")
    for saddr in (address, "192.0.2.10"):
        for daddr in ("198.51.100.1", "203.0.113.1", "10.64.255.1"):
            rule = f"add rule inet seen out ip saddr {saddr} ip daddr {daddr} counter"
            rules(node, rule)
    with node.space.kernel() as kernel:
        outside = kernel.link_lookup(ifname="uplink")[0]
        for daddr in ("198.51.100.1", "203.0.113.1", "10.64.255.1"):
            kernel.neigh("add", dst=daddr, lladdr="02:00:00:00:00:01", ifindex=outside)
            assert not pods[0].ping(daddr, timeout=0.1)
    listed = rules(node, "list", "chain", "inet", "seen", "out")
    passed = re.findall(r"ip saddr (\S+) ip daddr (\S+) counter packets [1-9]", listed)
    assert set(passed) == {
        ("192.0.2.10", "198.51.100.1"),
        (address, "203.0.113.1"),
        (address, "10.64.255.1"),
    }


def test_metrics_are_what_prometheus_reads(node: Node, pods: tuple[Namespace, ...]) -> None:
    admit(node.store, [Claim("node-1", "subnet-1", "i-node-1")])
    node.start()
    node.call("ADD", "c1", pods[0].path)
    node.call("ADD", "c2", "/gone")
    status, text = node.scrape("/metrics")
    assert status == 200
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? \S+', line)
    assert 'vpcrouter_cni_requests_total{code="0",command="ADD"} 1' in text
    assert 'vpcrouter_cni_requests_total{code="3",command="ADD"} 1' in text
    assert "vpcrouter_pods 1\n" in text
    assert 'vpcrouter_free_addresses{family="ipv4"} 63' in text
    assert node.scrape("/else")[0] == 404


class Away(MemoryStore):
    """A store that can go away."""

    is_away = False

    def range(self, prefix: str) -> RangeResult:
        self._check()
        return super().range(prefix)

    def watch(self, prefix: str, after_revision: int) -> MemoryWatch:
        self._check()
        return super().watch(prefix, after_revision)

    def _check(self) -> None:
        if self.is_away:
            raise UnavailableError("the store is away: bring it back")


@contextmanager
def following(node: Node, store: Away) -> Iterator[Follower]:
    """An agent's follower, of a node that has started just now."""
    with node.space.entered():
        follower = Follower(
            *(lambda: store, None, lambda _: {}, Identity("node-1", "i-node-1")),
            *(Settings("", None), LastKnownFile(node.folder / FILE, "node-1", "i-node-1")),
        )
        follower.start()
    try:
        yield follower
    finally:
        follower.stop()


def test_with_the_store_away_what_others_change_is_set_right(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cni.follower._CHECK", 0.5)
    store = Away()
    claims = [Claim("node-1", "subnet-1", "i-node-1")]
    assert not Addresses(store, "test", [NETWORK]).join(claims, BUDGET).refused
    with following(node, store) as follower:
        eventually(lambda: "notrack" in rules(node, "list", "ruleset"))
        store.is_away = True
        eventually(lambda: follower.standing.failures > 0)
        rules(node, "flush", "ruleset")
        with node.space.kernel() as kernel:
            kernel.rule("del", family=2, priority=1171)
        eventually(lambda: "notrack" in rules(node, "list", "ruleset"))
        with node.space.kernel() as kernel:
            assert 1171 in {rule.get("priority") for rule in kernel.get_rules(family=2)}


UNREACHABLE = 7


def refused(node: Node) -> set[Prefix]:
    """The blocks for which this node has a route that refuses."""
    with node.space.kernel() as kernel:
        return {
            Prefix.parse(f"{route.get('dst')}/{route['dst_len']}")
            for family in (2, 10)
            for route in kernel.get_routes(family=family)
            if route["proto"] == PROTOCOL and route["type"] == UNREACHABLE
        }


def test_a_new_block_is_refused_before_the_rules_for_transit_let_it_pass(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[int, set[Prefix]]] = []
    load = Firewall.load

    def observed(firewall: Firewall, rules: Rules) -> None:
        loaded.append((len(rules.own), set(rules.own) - refused(node)))
        load(firewall, rules)

    monkeypatch.setattr(Firewall, "load", observed)
    store = Away()
    owners = Addresses(store, "test", [NETWORK])
    assert not owners.join([Claim("node-1", "subnet-1", "i-node-1")], BUDGET).refused
    with following(node, store):
        eventually(lambda: bool(loaded))
        before = loaded[-1][0]
        assert not owners.grow("node-1", 1, BUDGET).refused
        eventually(lambda: loaded[-1][0] > before)
    assert not any(missing for _, missing in loaded)


def lose_power(node: Node) -> None:
    """What was in the kernel is gone; what is on the disk stays."""
    rules(node, "flush", "ruleset")
    with node.space.kernel() as kernel:
        for family in (2, 10):
            kernel.flush_routes(family=family, proto=PROTOCOL)
            kernel.flush_rules(family=family, priority=1170)
            kernel.flush_rules(family=family, priority=1171)
    with node.space.entered():
        FORWARDING.write_text("0")


FORWARDING = Path("/proc/sys/net/ipv4/conf/all/forwarding")


def forwards(node: Node) -> bool:
    with node.space.entered():
        on = FORWARDING.read_text().strip() == "1"
    with node.space.kernel() as kernel:
        found = {rule.get("priority") for rule in kernel.get_rules(family=2)}
    return on and {1170, 1171} <= found and "notrack" in rules(node, "list", "ruleset")


def test_a_node_that_starts_with_the_store_away_forwards_as_before(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cni.follower._CHECK", 0.5)
    store = Away()
    names = ("node-1", "node-2", "node-3")
    owners = Addresses(store, "test", [NETWORK])
    assert not owners.join([Claim(n, "subnet-1", f"i-{n}") for n in names], BUDGET).refused
    for name, address in (("node-2", "192.0.2.11"), ("node-3", "192.0.2.12")):
        uplinks = dict([parse_address(address)])
        store.txn([], [Put(agent_key("subnet-1", name), dump_uplinks(f"i-{name}", uplinks))])
    with following(node, store) as follower:
        eventually(lambda: len(routes(node)) == 2)
        eventually((node.folder / FILE).exists)
    before = routes(node)
    lose_power(node)
    assert not forwards(node)
    owners.leave(["node-3"])  # nobody tells the node
    store.is_away = True
    with following(node, store) as follower:
        eventually(lambda: routes(node) == before)
        eventually(lambda: forwards(node))
        assert follower.standing.stale == 2
        lose_power(node)  # or somebody changes something
        eventually(lambda: routes(node) == before and forwards(node))
        store.is_away = False
        eventually(lambda: follower.standing.routes == 1)
        assert routes(node) == {str(b) for b in owners.load().blocks("node-2") if "." in str(b)}
        assert follower.standing.stale == 0


def known_with_a_neighbour(node: Node) -> Away:
    """A store with this node and another one, of which the disk has been told."""
    store = Away()
    owners = Addresses(store, "test", [NETWORK])
    owners.join([Claim(n, "subnet-1", f"i-{n}") for n in ("node-1", "node-2")], BUDGET)
    uplinks = dict(map(parse_address, ("192.0.2.11", "2001:db8::11")))
    store.txn([], [Put(agent_key("subnet-1", "node-2"), dump_uplinks("i-node-2", uplinks))])
    with following(node, store):
        eventually(lambda: len(routes(node)) == 2)
        eventually((node.folder / FILE).exists)
    return store


def test_a_new_start_of_the_agent_removes_nothing_for_what_it_knew(node: Node) -> None:
    store = known_with_a_neighbour(node)
    before, table = routes(node), rules(node, "list", "ruleset")
    store.is_away = True
    known = LastKnownFile(node.folder / FILE, "node-1", "i-node-1")
    was = known.read()
    assert was is not None
    for old in (None, replace(was, routes=()), replace(was, routes=(), blocks=(), ranges=())):
        if old is None:
            (node.folder / FILE).write_text("{}")
        else:
            known.write(old)
        with following(node, store) as follower:
            eventually(lambda of=follower: of.standing.failures > 0)  # type: ignore[misc]
        assert routes(node) == before
        assert rules(node, "list", "ruleset") == table


def test_what_was_known_stays_where_the_store_knows_the_node_no_more(node: Node) -> None:
    known_with_a_neighbour(node)
    before = routes(node)
    lose_power(node)
    with following(node, Away()) as follower:
        eventually(lambda: routes(node) == before)
        eventually(lambda: follower.standing.heard > 0)
        assert routes(node) == before


def test_routes_alone_under_another_plugin(node: Node) -> None:
    claims = [Claim("node-1", "subnet-1", "i-node-1"), Claim("node-2", "subnet-1", "i-node-2")]
    admit(node.store, claims)
    store = SqliteStore(node.store)
    uplinks = {Family.IPV4: parse_address("192.0.2.11")[1]}
    store.txn([], [Put(agent_key("subnet-1", "node-2"), dump_uplinks("i-node-2", uplinks))])
    node.options = ("--routes-only",)
    node.launch()
    eventually(lambda: len(routes(node)) == 1)
    eventually(lambda: "notrack" in rules(node, "list", "ruleset"))
    assert "masquerade" not in rules(node, "list", "ruleset")
    assert not node.conf.exists()
    assert not node.socket.exists()
    assert node.scrape("/healthz")[0] == 200
    eventually(lambda: len(json.loads(json.dumps(reported(store)["unrouted"]))) == 1)
    store.close()
