"""Host routes: changes lead from any present routes to the wanted ones and touch only ours."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cni.hostroutes import (
    PROTOCOL,
    HostRoute,
    PresentRoute,
    RouteChanges,
    route_changes,
    wanted_routes,
)
from ipam.prefix import Family, Prefix
from tests import generators

LINK, METRIC = 2, 50

Key = tuple[Prefix, int]


@st.composite
def wanted(draw: st.DrawFn) -> tuple[HostRoute, ...]:
    destinations = sorted(set(draw(generators.crowded_prefixes())))
    return tuple(HostRoute(d, draw(st.integers(1, 3))) for d in destinations)


@st.composite
def kernels(draw: st.DrawFn) -> dict[Key, PresentRoute]:
    """Routes as the kernel tells them apart: by destination and metric."""
    found: dict[Key, PresentRoute] = {}
    for destination in draw(generators.crowded_prefixes()):
        route = PresentRoute(
            destination,
            draw(st.none() | st.integers(1, 3)),
            draw(st.none() | st.integers(1, 3)),
            draw(st.sampled_from((2, 3, 4, PROTOCOL, PROTOCOL, PROTOCOL))),
            draw(st.sampled_from((0, METRIC, METRIC))),
        )
        found[destination, route.metric] = route
    return found


def applied(kernel: dict[Key, PresentRoute], changes: RouteChanges) -> dict[Key, PresentRoute]:
    after = dict(kernel)
    for put in changes.put:
        route = PresentRoute(put.destination, put.via, LINK, PROTOCOL, METRIC)
        after[put.destination, METRIC] = route
    for gone in changes.remove:
        del after[gone.destination, gone.metric]
    return after


@given(wanted(), kernels())
def test_changes_lead_to_the_wanted_routes(
    targets: tuple[HostRoute, ...], kernel: dict[Key, PresentRoute]
) -> None:
    changes = route_changes(targets, kernel.values(), LINK, METRIC)
    after = applied(kernel, changes)
    ours = {
        (r.destination, r.via, r.link, r.metric) for r in after.values() if r.protocol == PROTOCOL
    }
    possible = {
        (t.destination, t.via, LINK, METRIC)
        for t in targets
        if t.destination not in changes.in_the_way
    }
    assert ours == possible
    again = route_changes(targets, after.values(), LINK, METRIC)
    assert again == replace(changes, put=(), remove=())


@given(wanted(), kernels())
def test_routes_of_others_are_never_touched(
    targets: tuple[HostRoute, ...], kernel: dict[Key, PresentRoute]
) -> None:
    after = applied(kernel, route_changes(targets, kernel.values(), LINK, METRIC))
    foreign = {k: r for k, r in kernel.items() if r.protocol != PROTOCOL}
    assert {k: r for k, r in after.items() if r.protocol != PROTOCOL} == foreign


@given(wanted(), kernels())
def test_nothing_right_is_put_again(
    targets: tuple[HostRoute, ...], kernel: dict[Key, PresentRoute]
) -> None:
    for route in route_changes(targets, kernel.values(), LINK, METRIC).put:
        there = kernel.get((route.destination, METRIC))
        right = PresentRoute(route.destination, route.via, LINK, PROTOCOL, METRIC)
        assert there != right


def test_only_nodes_whose_address_is_known_are_wanted() -> None:
    near, silent, other = map(Prefix.parse, ("10.64.1.0/26", "10.64.2.0/26", "fd00::/80"))
    blocks = {"near": (near, other), "silent": (silent,)}
    uplinks = {"me": {Family.IPV4: 1}, "near": {Family.IPV4: 2}}
    assert wanted_routes(blocks, uplinks) == (HostRoute(near, 2),)
