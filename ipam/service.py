"""Who owns which addresses, kept in a store: the only caller of the store for addresses.

Invariants, for whoever changes this:

- Every write is a compare-and-swap on all keys that it writes, as they were read, and on ``/meta``.
- ``/meta`` is written whenever a subnet gets a prefix or a network changes. So whoever decided on
  an older division of the networks loses, and prefixes of different subnets stay disjoint.
- A block is created if absent, together with its owner's record, or not at all.
- Retries are bounded. A lost comparison means: read, decide again.
- Batches may need several transactions. Each leaves the store whole; what is missing after a crash
  is done by running again, since a node that is there is not given anything twice.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from ipam import codec, placement, writes
from ipam.errors import UnavailableError
from ipam.ledger import Ledger
from ipam.model import Claim, Network, State
from ipam.placement import Outcome
from ipam.prefix import Family, Prefix
from ipam.releasing import without_blocks, without_owners
from ipam.room import ANY_ROOM, Room
from ipam.store.port import Compare, Operation, Put, Store

ATTEMPTS = 60
"""How often a change is decided anew because somebody else was faster."""


def new_token() -> str:
    """Something that no other attempt writes."""
    return secrets.token_hex(8)


def short_pause(attempt: int) -> None:
    """Let others finish: up to 20 ms, longer after more attempts, not in step with anybody."""
    time.sleep(random.uniform(0, min(0.02, 0.0005 * 2**attempt)))  # noqa: S311 - not a secret


class Addresses:
    """The addresses of one cluster. One object is for one thread at a time.

    ``networks`` are those of the cluster file; they come into force with the next change.
    """

    def __init__(
        self,
        store: Store,
        cluster: str,
        networks: Sequence[Network],
        token: Callable[[], str] = new_token,
        pause: Callable[[int], None] = short_pause,
    ) -> None:
        self._store = store
        self._token = token
        self._pause = pause
        self._ledger = Ledger(cluster, tuple(networks), store.location)

    def load(self) -> State:
        """Who owns what now. Writes nothing, and makes no store where there is none.

        Raises UnavailableError where the store cannot be read, BadInputError where it is another
        cluster's, contradicts itself, or holds what the networks do not allow any more.
        """
        ledger = self._ledger
        if ledger.revision:
            changes = self._store.watch("/", ledger.revision).next(0)
            if not changes.compacted and changes.revision >= ledger.revision:
                if not changes.events:
                    return ledger.state
                if ledger.follow(changes):
                    return ledger.state
        ledger.reload(self._store.range("/"))
        return ledger.state

    @property
    def blocks_at_once(self) -> int:
        """How many blocks of each family one transaction gives to one node at most."""
        return max(1, (self._store.max_operations - 2) // len(Family))

    def tokens(self, blocks: Iterable[Prefix]) -> dict[Prefix, str]:
        """Of these blocks, those that are given out, with the token of the attempt that did so.

        They are of the state that was loaded or decided on last.
        """
        records = ((block, self._ledger.block(block)) for block in blocks)
        return {block: record.token for block, record in records if record is not None}

    def join(
        self, claims: Sequence[Claim], budget: Mapping[Family, int], room: Room = ANY_ROOM
    ) -> Outcome:
        """Give new nodes their blocks, as ``placement.join`` decides."""
        return self.change(lambda state: placement.join(state, claims, budget, room))

    def grow(
        self,
        name: str,
        blocks: int,
        budget: Mapping[Family, int] = placement.UNKNOWN_BUDGET,
    ) -> Outcome:
        """Give a node further blocks, as ``placement.grow`` decides.

        More than a transaction of the store takes are given in several.
        """
        at_once = self.blocks_at_once
        if blocks > at_once:
            whole = placement.grow(self.load(), name, blocks, budget)
            if whole.refused:
                return whole
        while blocks > at_once:
            outcome = self.change(partial(placement.grow, name=name, blocks=at_once, budget=budget))
            if outcome.refused:
                return outcome
            blocks -= at_once
        return self.change(partial(placement.grow, name=name, blocks=blocks, budget=budget))

    def leave(self, names: Sequence[str]) -> State:
        """Free the blocks of nodes that are gone."""
        return self.change(lambda state: Outcome(placement.leave(state, names), ())).state

    def release(self, owners: Sequence[tuple[str, str]]) -> State:
        """Free the blocks of former nodes, by name and identity."""
        return self.change(lambda state: Outcome(placement.release(state, owners), ())).state

    def end(self, owners: Sequence[tuple[str, str]]) -> State:
        """Free all that nodes own, by name and identity, and forget them: there or former."""
        return self.change(lambda state: Outcome(without_owners(state, owners), ())).state

    def take_back(self, owner: tuple[str, str], blocks: Sequence[Prefix]) -> State:
        """Free some of the blocks and static addresses of a node, by name and identity."""
        return self.change(lambda state: Outcome(without_blocks(state, owner, blocks), ())).state

    def change(self, decide: Callable[[State], Outcome]) -> Outcome:
        """Write what is decided; it is decided anew where somebody else was faster.

        Raises UnavailableError, also where others were faster every time.
        """
        for attempt in range(ATTEMPTS):
            before = self.load()
            outcome = decide(before)
            if outcome.state is before or self._write(before, outcome.state):
                return outcome
            self._pause(attempt)
        raise UnavailableError(
            f"store {self._store.location} was changed by others {ATTEMPTS} times in between: "
            "run again when there is less going on"
        )

    def _write(self, before: State, after: State) -> bool:
        """Make the store hold the new state; False where somebody else has changed it meanwhile."""
        limit = self._store.max_operations
        recorded = self._ledger.recorded if self._ledger.mod_revision(codec.META) else None
        changes = [
            *writes.layout_changes(before, after, recorded),
            *writes.owner_changes(before, after, self._token(), limit),
        ]
        mine: dict[str, int] = {}  # what the transactions before have made of keys
        for batch in writes.batches(changes, limit):
            compares = [
                Compare(key, mine[key] if key in mine else self._ledger.mod_revision(key))
                for key in (codec.META, *sorted(batch.keys))
            ]
            revision = self._transact(compares, batch.operations)
            if revision is None:
                return False
            for operation in batch.operations:
                mine[operation.key] = revision if isinstance(operation, Put) else 0
        return True

    def _transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> int | None:
        """The revision that was made, None if a comparison failed."""
        try:
            result = self._store.txn(compares, operations)
        except UnavailableError:
            # It may have happened nevertheless: only then is our token there.
            revision = self._revision_of(operations)
            if revision is None:
                raise
            return revision
        return result.revision if result.succeeded else None

    def _revision_of(self, operations: Sequence[Operation]) -> int | None:
        """The revision of a transaction that may have happened, None if it has not.

        All of it has if one key that carries our token is as we write it; without any, if every
        key is as wanted, whoever made it so.
        """
        signed = [o for o in operations if isinstance(o, Put) and o.key.startswith(_SIGNED)]
        revision = self._ledger.revision
        for operation in signed[:1] or operations:
            found = self._store.get(operation.key)
            if (found.value if found is not None else None) != _value(operation):
                return None
            revision = max(revision, found.mod_revision if found is not None else 0)
        return revision


_SIGNED = (codec.NODES, codec.FORMER, codec.BLOCKS)


def _value(operation: Operation) -> bytes | None:
    return operation.value if isinstance(operation, Put) else None
