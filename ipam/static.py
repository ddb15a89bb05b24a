"""Static addresses: single ones with a name, granted to a node of the subnet around them. Pure.

A static address is a block of one address while it is granted. It moves to another node of its
subnet only by release and grant.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from ipam.draft import Draft
from ipam.model import Network, Node, State
from ipam.placement import Outcome, Refusal, tidy
from ipam.prefix import Prefix
from ipam.shares import is_usable
from ipam.topology import NoPlaceError, StaticAddress, locate, shown


def grant_static(state: State, name: str, node: str) -> Outcome:
    """Grant the addresses of a name, one or one per family, to a node: all or none of them.

    Nothing changes where it has them already. Refused, with the reason, where another node has one,
    or where one lies in the prefixes of another subnet.
    """
    found = [(n, address) for n in state.networks for address in n.static if address.name == name]
    owner = state.nodes.get(node)
    if not found:
        return _refused(state, node, f"there is no static address {name}: add it to its network")
    if owner is None:
        return _refused(state, node, f"node {node} is not known: let it join first")
    draft = Draft(state)
    tidy(draft)
    granted: list[Prefix] = []
    for network, address in found:
        if address.prefix in owner.static:
            continue
        reason = _obstacle(draft, network, address, owner)
        if reason is not None:
            return _refused(state, node, reason)
        granted.append(address.prefix)
    if not granted:
        return Outcome(state, ())
    draft.put_node(structs.replace(owner, static=tuple(sorted((*owner.static, *granted)))))
    return Outcome(draft.state(), ())


def release_static(state: State, name: str) -> State:
    """Take the addresses of a name back from whoever has them; no change where nobody has."""
    prefixes = {a.prefix for n in state.networks for a in n.static if a.name == name}
    draft = Draft(state)
    for owner in state.owners():
        if prefixes.intersection(owner.static):
            draft.put_owner(_without(owner, prefixes))
    return draft.state() if draft.touched_names else state


def _without(owner: Node, prefixes: set[Prefix]) -> Node:
    return structs.replace(owner, static=tuple(p for p in owner.static if p not in prefixes))


def _refused(state: State, node: str, reason: str) -> Outcome:
    return Outcome(state, (Refusal(node, reason),))


def _obstacle(draft: Draft, network: Network, address: StaticAddress, owner: Node) -> str | None:
    """Why a node cannot have an address, None once its subnet has the prefix around that."""
    for other in draft.owners():
        if address.prefix in other.static:
            return f"static address {address} is granted to node {other.name}: release it first"
    if network.is_closed(next(c for c in network.cidrs if c.contains(address.prefix))):
        return f"static address {address} is in a closed range of network {network.name}"
    for subnet in draft.subnet_names:
        for space in draft.spaces_of(subnet, address.prefix.family):
            if space.prefix.contains(address.prefix):
                if subnet == owner.subnet:
                    return None
                return (
                    f"static address {address} is in a prefix of subnet {subnet}, and node "
                    f"{owner.name} is in subnet {owner.subnet}: grant it to a node of {subnet}"
                )
    return _taken_in(draft, network, address, owner)


def _taken_in(draft: Draft, network: Network, address: StaticAddress, owner: Node) -> str | None:
    """Give the node's subnet the room around an address; the reason where it cannot have it."""
    family = address.prefix.family
    try:
        located = locate(network.topology, owner.name, owner.subnet, owner.labels)
    except NoPlaceError as error:
        return f"node {owner.name} {error}"
    ways = [location.path for location in located]
    around = [cidr for cidr in network.cidrs if cidr.contains(address.prefix)]
    taken = draft.taken(family)
    for place in draft.places.values():
        if place.network != network.name or any(w[: len(place.path)] == place.path for w in ways):
            continue
        if any(prefix.contains(address.prefix) for prefix in place.prefixes):
            return (
                f"static address {address} is in {shown(place.path)}, where node {owner.name} does "
                "not belong: grant it to a node that does"
            )
        taken += place.prefixes
    for length in (max(network.node[family], around[0].length), network.block[family]):
        prefix = address.prefix.ancestor(length)
        if not _is_touched(prefix, taken) and is_usable(draft.networks, prefix):
            draft.add_prefix(owner.subnet, prefix)
            return None
    return (
        f"static address {address} has no room of its own around it for subnet {owner.subnet}: "
        "choose another address"
    )


def _is_touched(prefix: Prefix, taken: Sequence[Prefix]) -> bool:
    return any(prefix.overlaps(other) for other in taken)
