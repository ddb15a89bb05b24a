"""A lab: real agents, pods, a planner and a kernel's route tables, through failures and repair."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family
from tests.labs import apply, forwarding, lab, snapshot
from vpcrouter.cluster import Cluster
from vpcrouter.fabric.port import Observation
from vpcrouter.lab.lab import AGENT, LINK, NODE, STORE, Lab
from vpcrouter.lab.layout import PODS, ROUTER, Machine, Size
from vpcrouter.lab.pinger import Pair, lost
from vpcrouter.lab.repair import repair
from vpcrouter.lab.trace import trace

pytestmark = pytest.mark.usefixtures("root")

# Six nodes in tables that take two entries for each zone: two of three forward.
SIZE = Size(zones=2, nodes=3, pods=1, quota=6, families=tuple(Family))


@pytest.fixture(scope="module")
def one(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:  # noqa: ARG001
    with lab(SIZE, tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(autouse=True)
def _whole_in_the_end(one: Lab) -> Iterator[None]:
    """Whatever a test breaks is healed again; no packet ever crossed the router twice."""
    yield
    for kind in (STORE, NODE, LINK, AGENT):
        for name in one.record.broken(kind):
            one.heal(kind, name)
    one.apply(apply)
    assert lost(one.ping_all()) == []
    assert one.crossings()[1] == 0


def observed(one: Lab) -> Observation:
    cluster = Cluster.open(one.record.cluster_file)
    try:
        return cluster.fabric.read()
    finally:
        cluster.close()


def forwarder(one: Lab) -> Machine:
    """A node of the second zone that forwards for others what comes from the first one."""
    return one.record.layout.machine(forwarding(one, one.record.layout.zones[1])[0])


def test_every_pod_reaches_every_pod(one: Lab) -> None:
    answers = one.ping_all()
    assert len(answers) == 6 * 5 * len(Family)
    assert lost(answers) == []


def test_packets_to_another_zone_cross_the_router_and_some_a_forwarder(one: Lab) -> None:
    before = one.crossings()[0]
    one.ping_all()
    assert one.crossings()[0] - before == 2 * (2 * 3 * 3) * len(Family)
    layout = one.record.layout
    source = one.record.space("a1-p1")
    ways = [
        trace(source, address)
        for state in one.pods()
        if state.pod.machine.zone.name == "b"
        for address in state.addresses
    ]
    machines = {m.address(f): m.name for m in layout.machines for f in Family}
    for way in ways:
        assert machines[way[0]] == "a1"
        assert way[1] == "?"  # the router, like a cloud's, says nothing
        assert all(machines[hop].startswith("b") for hop in way[2:-1])
    assert {len(way) for way in ways} == {4, 5}


def test_tables_hold_no_more_than_they_take(one: Lab) -> None:
    for table in observed(one).tables:
        for family in Family:
            assert 0 < table.counted(family) <= SIZE.quota - 2


def test_a_dead_forwarder_is_replaced_and_nobody_else_loses_a_ping(one: Lab) -> None:
    machine = forwarder(one)
    one.break_(NODE, machine.name)
    done = repair(one, lambda: one.apply(apply))
    assert done.behind > 0
    assert (done.left, done.others_lost) == (0, 0), done
    assert lost(one.ping_all()) == []
    assert all(state.cut_off for state in one.pods() if state.pod.machine == machine)
    one.heal(NODE, machine.name)
    assert all(not state.cut_off for state in one.pods())
    assert lost(one.ping_all()) == []  # its addresses are inside the cover of somebody


def test_a_cut_link_is_found_out_and_mended(one: Lab) -> None:
    machine = forwarder(one)
    one.break_(LINK, machine.name)
    assert machine.name not in one.apply(apply).reached
    assert lost(one.ping_all()) == []
    one.heal(LINK, machine.name)
    assert machine.name in one.apply(apply).reached


def test_without_its_agent_a_node_goes_on_forwarding(one: Lab) -> None:
    machine = forwarder(one)
    one.break_(AGENT, machine.name)
    assert lost(one.ping_all()) == []
    one.apply(apply)
    assert lost(one.ping_all()) == []


def test_with_the_store_away_nothing_changes_and_pods_start(one: Lab) -> None:
    before = observed(one)
    machine = forwarder(one)
    one.break_(STORE)
    with pytest.raises(UnavailableError):
        one.apply(apply)
    pod = one.record.layout.pods_of(machine)[0]
    one.stop_pod(pod)
    one.start_pod(pod)
    assert lost(one.ping_all()) == []
    one.heal(STORE)
    assert observed(one).tables == before.tables


def test_a_node_that_starts_with_the_store_away_forwards_for_others(one: Lab) -> None:
    before = observed(one)
    machine = forwarder(one)
    one.break_(STORE)
    one.break_(NODE, machine.name)
    missing = {pair.address for pair in lost(one.ping_all())}
    behind = [s for s in one.pods() if not s.cut_off and missing.issuperset(s.addresses)]
    assert behind  # nobody can repair the tables
    one.heal(NODE, machine.name)
    assert lost(one.ping_all()) == []
    one.heal(STORE)
    assert lost(one.ping_all()) == []
    assert observed(one).tables == before.tables


def test_what_nobody_owns_is_refused_without_coming_back(one: Lab) -> None:
    seen = snapshot(one)
    taken = {address for state in one.pods() for address in state.addresses}
    nobodys = [
        str(ip_address(prefix.last))
        for subnet in seen.subnets
        for prefix in subnet.prefixes
        if str(ip_address(prefix.last)) not in taken
    ]
    assert nobodys
    sources = [state for state in one.pods() if state.pod.number == 1]
    with one.pinger(sources) as pinger:
        pairs = [Pair(s.pod.name, address) for s in sources for address in nobodys]
        assert lost(pinger.ping(pairs, timeout=0.2)) == pairs


def test_the_lab_speaks_of_its_own_things_only(one: Lab) -> None:
    for state in one.pods():
        for address in state.addresses:
            family = Family.IPV6 if ":" in address else Family.IPV4
            assert ip_address(address) in ip_network(str(PODS[family]))
    for kind in (NODE, AGENT, LINK):
        with pytest.raises(BadInputError, match="no node 'z9': its nodes are a1 to b3"):
            one.break_(kind, "z9")
        with pytest.raises(BadInputError, match="is not broken"):
            one.heal(kind, "a1")
    one.break_(LINK, "a1")
    with pytest.raises(BadInputError, match="link a1 is broken already"):
        one.break_(LINK, "a1")
    one.break_(NODE, "a1")
    with pytest.raises(BadInputError, match="node a1 is off: heal it first"):
        one.break_(AGENT, "a1")


def test_probes_see_addresses_of_all_families(one: Lab) -> None:
    assert one.reached() == {machine.name for machine in one.record.layout.machines}
    assert one.record.space(ROUTER).exists()
