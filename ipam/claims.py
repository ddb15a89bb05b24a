"""A node's side of giving out addresses: it asks, learns what it was granted, gives back, lives.

It writes its own keys only, ``/claims/NAME/IDENTITY`` and ``/alive/NAME/IDENTITY``, and nobody
else writes them, but for deleting them with the node. So a lost answer is no question: what is
there is what was written, or what was there before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ipam import codec
from ipam.claim_records import (
    ANY_NETWORK,
    NodeClaim,
    Return,
    alive_key,
    claim_key,
    decode_claim,
    decode_refusal,
    encode_claim,
    refusal_key,
)
from ipam.codec import BlockRecord, NodeRecord
from ipam.errors import BadInputError, ConflictError, UnavailableError
from ipam.model import Owner
from ipam.prefix import Family, Prefix
from ipam.store.port import Compare, KeyValue, Put, Store

_ATTEMPTS = 10
_ALIVE = b'{"v":1}'


@dataclass(frozen=True, slots=True)
class Grant:
    """What a node has: ``blocks`` to take addresses from, none of those that it gives back.

    ``subnet`` is empty while the node has nothing. ``is_former``: the name has come to another
    identity; the blocks stay. ``refused`` says why more is not granted, empty where nothing was
    refused. ``revision`` of the store is the latest that any of this reflects.
    """

    blocks: tuple[Prefix, ...]
    subnet: str
    is_former: bool
    refused: str
    revision: int


class Claims:
    """What one node, by name and identity, writes and reads. One object is for one thread.

    Every method raises UnavailableError where the store cannot be read or written now, and
    BadInputError where a record is none.
    """

    def __init__(self, store: Store, node: str, identity: str) -> None:
        if not all(text and text.isprintable() for text in (node, identity)):
            raise BadInputError(f"node {node!r}: its name and identity must be printable text")
        self._store = store
        self._owner: Owner = (node, identity)
        self._lease: int | None = None

    def register(
        self, subnet: str, labels: Mapping[str, str], blocks: Mapping[Family, int]
    ) -> None:
        """Say where the node is, and that it wants so many blocks of each family at least.

        Blocks that it is giving back stay given back, and a claim for more stays as it is. Writes
        nothing if the store says so already.
        """
        present = self._claim()[0]
        wanted = {ANY_NETWORK: dict(blocks)}
        if present is not None:
            wanted = {network: dict(counts) for network, counts in present.wanted.items()}
            any_network = wanted.setdefault(ANY_NETWORK, {})
            for family, count in blocks.items():
                any_network[family] = max(count, any_network.get(family, 0))
        self._write(NodeClaim(*self._owner, subnet, labels, wanted))

    def claim(self, blocks: Mapping[Family, int], network: str = ANY_NETWORK) -> None:
        """Want so many blocks in all of each family, of a network.

        Raises ConflictError before ``register``.
        """
        claim = self._known()
        self._write(replace(claim, wanted={**claim.wanted, network: dict(blocks)}))

    def give_back(self, blocks: Collection[Prefix], keep: Mapping[Family, int]) -> None:
        """Give blocks back for good, and want only so many in all from now on.

        Call it when nothing uses them any more, and nothing can again after a crash: from now on
        they are somebody else's at any time. Blocks that are not the node's are left out.
        """
        claim = self._known()
        returned = set(claim.returned)
        for block in sorted(blocks):
            record = self._block(block)
            if record is not None and (record.node, record.identity) == self._owner:
                returned.add(Return(block, record.token))
        wanted = {**claim.wanted, ANY_NETWORK: dict(keep)}
        self._write(replace(claim, wanted=wanted, returned=tuple(sorted(returned))))

    def granted(self) -> Grant:
        """What the node has now."""
        claim, item = self._claim()
        owner, place = self._record()
        refused, answer = self._refusal(item)
        going = {one.prefix: one.token for one in claim.returned} if claim is not None else {}
        blocks = self._blocks(owner) if owner is not None else ()
        kept = tuple(b for b in blocks if b not in going or not self._is_same(b, going[b]))
        found = [one.mod_revision for one in (item, place, answer) if one is not None]
        return Grant(
            kept,
            owner.subnet if owner is not None else "",
            place is not None and place.key.startswith(codec.FORMER),
            refused,
            max(found, default=0),
        )

    def wait(self, after: Grant, timeout: float) -> Grant:
        """What the node has once that has changed, or after so many seconds at the latest."""
        watch = self._store.watch(codec.node_key(self._owner[0]), after.revision)
        try:
            watch.next(timeout)
        finally:
            watch.close()
        return self.granted()

    def keep_alive(self, seconds: float) -> None:
        """Hold the node's lease for so many seconds from now; call it several times in each.

        Nothing is taken from a node because its lease has ended.
        """
        if self._lease is not None and self._store.keep_alive(self._lease):
            return
        lease = self._store.grant(seconds)
        self._store.txn([], [Put(alive_key(self._owner), _ALIVE, lease)])
        self._lease = lease

    def stop(self) -> None:
        """End the lease; the node keeps its blocks, and its claim."""
        if self._lease is not None:
            self._store.revoke(self._lease)
            self._lease = None

    def _known(self) -> NodeClaim:
        claim = self._claim()[0]
        if claim is None:
            raise ConflictError(
                f"node {self._owner[0]} has no claim in store {self._store.location} (any more): "
                "register it again"
            )
        return claim

    def _claim(self) -> tuple[NodeClaim | None, KeyValue | None]:
        item = self._store.get(claim_key(self._owner))
        return (None if item is None else decode_claim(item.key, item.value)), item

    def _write(self, wanted: NodeClaim) -> None:
        """Write the claim, with what is being given back and has not been taken yet."""
        key = claim_key(self._owner)
        for _ in range(_ATTEMPTS):
            present, item = self._claim()
            pending = () if present is None else self._pending(present)
            claim = replace(wanted, returned=tuple(sorted({*wanted.returned, *pending})))
            claim = replace(claim, returned=self._pending(claim))
            value = encode_claim(claim)
            if item is not None and item.value == value:
                return
            revision = item.mod_revision if item is not None else 0
            try:
                written = self._store.txn([Compare(key, revision)], [Put(key, value)]).succeeded
            except UnavailableError:
                found = self._store.get(key)
                if found is None or found.value != value:
                    raise
                return
            if written:
                return
        raise UnavailableError(
            f"store {self._store.location}: the claim of node {self._owner[0]} was changed by "
            "others again and again: let one agent run for each node"
        )

    def _pending(self, claim: NodeClaim) -> tuple[Return, ...]:
        """The blocks given back that are still this node's."""
        return tuple(one for one in claim.returned if self._is_same(one.prefix, one.token))

    def _is_same(self, block: Prefix, token: str) -> bool:
        record = self._block(block)
        owner = (record.node, record.identity) if record is not None else None
        return record is not None and owner == self._owner and record.token == token

    def _block(self, block: Prefix) -> BlockRecord | None:
        item = self._store.get(codec.block_key(block))
        record = None if item is None else codec.decode(item.key, item.value)
        return record if isinstance(record, BlockRecord) else None

    def _record(self) -> tuple[NodeRecord | None, KeyValue | None]:
        for key in (codec.node_key(self._owner[0]), codec.former_key(*self._owner)):
            item = self._store.get(key)
            record = None if item is None else codec.decode(key, item.value)
            if isinstance(record, NodeRecord) and record.identity == self._owner[1]:
                return record, item
        return None, None

    def _blocks(self, owner: NodeRecord) -> tuple[Prefix, ...]:
        if owner.blocks is not None:
            return owner.blocks
        records = (codec.decode(i.key, i.value) for i in self._store.range(codec.BLOCKS).items)
        return tuple(
            sorted(
                record.prefix
                for record in records
                if isinstance(record, BlockRecord) and (record.node, record.identity) == self._owner
            )
        )

    def _refusal(self, claim: KeyValue | None) -> tuple[str, KeyValue | None]:
        """Why the claim as it stands was refused; an answer to an earlier one is none."""
        item = self._store.get(refusal_key(self._owner))
        if item is None or claim is None:
            return "", item
        refusal = decode_refusal(item.key, item.value)
        return (refusal.reason if refusal.revision == claim.mod_revision else ""), item
