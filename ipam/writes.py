"""What has changed between two states, as transactions of a store; decides nothing, writes nothing.

What belongs together is in one transaction: a node with its blocks, which its record names. Where
more blocks come back than a transaction takes, each deletes some of them and names the others in
their owner's record. What a node asks for ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import structs

from ipam import claim_records, codec
from ipam.codec import BlockRecord, Meta, NodeRecord
from ipam.model import Network, Node, State, changed_names
from ipam.prefix import Prefix
from ipam.store.port import Delete, Operation, Put


@dataclass(frozen=True, slots=True)
class Change:
    """Operations that belong into one transaction.

    ``guard`` is a key that must not have changed; ``unread``: the keys that are changed are others'
    to write, and deleted as they are.
    """

    operations: tuple[Operation, ...]
    guard: str | None = None
    unread: bool = False


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
    for key in sorted(before.places.keys() | after.places.keys()):
        place = after.places.get(key)
        if place != before.places.get(key):
            name = codec.place_key(key)
            operations.append(Put(name, codec.encode(place)) if place else Delete(name))
            divided = True
    for name, share in after.subnets.items():
        earlier = before.subnets.get(name)
        if share != earlier:
            operations.append(Put(codec.subnet_key(name), codec.encode(share)))
            divided |= earlier is None or earlier.prefixes != share.prefixes
    if divided:
        yield Change((Put(codec.META, codec.encode(Meta(after.cluster))),))
    for operation in operations:
        yield Change((operation,))


def owner_changes(before: State, after: State, token: str, limit: int) -> Iterator[Change]:
    """What has changed about nodes, name by name, in parts of at most so many operations."""
    changed = changed_names(before, after)
    old, new = _by_name(before, changed), _by_name(after, changed)
    for name in sorted(changed):
        yield from _name_changes(_Renewal(name, old[name], new[name], token), limit)


@dataclass(slots=True)
class _Name:
    """All that one name stands for: the node that is there, and former ones by identity."""

    present: Node | None = None
    former: dict[str, Node] = field(default_factory=dict)

    def records(self) -> dict[str, Node]:
        """The owners by their key."""
        found = {codec.former_key(node.name, id_): node for id_, node in self.former.items()}
        if self.present is not None:
            found[codec.node_key(self.present.name)] = self.present
        return found

    def identities(self) -> set[str]:
        """Everybody who has this name."""
        return {*self.former, *([self.present.identity] if self.present is not None else [])}


def _by_name(state: State, names: set[str]) -> dict[str, _Name]:
    found = {name: _Name(state.nodes.get(name)) for name in names}
    for (name, identity), node in state.former.items():
        if name in names:
            found[name].former[identity] = node
    return found


@dataclass(frozen=True, slots=True)
class _Renewal:
    """What a name stood for, and what it stands for from now on."""

    name: str
    old: _Name
    new: _Name
    token: str

    @property
    def guard(self) -> str:
        """The key that says who is there under this name."""
        return codec.node_key(self.name)


def _name_changes(renewal: _Renewal, limit: int) -> Iterator[Change]:
    """Claims go first, since whoever claims gets blocks; then blocks; their owners in the end."""
    old, new = renewal.old, renewal.new
    for identity in sorted(old.identities() - new.identities()):
        owner = (renewal.name, identity)
        keys = (claim_records.claim_key(owner), claim_records.refusal_key(owner))
        deletes = tuple(Delete(key) for key in (*keys, claim_records.alive_key(owner)))
        yield Change(deletes, guard=renewal.guard, unread=True)
    had, has = _owned(old), _owned(new)
    before, after = old.records(), new.records()
    operations: list[Operation] = [Delete(key) for key in sorted(before.keys() - after.keys())]
    operations += [
        Put(key, _node_value(node, renewal.token))
        for key, node in sorted(after.items())
        if before.get(key) is not node
    ]
    operations += [
        Put(codec.block_key(block), codec.encode(BlockRecord(block, *owner, renewal.token)))
        for block, owner in sorted(has.items())
        if had.get(block) != owner
    ]
    gone = sorted(had.keys() - has.keys())
    room = max(1, limit - _ALWAYS_COMPARED - len(operations))
    yield from _parting(renewal, gone[: max(0, len(gone) - room)], limit)
    operations += [Delete(codec.block_key(block)) for block in gone[-room:]]
    if operations:
        yield Change(tuple(operations), guard=renewal.guard)


_ALWAYS_COMPARED = 2  # /meta, and the guard


def _parting(renewal: _Renewal, gone: list[Prefix], limit: int) -> Iterator[Change]:
    """Delete these blocks in parts, each with the record of the owner that it leaves."""
    parting = set(gone)
    at_once = max(1, limit - _ALWAYS_COMPARED - 1)
    for key, node in sorted(renewal.old.records().items()):
        left, mine = list(node.owned), [block for block in node.owned if block in parting]
        for start in range(0, len(mine), at_once):
            part = mine[start : start + at_once]
            left = [block for block in left if block not in part]
            value = _node_value(structs.replace(node, blocks=tuple(left), static=()), renewal.token)
            deletes = (Delete(codec.block_key(block)) for block in part)
            yield Change((Put(key, value), *deletes), guard=renewal.guard)


def _owned(name: _Name) -> dict[Prefix, tuple[str, str]]:
    """By block: its owner's name and identity."""
    return {
        block: (owner.name, owner.identity)
        for owner in name.records().values()
        for block in owner.owned
    }


def _node_value(node: Node, token: str) -> bytes:
    return codec.encode(
        NodeRecord(node.name, node.identity, node.subnet, token, node.owned, node.labels)
    )


def batches(changes: Iterable[Change], limit: int) -> Iterator[Batch]:
    """Transactions of at most so many operations and comparisons (``/meta`` is always compared)."""
    keys: set[str] = set()
    operations: list[Operation] = []
    written: set[str] = set()
    for change in changes:
        writes = {operation.key for operation in change.operations}
        wanted = set() if change.unread else writes - {codec.META}
        wanted |= {change.guard} if change.guard is not None else set()
        compared = 1 + len(keys) + len(wanted - keys)
        too_many = compared > limit or len(written) + len(writes) > limit
        if operations and (too_many or writes & written):
            yield Batch(frozenset(keys), tuple(operations))
            keys, operations, written = set(), [], set()
        keys |= wanted
        operations += change.operations
        written |= writes
    if operations:
        yield Batch(frozenset(keys), tuple(operations))
