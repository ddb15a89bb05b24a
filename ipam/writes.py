"""What has changed between two states, as transactions of a store; decides nothing, writes nothing.

What belongs together is in one transaction: a node with its new blocks. Blocks that come back are
deleted before their owner, each transaction guarded by its owner's key, so that none is left
without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ipam import codec
from ipam.codec import BlockRecord, Meta, NodeRecord
from ipam.model import Network, Node, State
from ipam.prefix import Prefix
from ipam.store.port import Delete, Operation, Put


@dataclass(frozen=True, slots=True)
class Change:
    """Operations that belong into one transaction, and a key that must not have changed."""

    operations: tuple[Operation, ...]
    guard: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction: what to do, and the keys that must be as they were read."""

    keys: frozenset[str]
    operations: tuple[Operation, ...]


def layout_changes(
    before: State, after: State, recorded: Mapping[str, Network] | None
) -> Iterator[Change]:
    """Networks and subnets that have changed; ``/meta`` comes first where the division has.

    ``recorded`` are the networks in the store, None where there is no store yet.
    """
    known = recorded or {}
    wanted = {network.name: network for network in after.networks}
    operations: list[Operation] = [
        Put(codec.network_key(name), codec.encode(network))
        for name, network in wanted.items()
        if known.get(name) != network
    ]
    operations += [Delete(codec.network_key(name)) for name in known if name not in wanted]
    divided = recorded is None or bool(operations)
    for name, share in after.subnets.items():
        earlier = before.subnets.get(name)
        if share != earlier:
            operations.append(Put(codec.subnet_key(name), codec.encode(share)))
            divided |= earlier is None or earlier.prefixes != share.prefixes
    if divided:
        yield Change((Put(codec.META, codec.encode(Meta(after.cluster))),))
    for operation in operations:
        yield Change((operation,))


def owner_changes(before: State, after: State, token: str) -> Iterator[Change]:
    """What has changed about nodes, name by name."""
    changed = {name for name, node in after.nodes.items() if before.nodes.get(name) is not node}
    changed |= before.nodes.keys() - after.nodes.keys()
    changed |= {name for name, _ in before.former.keys() ^ after.former.keys()}
    old, new = _by_name(before, changed), _by_name(after, changed)
    for name in sorted(changed):
        yield from _name_changes(name, old[name], new[name], token)


@dataclass(slots=True)
class _Name:
    """All that one name stands for: the node that is there, and former ones by identity."""

    present: Node | None = None
    former: dict[str, Node] = field(default_factory=dict)

    def blocks(self) -> dict[Prefix, BlockRecord]:
        """Their blocks."""
        owners = [*self.former.values(), *([self.present] if self.present else [])]
        return {
            block: BlockRecord(block, owner.name, owner.identity)
            for owner in owners
            for block in owner.blocks
        }


def _by_name(state: State, names: set[str]) -> dict[str, _Name]:
    found = {name: _Name(state.nodes.get(name)) for name in names}
    for (name, identity), node in state.former.items():
        if name in names:
            found[name].former[identity] = node
    return found


def _name_changes(name: str, old: _Name, new: _Name, token: str) -> Iterator[Change]:
    """Blocks go before their owner, one by one if they must; they come together with it."""
    key = codec.node_key(name)
    had, has = old.blocks(), new.blocks()
    for block in sorted(had.keys() - has.keys()):
        yield Change((Delete(codec.block_key(block)),), guard=key)
    operations: list[Operation] = [
        Delete(codec.former_key(name, identity))
        for identity in sorted(old.former.keys() - new.former.keys())
    ]
    operations += [
        Put(codec.former_key(name, identity), _node_value(new.former[identity], token))
        for identity in sorted(new.former.keys() - old.former.keys())
    ]
    if new.present is not None and new.present is not old.present:
        operations.append(Put(key, _node_value(new.present, token)))
    elif new.present is None and old.present is not None:
        operations.append(Delete(key))
    operations += [
        Put(codec.block_key(block), codec.encode(has[block]))
        for block in sorted(has.keys() - had.keys())
    ]
    yield Change(tuple(operations), guard=key)


def _node_value(node: Node, token: str) -> bytes:
    return codec.encode(NodeRecord(node.name, node.identity, node.subnet, token))


def batches(changes: Iterable[Change], limit: int) -> Iterator[Batch]:
    """Transactions of at most so many operations and comparisons (``/meta`` is always compared)."""
    keys: set[str] = set()
    operations: list[Operation] = []
    for change in changes:
        wanted = {operation.key for operation in change.operations} - {codec.META}
        wanted |= {change.guard} if change.guard is not None else set()
        if operations and 1 + len(keys) + len(wanted - keys) > limit:
            yield Batch(frozenset(keys), tuple(operations))
            keys, operations = set(), []
        keys |= wanted
        operations += change.operations
    if operations:
        yield Batch(frozenset(keys), tuple(operations))
