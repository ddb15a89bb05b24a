"""Who belongs to a cluster: nothing is released because it is missing, only because it is gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.model import Claim, Network, State
from ipam.model import Node as Owner
from ipam.model import state as make_state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from tests.vpcs import observe, vpc_document
from vpcrouter.fabric.port import InstanceState, NetworkInterface, Observation
from vpcrouter.matching import NO_ADDRESS, NO_INTERFACE, Inventory, KubernetesNode
from vpcrouter.membership import MANY_VANISHED, NOT_LISTED, RENAMED, compare
from vpcrouter.problems import Problem

NETWORK = Network(
    "pods",
    (Prefix.parse("100.64.0.0/10"),),
    {Family.IPV4: 26, Family.IPV6: 80},
    {Family.IPV4: 24, Family.IPV6: 64},
)


@pytest.fixture
def vpc(tmp_path: Path) -> Observation:
    return observe(tmp_path, vpc_document())


def kubernetes(instance: str, name: str = "", *, ready: bool = True) -> KubernetesNode:
    """The node of an instance of the test VPC such as ``i-a0``."""
    zone, number = instance[2:3], int(instance[3:])
    address = f"10.0.{16 if zone == 'b' else 0}.{number + 4}"
    return KubernetesNode(
        name=name or f"node-{zone}{number}",
        uid=None,
        instance=instance,
        addresses=((Family.IPV4, address),),
        spot=False,
        cordoned=False,
        leaving=False,
        ready=ready,
    )


def inventory(*instances: str) -> Inventory:
    return Inventory(tuple(kubernetes(instance) for instance in instances), ())


def joined(claims: Iterable[Claim]) -> State:
    outcome = join(make_state("test", [NETWORK]), claims, {Family.IPV4: 50})
    assert not outcome.refused
    return outcome.state


def state_of(*instances: str) -> State:
    return joined(Claim(f"node-{i[2:]}", f"subnet-{i[2]}", i) for i in instances)


def with_instance(vpc: Observation, name: str, state: InstanceState | None) -> Observation:
    instances = {**vpc.instances, name: state}
    return replace(vpc, instances={n: s for n, s in instances.items() if s is not None})


def without_interface(vpc: Observation, name: str) -> Observation:
    return replace(vpc, interfaces=tuple(i for i in vpc.interfaces if i.id != name))


def test_a_listed_node_with_an_interface_claims_a_place_in_its_subnet(vpc: Observation) -> None:
    found = compare(vpc, inventory("i-a0", "i-b1"), state_of())
    assert found.claims == (
        Claim("node-a0", "subnet-a", "i-a0"),
        Claim("node-b1", "subnet-b", "i-b1"),
    )
    assert {name: member.interface.id for name, member in found.members.items()} == {
        "node-a0": "eni-a0",
        "node-b1": "eni-b1",
    }
    assert (found.gone, found.problems, found.notes) == ((), (), ())


def test_no_nodes_and_no_state_are_nothing_at_all(vpc: Observation) -> None:
    found = compare(vpc, inventory(), state_of())
    assert (found.members, found.claims, found.gone) == ({}, (), ())
    assert (found.problems, found.notes) == ((), ())


def test_what_has_no_interface_or_address_claims_nothing(vpc: Observation) -> None:
    listed = Inventory((kubernetes("i-a0"), kubernetes("i-b1")), (Problem(NO_ADDRESS, "node-a0"),))
    found = compare(without_interface(vpc, "eni-b1"), listed, state_of())
    assert found.claims == ()
    assert found.problems == (Problem(NO_ADDRESS, "node-a0"), Problem(NO_INTERFACE, "node-b1"))


@pytest.mark.parametrize(
    ("state", "ready", "healthy"),
    [
        (InstanceState.RUNNING, True, True),
        (InstanceState.PENDING, True, True),
        (None, True, True),
        (InstanceState.RUNNING, False, False),
        (InstanceState.STOPPED, True, False),
        (InstanceState.SHUTTING_DOWN, True, False),
    ],
)
def test_a_member_is_healthy_if_it_is_ready_and_runs(
    vpc: Observation, state: InstanceState | None, ready: bool, healthy: bool
) -> None:
    listed = Inventory((kubernetes("i-a0", ready=ready),), ())
    found = compare(with_instance(vpc, "i-a0", state), listed, state_of())
    assert found.members["node-a0"].healthy is healthy


# Owners that are not listed.


def test_an_empty_node_list_releases_nothing(vpc: Observation) -> None:
    found = compare(vpc, inventory(), state_of("i-a0", "i-a1", "i-b0"))
    assert found.gone == ()
    assert found.notes == tuple(Problem(NOT_LISTED, f"node-{n}") for n in ("a0", "a1", "b0"))


@pytest.mark.parametrize("end", [InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED])
def test_an_owner_whose_instance_is_terminated_is_gone(
    vpc: Observation, end: InstanceState
) -> None:
    found = compare(with_instance(vpc, "i-a0", end), inventory("i-a1"), state_of("i-a0", "i-a1"))
    assert [owner.identity for owner in found.gone] == ["i-a0"]
    assert found.notes == ()


@pytest.mark.parametrize("end", [InstanceState.STOPPED, InstanceState.STOPPING])
def test_an_owner_whose_instance_is_stopped_is_not_gone(
    vpc: Observation, end: InstanceState
) -> None:
    found = compare(with_instance(vpc, "i-a0", end), inventory("i-a1"), state_of("i-a0", "i-a1"))
    assert (found.gone, found.notes) == ((), (Problem(NOT_LISTED, "node-a0"),))


def test_a_listed_owner_is_never_gone(vpc: Observation) -> None:
    ended = with_instance(vpc, "i-a0", InstanceState.TERMINATED)
    assert compare(ended, inventory("i-a0"), state_of("i-a0")).gone == ()


def test_an_owner_that_the_vpc_does_not_have_any_more_is_gone(vpc: Observation) -> None:
    forgotten = without_interface(with_instance(vpc, "i-a0", None), "eni-a0")
    found = compare(forgotten, inventory("i-a1"), state_of("i-a0", "i-a1"))
    assert [owner.identity for owner in found.gone] == ["i-a0"]


def test_an_owner_with_an_interface_is_not_gone(vpc: Observation) -> None:
    found = compare(with_instance(vpc, "i-a0", None), inventory(), state_of("i-a0"))
    assert found.gone == ()


def test_without_any_instances_described_nobody_is_gone(vpc: Observation) -> None:
    blind = replace(vpc, instances={}, interfaces=())
    found = compare(blind, inventory(), state_of("i-a0", "i-a1"))
    assert found.gone == ()


def test_where_most_vanish_at_once_only_the_terminated_are_gone(vpc: Observation) -> None:
    many = joined(Claim(f"n{i}", "subnet-a", f"i-x{i}") for i in range(20))
    found = compare(with_instance(vpc, "i-x3", InstanceState.TERMINATED), inventory(), many)
    assert [owner.identity for owner in found.gone] == ["i-x3"]
    assert {note.reason for note in found.notes} == {MANY_VANISHED}
    assert len(found.notes) == 19


def test_an_owner_without_an_instance_id_is_not_gone(vpc: Observation) -> None:
    found = compare(vpc, inventory(), joined([Claim("n", "subnet-a", "uid-1")]))
    assert (found.gone, found.notes) == ((), (Problem(NOT_LISTED, "n"),))


# The same name with another identity.


def test_a_name_that_came_back_claims_anew_and_the_former_one_keeps_its_blocks(
    vpc: Observation,
) -> None:
    listed = Inventory((kubernetes("i-a1", "node-a0"),), ())
    found = compare(vpc, listed, state_of("i-a0"))
    assert found.claims == (Claim("node-a0", "subnet-a", "i-a1"),)
    assert (found.gone, found.notes) == ((), (Problem(RENAMED, "node-a0"),))


def test_the_former_one_is_gone_when_it_is_terminated(vpc: Observation) -> None:
    listed = Inventory((kubernetes("i-a1", "node-a0"),), ())
    ended = with_instance(vpc, "i-a0", InstanceState.TERMINATED)
    before = compare(ended, listed, state_of("i-a0"))
    assert [owner.identity for owner in before.gone] == ["i-a0"]
    both = join(state_of("i-a0"), [Claim("node-a0", "subnet-a", "i-a1")], {}).state
    after = compare(ended, listed, both)
    assert [owner.identity for owner in after.gone] == ["i-a0"]


# Whatever is missing.


@given(
    listed=st.sets(st.sampled_from(["i-a0", "i-a1", "i-a2", "i-b0", "i-b1", "i-b2"])),
    described=st.sets(st.sampled_from(["i-a0", "i-a1", "i-a2", "i-b0", "i-b1", "i-b2"])),
    ended=st.sets(st.sampled_from(["i-a0", "i-a1", "i-a2", "i-b0", "i-b1", "i-b2"])),
)
def test_only_what_is_neither_listed_nor_alive_is_gone(
    listed: set[str], described: set[str], ended: set[str]
) -> None:
    everyone = ["i-a0", "i-a1", "i-a2", "i-b0", "i-b1", "i-b2"]
    vpc = Observation(
        vpc="vpc-1",
        local=(),
        subnets=(),
        tables=(),
        interfaces=tuple(
            NetworkInterface(f"eni-{i[2:]}", f"subnet-{i[2]}", {}, i, 0, True)
            for i in sorted(described)
        ),
        instances={
            i: InstanceState.TERMINATED if i in ended else InstanceState.RUNNING
            for i in described | ended
        },
        quota={},
    )
    state = state_of(*everyone)
    gone: set[Owner] = set(compare(vpc, inventory(*sorted(listed)), state).gone)
    for owner in state.owners():
        alive = owner.identity in described - ended
        if alive or owner.identity in listed:
            assert owner not in gone
        elif owner.identity in ended:
            assert owner in gone
