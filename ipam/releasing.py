"""What owners lose: a node and all that it owns, or single blocks. Pure.

Owners are told apart by name and identity, so that whoever has come back under the name of a node
that is gone loses nothing with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import structs

from ipam.draft import Draft
from ipam.model import Node, Owner, State
from ipam.prefix import Prefix


def find(state: State, owner: Owner) -> Node | None:
    """Who owns something under this name and identity, there or former; None if nobody does."""
    node = state.nodes.get(owner[0])
    if node is not None and node.identity == owner[1]:
        return node
    return state.former.get(owner)


def without_owners(state: State, owners: Iterable[Owner]) -> State:
    """The state without these nodes and all that they own; who is not known is no error."""
    known = [node for node in (find(state, owner) for owner in owners) if node is not None]
    if not known:
        return state
    draft = Draft(state)
    for node in known:
        if (node.name, node.identity) in state.former:
            draft.remove_former(node.name, node.identity)
        else:
            draft.remove_node(node.name)
    return draft.state()


def without_blocks(state: State, owner: Owner, blocks: Collection[Prefix]) -> State:
    """The state in which this node does not own these of its blocks and static addresses."""
    node = find(state, owner)
    taken = set(blocks).intersection(node.owned) if node is not None else set()
    if node is None or not taken:
        return state
    draft = Draft(state)
    take_back(draft, node, taken)
    return draft.state()


def take_back(draft: Draft, owner: Node, blocks: Collection[Prefix]) -> None:
    """Free some of what a node owns."""
    for block in owner.blocks:
        if block in blocks:
            draft.release(owner.subnet, block)
    left = structs.replace(
        owner,
        blocks=tuple(block for block in owner.blocks if block not in blocks),
        static=tuple(address for address in owner.static if address not in blocks),
    )
    draft.put_owner(left)
