"""Divided networks through whole histories, beside a model that only knows who owns what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import hypothesis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from ipam.errors import BadInputError
from ipam.model import Claim, Network, State, state
from ipam.networks import changed
from ipam.placement import grow, join, leave, release
from ipam.prefix import Family, Prefix, merge
from ipam.static import grant_static, release_static
from ipam.topology import (
    GROUPS,
    PLAIN,
    SUBNET,
    Level,
    LevelKind,
    NamedGroup,
    StaticAddress,
    Topology,
    topology,
)
from tests.address_checks import assert_disjoint, assert_lineage, assert_sound
from tests.counts import examples
from tests.topologies import (
    NAMES,
    assert_places_sound,
    claims,
    is_in_place,
    networks,
    ranges,
    room_for,
    topologies,
    ways,
)

V4 = Family.IPV4

budgets = st.fixed_dictionaries({family: st.integers(0, 40) for family in Family})
Owner = tuple[str, str]


def edited(group: NamedGroup, kind: str) -> list[NamedGroup]:
    """What becomes of a group: its parts, one without parts, a wider one, or nothing."""
    if kind == "split":
        part = replace(group, groups=(), cidrs=())
        halves = (replace(part, name="left"), replace(part, name="right"))
        return [replace(group, groups=halves, reserve={})]
    if kind == "merge":
        return [replace(group, groups=())]
    if kind == "grow":
        return [replace(group, weight=group.weight * 2)]
    if kind == "reserve":
        return [replace(group, reserve={f: f.width - 3 for f in Family})]
    return []


class History(RuleBasedStateMachine):
    """Joins, departures, growth, and every change of networks and topologies in between."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: dict[Prefix, Owner] = {}
        self.present: dict[str, Claim] = {}
        self.now: State = state("test", ())
        self.past: list[State] = []

    @initialize(drawn=networks())
    def begin(self, drawn: tuple[Network, ...]) -> None:
        self.now = state("test", drawn)

    # Nodes

    @rule(batch=st.lists(claims(), max_size=10, unique_by=lambda c: c.node), budget=budgets)
    def nodes_join(self, batch: list[Claim], budget: dict[Family, int]) -> None:
        before = self.now
        outcome = join(before, batch, budget)
        self.now = outcome.state
        refused = {refusal.node: refusal.reason for refusal in outcome.refused}
        for claim in batch:
            known = before.nodes.get(claim.node)
            owner = claim.node, claim.identity
            if claim.node in refused:
                assert self.now.nodes.get(claim.node) == known
                self.check_refusal(before, claim, refused[claim.node])
            elif known is not None and known.identity == claim.identity:
                assert self.now.nodes[claim.node].blocks == known.blocks
                self.present[claim.node] = structs.replace(
                    claim, labels=claim.labels or known.labels
                )
            elif owner in before.former:
                assert self.now.nodes[claim.node].owned == before.former[owner].owned
                self.present[claim.node] = claim
            else:
                self.check_joined(claim)

    def check_joined(self, claim: Claim) -> None:
        node = self.now.nodes[claim.node]
        wanted = [family for family in self.now.families if self.open_networks(family)]
        assert wanted
        assert sorted(block.family for block in node.blocks) == sorted(wanted)
        for block in node.blocks:
            assert block not in self.owner
            assert is_in_place(self.now, node, block)
            assert not self.is_closed(block)
            self.owner[block] = claim.node, claim.identity
        self.present[claim.node] = claim

    def is_closed(self, block: Prefix) -> bool:
        return any(cidr.contains(block) for n in self.now.networks for cidr in n.closed)

    def check_refusal(self, before: State, claim: Claim, reason: str) -> None:
        """It is elsewhere already, belongs nowhere, to two groups, or there is no room."""
        known = [*before.former.values(), *before.nodes.values()]
        if any((o.name, o.identity) == (claim.node, claim.identity) for o in known):
            assert "release it first" in reason
            return
        belongs: list[bool] = []
        for family in before.families:
            candidates = self.open_networks(family)
            try:
                found = [ways(n, claim.node, claim.subnet, dict(claim.labels)) for n in candidates]
            except LookupError:
                assert "two groups" in reason or "label" in reason or "no group" in reason
                return
            belongs.append(not candidates or any(found))
        if not any(map(self.open_networks, before.families)):
            assert "no network that is open" in reason
            return
        if not all(belongs):
            assert "label" in reason or "no group" in reason
            return
        rooms = [
            room_for(self.now, family, claim, claim.node)
            for family in before.families
            if self.open_networks(family)
        ]
        assert not all(rooms), (reason, rooms)

    def open_networks(self, family: Family) -> list[Network]:
        return [
            network
            for network in self.now.networks
            if not network.tenants
            and any(c.family is family and c not in network.closed for c in network.cidrs)
        ]

    @precondition(lambda self: self.present)
    @rule(data=st.data(), blocks=st.integers(1, 3), budget=budgets)
    def a_node_grows(self, data: st.DataObject, blocks: int, budget: dict[Family, int]) -> None:
        name = data.draw(st.sampled_from(sorted(self.present)))
        before, node = self.now, self.now.nodes[name]
        outcome = grow(before, name, blocks, budget)
        if outcome.refused:
            assert outcome.state is before
            self.check_no_growth(name, blocks)
            return
        self.now = outcome.state
        grown = self.now.nodes[name]
        assert set(node.blocks) <= set(grown.blocks)
        homes = before.node_prefixes(name)
        for block in set(grown.blocks) - set(node.blocks):
            assert block not in self.owner
            assert is_in_place(self.now, grown, block) or any(h.contains(block) for h in homes)
            assert not self.is_closed(block)
            self.owner[block] = name, node.identity

    def check_no_growth(self, name: str, blocks: int) -> None:
        """One of the families had too little, or the node belongs nowhere any more."""
        node = self.now.nodes[name]
        families = [family for family in self.now.families if self.open_networks(family)]
        for family in families:
            try:
                found = [
                    ways(network, name, node.subnet, dict(node.labels))
                    for network in self.open_networks(family)
                ]
            except LookupError:
                return
            if not any(found):
                return
        rooms = [room_for(self.now, family, node, name) for family in families]
        assert blocks > 1 or not families or not all(rooms), rooms

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=6))
    def nodes_leave(self, names: list[str]) -> None:
        self.now = leave(self.now, names)
        for name in set(names) & self.present.keys():
            self.forget((name, self.present.pop(name).identity))

    @precondition(lambda self: self.now.former)
    @rule(data=st.data())
    def a_former_node_is_released(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.now.former)))
        self.now = release(self.now, [owner])
        self.forget(owner)

    def forget(self, owner: Owner) -> None:
        self.owner = {block: one for block, one in self.owner.items() if one != owner}

    # Networks

    def change(self, edit: Callable[[list[Network]], Sequence[Network]]) -> None:
        """Other networks, unless they are refused; nobody's addresses change by that."""
        try:
            after = changed(self.now, tuple(edit(list(self.now.networks))))
        except BadInputError:
            return
        for before, owners in ((self.now.nodes, after.nodes), (self.now.former, after.former)):
            assert before == owners
        self.now = after

    @rule(data=st.data(), divided=topologies())
    def a_network_is_divided_otherwise(self, data: st.DataObject, divided: Topology) -> None:
        position = data.draw(st.integers(0, len(self.now.networks) - 1))
        wanted = data.draw(st.sampled_from([divided, divided, PLAIN]))
        self.replace(position, replace(self.now.networks[position], topology=wanted))

    @rule(data=st.data(), bits=st.integers(1, 3))
    def a_group_gets_a_range_of_its_own(self, data: st.DataObject, bits: int) -> None:
        grouped = [p for p, n in enumerate(self.now.networks) if n.topology.levels[0] == GROUPS]
        if not grouped:
            return
        position = data.draw(st.sampled_from(grouped))
        network = self.now.networks[position]
        cidr = data.draw(st.sampled_from(network.cidrs))
        length = min(cidr.length + bits, max(cidr.length, network.node[cidr.family]))
        part = Prefix(cidr.family, data.draw(st.integers(cidr.value, cidr.last)), cidr.family.width)
        groups = list(network.topology.groups)
        index = data.draw(st.integers(0, len(groups) - 1))
        others = [c for c in groups[index].cidrs if c.family is not cidr.family]
        groups[index] = replace(groups[index], cidrs=(*others, part.ancestor(length)))
        try:
            divided = topology(network.topology.levels, groups)
        except BadInputError:  # another group has some of it
            return
        self.replace(position, replace(network, topology=divided))

    @rule(data=st.data(), kind=st.sampled_from(["split", "merge", "grow", "end", "reserve"]))
    def a_group_is_edited(self, data: st.DataObject, kind: str) -> None:
        grouped = [p for p, n in enumerate(self.now.networks) if n.topology.groups]
        if not grouped:
            return
        position = data.draw(st.sampled_from(grouped))
        network = self.now.networks[position]
        groups = list(network.topology.groups)
        index = data.draw(st.integers(0, len(groups) - 1))
        groups[index : index + 1] = edited(groups[index], kind)
        if groups:
            divided = topology(network.topology.levels, groups)
            self.replace(position, replace(network, topology=divided))

    @precondition(lambda self: len(self.now.networks) < 4)
    @rule(drawn=networks(), tenants=st.sampled_from([(), ("blue",)]))
    def a_network_is_added(self, drawn: tuple[Network, ...], tenants: tuple[str, ...]) -> None:
        number = len(self.now.networks)
        shift = (100 + number) << 8
        cidrs = tuple(structs.replace(c, value=c.value + shift) for c in drawn[0].cidrs)
        more = replace(drawn[0], name=f"net{number}", cidrs=cidrs, exclude=(), tenants=tenants)
        self.change(lambda known: [*known, more])

    @precondition(lambda self: len(self.now.networks) > 1)
    @rule()
    def the_last_network_is_taken_away(self) -> None:
        self.change(lambda known: known[:-1])

    @precondition(lambda self: self.present)
    @rule(data=st.data(), blocks=st.integers(1, 2))
    def a_node_grows_in_a_network_for_tenants(self, data: st.DataObject, blocks: int) -> None:
        owned = [network for network in self.now.networks if network.tenants]
        name = data.draw(st.sampled_from(sorted(self.present)))
        if not owned:
            return
        before, node = self.now, self.now.nodes[name]
        outcome = grow(before, name, blocks, {}, owned[0].name)
        self.now = outcome.state
        new = set(self.now.blocks(name)) - set(node.blocks)
        assert (not new) == bool(outcome.refused)
        for block in new:
            assert any(cidr.contains(block) for cidr in owned[0].cidrs)
            self.owner[block] = name, node.identity

    @rule(data=st.data(), family=st.sampled_from(list(Family)))
    def a_range_is_added(self, data: st.DataObject, family: Family) -> None:
        position = data.draw(st.integers(0, len(self.now.networks) - 1))
        number = 2 + sum(len(network.cidrs) for network in self.now.networks)
        cidr = data.draw(ranges(family, number))
        network = self.now.networks[position]
        self.replace(position, replace(network, cidrs=(*network.cidrs, cidr)))

    @rule(data=st.data())
    def a_range_is_closed_or_opened(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.now.networks) - 1))
        network = self.now.networks[position]
        closed = data.draw(st.sets(st.sampled_from(network.cidrs)))
        self.replace(position, replace(network, closed=tuple(sorted(closed))))

    @rule(data=st.data())
    def a_range_is_taken_away(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.now.networks) - 1))
        network = self.now.networks[position]
        left = tuple(data.draw(st.sets(st.sampled_from(network.cidrs), min_size=1)))
        closed = tuple(cidr for cidr in network.closed if cidr in left)
        gone = set(network.cidrs) - set(left)
        exclude = tuple(e for e in network.exclude if not any(c.contains(e) for c in gone))
        static = tuple(s for s in network.static if not any(c.contains(s.prefix) for c in gone))
        self.replace(
            position,
            replace(
                network, cidrs=tuple(sorted(left)), closed=closed, exclude=exclude, static=static
            ),
        )

    def replace(self, position: int, network: Network) -> None:
        self.change(lambda known: [*known[:position], network, *known[position + 1 :]])

    # Static addresses

    @rule(data=st.data(), name=st.sampled_from(["web", "db", "dns"]))
    def a_static_address_is_added(self, data: st.DataObject, name: str) -> None:
        position = data.draw(st.integers(0, len(self.now.networks) - 1))
        network = self.now.networks[position]
        cidr = data.draw(st.sampled_from(network.cidrs))
        value = data.draw(st.integers(cidr.value, cidr.last))
        address = StaticAddress(name, Prefix(cidr.family, value, cidr.family.width))
        self.replace(position, replace(network, static=(*network.static, address)))

    @precondition(lambda self: self.present)
    @rule(data=st.data(), name=st.sampled_from(["web", "db", "dns", "none"]))
    def a_static_address_is_granted(self, data: st.DataObject, name: str) -> None:
        node = data.draw(st.sampled_from(sorted(self.present)))
        holders = [o.name for o in self.now.owners() for p in o.static if p in self.addresses(name)]
        outcome = grant_static(self.now, name, node)
        if outcome.refused:
            assert outcome.state is self.now
            return
        self.now = outcome.state
        assert set(self.now.nodes[node].static) >= self.addresses(name) != set()
        assert set(holders) <= {node}

    @rule(name=st.sampled_from(["web", "db", "dns"]))
    def a_static_address_is_released(self, name: str) -> None:
        self.now = release_static(self.now, name)
        assert not any(p in self.addresses(name) for o in self.now.owners() for p in o.static)

    def addresses(self, name: str) -> set[Prefix]:
        return {a.prefix for n in self.now.networks for a in n.static if a.name == name}

    # Always

    @invariant()
    def whose_names_were_touched_is_known(self) -> None:
        self.past = assert_lineage(self.past, self.now)

    @invariant()
    def everything_is_sound(self) -> None:
        assert_sound(self.now)
        assert_places_sound(self.now)
        assert_disjoint(tuple(prefix for owner in self.now.owners() for prefix in owner.owned))
        for owner in self.now.owners():
            for prefix in owner.static:
                assert any(p.contains(prefix) for p in self.now.prefixes(owner.subnet))

    @invariant()
    def everybody_owns_what_was_given(self) -> None:
        assert self.owner == {
            block: (owner.name, owner.identity)
            for owner in self.now.owners()
            for block in owner.blocks
        }
        assert self.present.keys() == self.now.nodes.keys()


def test_histories(seed: int) -> None:
    counts = settings(max_examples=examples(test=40, prove=4_000), stateful_step_count=20)
    run_state_machine_as_test(hypothesis.seed(seed)(History), settings=counts)


def test_with_most_node_prefixes_taken_nodes_of_racks_keep_few_routes(seed: int) -> None:
    """Joins, departures and growths (two, two and one in five) with 80 % of the space in use."""
    random = Random(seed)
    levels = [Level(LevelKind.LABEL, "zone"), SUBNET, Level(LevelKind.LABEL, "rack")]
    cidr = Prefix.parse("100.64.0.0/14")  # 1,024 node prefixes
    pods = Network("pods", (cidr,), {V4: 26}, {V4: 24}, topology=topology(levels))
    arriving = [_somewhere(random, f"n{number:05}") for number in range(819)]
    now = join(state("test", [pods]), arriving, {V4: 498}).state
    for number in range(examples(test=300, prove=10_000)):
        kind = random.choice("jjllg")
        if kind == "g":
            outcome = grow(now, random.choice(sorted(now.nodes)), 1, {V4: 498})
        elif kind == "l" and len(now.nodes) >= 819:
            now = leave(now, [random.choice(sorted(now.nodes))])
            continue
        elif kind == "j" and len(now.nodes) <= 819:
            outcome = join(now, [_somewhere(random, f"new{number:05}")], {V4: 498})
        else:
            continue
        assert not outcome.refused
        now = outcome.state
    assert_sound(now)
    assert_places_sound(now)
    routes = sum(len(merge(node.blocks)) for node in now.nodes.values())
    assert routes <= 1.2 * len(now.nodes)


def _somewhere(random: Random, name: str) -> Claim:
    zone, rack = random.randrange(3), random.randrange(8)
    return Claim(name, f"s{zone}", "id", (("rack", f"{zone}-{rack}"), ("zone", str(zone))))
