"""The records of the store as one State, followed change by change.

Reads what others wrote with suspicion: a store edited by hand or half restored from a backup is
refused, by the name of the record that contradicts another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ipam import codec
from ipam.bulk import decode_all
from ipam.codec import BlockRecord, Meta, NodeRecord, Record
from ipam.draft import Draft
from ipam.errors import BadInputError, UnavailableError
from ipam.model import Network, Node, Owner, Place, State, SubnetShare, check_groups, state
from ipam.networks import check_change
from ipam.prefix import Prefix
from ipam.store.port import Changes, RangeResult

_LAYOUT = (codec.META, codec.NETWORKS, codec.IMPORTING)
_FEW = (codec.META, codec.NETWORKS, codec.SUBNETS, codec.PLACES, codec.FORMER)
_OURS = (codec.BLOCKS, codec.NODES, *_FEW)


@dataclass(slots=True)
class Ledger:
    """What one store held at one revision; ``location`` names it in messages.

    ``networks`` are those in force, from the cluster file; ``recorded`` those in the store.
    """

    cluster: str
    networks: tuple[Network, ...]
    location: str
    revision: int = 0
    recorded: dict[str, Network] = field(default_factory=dict)
    state: State = field(init=False)
    _revisions: dict[str, int] = field(default_factory=dict)
    _records: dict[str, Record] = field(default_factory=dict)
    _shares: dict[str, SubnetShare] = field(default_factory=dict)
    _blocks: dict[Owner, set[Prefix]] | None = None
    _static: frozenset[Prefix] = field(init=False)

    def __post_init__(self) -> None:
        self.state = state(self.cluster, self.networks)
        self._static = _static(self.networks)

    def block(self, prefix: Prefix) -> BlockRecord | None:
        """The record of a block."""
        record = self._records.get(codec.block_key(prefix))
        return record if isinstance(record, BlockRecord) else None

    def mod_revision(self, key: str) -> int:
        """The revision that last changed a key, 0 if there is no such key."""
        return self._revisions.get(key, 0)

    def reload(self, found: RangeResult) -> None:
        """Read all keys anew. Raises BadInputError or UnavailableError."""
        self.revision = 0  # until all has been taken in
        self.recorded.clear()
        self._revisions.clear()
        self._records.clear()
        self._shares.clear()
        self._blocks = None
        if found.under(codec.IMPORTING):
            raise UnavailableError(
                f"store {self.location} is not whole, an import was interrupted: import the "
                "same file again"
            )
        blocks, nodes = found.under(codec.BLOCKS), found.under(codec.NODES)
        rest = [item for folder in _FEW for item in found.under(folder)]
        decoded = decode_all(blocks, nodes, rest)
        ours = (*blocks, *nodes, *rest)
        records = (*decoded.blocks, *decoded.nodes, *decoded.rest)
        keys = [item.key for item in ours]
        self._records = dict(zip(keys, records, strict=True))
        self._revisions = dict(zip(keys, [item.mod_revision for item in ours], strict=True))
        for record in decoded.rest:
            self._note(record)
        self._check_cluster()
        self._static = _static((*self.networks, *self.recorded.values()))
        places = [record for record in decoded.rest if isinstance(record, Place)]
        if decoded.agree:
            owners = [self._node(record, record.blocks or ()) for record in decoded.nodes]
            self._divide(owners, (), places)
        else:
            self._compare_and_divide(places)
        self.revision = found.revision

    def _compare_and_divide(self, places: Sequence[Place]) -> None:
        """The state where nodes and blocks may contradict each other: blocks decide."""
        present: dict[Owner, NodeRecord] = {}
        past: dict[Owner, NodeRecord] = {}
        for key, record in self._records.items():
            if isinstance(record, NodeRecord):
                folder = present if key.startswith(codec.NODES) else past
                folder[record.name, record.identity] = record
        held = self._by_owner()
        self._check_owners(held.keys() - present.keys() - past.keys())
        nodes, former = (
            [self._node(record, held.get(owner, ())) for owner, record in folder.items()]
            for folder in (present, past)
        )
        self._divide(nodes, former, places)
        self._check_named((*present.values(), *past.values()))

    def _divide(
        self, nodes: Sequence[Node], former: Sequence[Node], places: Sequence[Place]
    ) -> None:
        shares = list(self._shares.values())
        owners = (*nodes, *former)
        check_change(self.recorded.values(), self.networks, shares, owners, places)
        self.state = state(self.cluster, self.networks, shares, nodes, former, places)

    def follow(self, changes: Changes) -> bool:
        """Take in what has changed; False if all has to be read anew instead."""
        self.revision = 0  # until all has been taken in
        self._by_owner()  # before it changes
        touched: set[Owner] = set()
        for event in changes.events:
            if event.key.startswith(_LAYOUT):
                return False
            if event.key.startswith(_OURS):
                before = self._records.get(event.key)
                after = None
                if event.value is None:
                    self._remove(event.key)
                else:
                    after = self._put(event.key, event.value, event.revision)
                if _prefixes(before) != _prefixes(after):
                    return False
                touched |= _owners(before) | _owners(after)
        self._check_owners(touched)
        self._redraw(touched)
        self.revision = changes.revision
        return True

    def _redraw(self, touched: Iterable[Owner]) -> None:
        """Make the state anew where owners or groups have changed."""
        draft = Draft(self.state)
        for name, share in self._shares.items():
            if share != draft.subnets.get(name):
                check_groups(share, draft.spaces.get(name, ()))
        draft.subnets = dict(sorted(self._shares.items()))
        for name, identity in touched:
            draft.remove_former(name, identity)
            if name in draft.nodes and draft.nodes[name].identity == identity:
                draft.remove_node(name)
        for owner in sorted(touched):
            record = self._node_record(codec.former_key(*owner), owner)
            if record is not None:
                draft.put_former(self._taken(draft, record))
        for owner in sorted(touched):
            record = self._node_record(codec.node_key(owner[0]), owner)
            if record is not None:
                draft.put_node(self._taken(draft, record))
        self.state = draft.state()

    def _taken(self, draft: Draft, record: NodeRecord) -> Node:
        held = self._by_owner().get((record.name, record.identity), ())
        node = self._node(record, held)
        try:
            draft.take(node)
        except ValueError as error:
            raise self._error(f"block of node {node.name}: {error}") from error
        self._check_named([record])
        return node

    def _put(self, key: str, value: bytes, revision: int) -> Record:
        self._remove(key)
        record = codec.decode(key, value)
        self._revisions[key] = revision
        self._records[key] = record
        if isinstance(record, BlockRecord):
            _add(self._by_owner(), record)
        else:
            self._note(record)
        return record

    def _note(self, record: Record) -> None:
        if isinstance(record, Network):
            self.recorded[record.name] = record
        elif isinstance(record, SubnetShare):
            self._shares[record.id] = record

    def _by_owner(self) -> dict[Owner, set[Prefix]]:
        """The blocks of each owner. Made when it is first asked for: a plan can do without."""
        if self._blocks is None:
            self._blocks = {}
            for record in self._records.values():
                if isinstance(record, BlockRecord):
                    _add(self._blocks, record)
        return self._blocks

    def _remove(self, key: str) -> None:
        self._revisions.pop(key, None)
        record = self._records.pop(key, None)
        if isinstance(record, BlockRecord):
            self._by_owner()[record.node, record.identity].remove(record.prefix)
        elif isinstance(record, SubnetShare):
            del self._shares[record.id]

    def _node_record(self, key: str, owner: Owner) -> NodeRecord | None:
        record = self._records.get(key)
        if isinstance(record, NodeRecord) and (record.name, record.identity) == owner:
            return record
        return None

    def _node(self, record: NodeRecord, held: Collection[Prefix]) -> Node:
        blocks = tuple(sorted(held) if len(held) > 1 else held)
        static = tuple([block for block in blocks if block in self._static]) if self._static else ()
        if static:
            blocks = tuple([block for block in blocks if block not in self._static])
        return Node(record.name, record.identity, record.subnet, blocks, record.labels, static)

    def _check_named(self, records: Iterable[NodeRecord]) -> None:
        """A node's record names its blocks: where it does not, one of them is of another time."""
        for record in records:
            blocks = self._by_owner().get((record.name, record.identity), set())
            odd = set(blocks if record.blocks is None else record.blocks) ^ blocks
            if odd:
                block = min(odd)
                where = "is not named in the record of" if block in blocks else "is missing at"
                raise self._error(f"block {block} {where} its node {record.name}")

    def _check_cluster(self) -> None:
        meta = self._records.get(codec.META)
        if isinstance(meta, Meta) and meta.cluster != self.cluster:
            raise BadInputError(
                f"store {self.location} belongs to cluster {meta.cluster}, not to {self.cluster}: "
                "name a `store` of its own in the cluster file"
            )
        if meta is None and self._records:
            raise self._error(f"key {codec.META} is missing")

    def _check_owners(self, owners: Iterable[Owner]) -> None:
        held = self._by_owner()
        for owner in owners:
            if self._node_record(codec.node_key(owner[0]), owner) is not None:
                continue
            if held.get(owner) and not self._node_record(codec.former_key(*owner), owner):
                block = min(held[owner])
                raise self._error(f"block {block} belongs to node {owner[0]}, which is not there")

    def _error(self, text: str) -> BadInputError:
        return BadInputError(f"store {self.location}: {text}: restore it from a backup")


def _static(networks: Iterable[Network]) -> frozenset[Prefix]:
    return frozenset(address.prefix for network in networks for address in network.static)


def _add(blocks: dict[Owner, set[Prefix]], record: BlockRecord) -> None:
    blocks.setdefault((record.node, record.identity), set()).add(record.prefix)


def _owners(record: Record | None) -> set[Owner]:
    """Whose node or block this record is."""
    if isinstance(record, BlockRecord):
        return {(record.node, record.identity)}
    if isinstance(record, NodeRecord):
        return {(record.name, record.identity)}
    return set()


def _prefixes(record: Record | None) -> tuple[Prefix, ...]:
    """The prefixes that a record gives to a subnet or a place."""
    return record.prefixes if isinstance(record, SubnetShare | Place) else ()
