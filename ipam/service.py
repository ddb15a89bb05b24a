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
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ipam import codec, placement, writes
from ipam.errors import UnavailableError
from ipam.ledger import Ledger
from ipam.model import Claim, Network, State
from ipam.placement import Outcome
from ipam.prefix import Family
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

    def join(self, claims: Sequence[Claim], budget: Mapping[Family, int]) -> Outcome:
        """Give new nodes their blocks, as ``placement.join`` decides."""
        return self._change(lambda state: placement.join(state, claims, budget))

    def grow(
        self,
        name: str,
        blocks: int,
        budget: Mapping[Family, int] = placement.UNKNOWN_BUDGET,
    ) -> Outcome:
        """Give a node further blocks, as ``placement.grow`` decides.

        More than a transaction of the store takes are given in several.
        """
        at_once = (self._store.max_operations - 2) // len(Family)
        if blocks > at_once:
            whole = placement.grow(self.load(), name, blocks, budget)
            if whole.refused:
                return whole
        while blocks > at_once:
            outcome = self._change(
                partial(placement.grow, name=name, blocks=at_once, budget=budget)
            )
            if outcome.refused:
                return outcome
            blocks -= at_once
        return self._change(partial(placement.grow, name=name, blocks=blocks, budget=budget))

    def leave(self, names: Sequence[str]) -> State:
        """Free the blocks of nodes that are gone."""
        return self._change(lambda state: Outcome(placement.leave(state, names), ())).state

    def release(self, owners: Sequence[tuple[str, str]]) -> State:
        """Free the blocks of former nodes, by name and identity."""
        return self._change(lambda state: Outcome(placement.release(state, owners), ())).state

    def _change(self, decide: Callable[[State], Outcome]) -> Outcome:
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
        meta = self._ledger.mod_revision(codec.META)
        recorded = self._ledger.recorded if meta else None
        changes = [
            *writes.layout_changes(before, after, recorded),
            *writes.owner_changes(before, after, self._token()),
        ]
        for batch in writes.batches(changes, self._store.max_operations):
            operations = batch.operations
            compares = [Compare(codec.META, meta)]
            compares += [Compare(key, self._ledger.mod_revision(key)) for key in sorted(batch.keys)]
            revision = self._transact(compares, operations)
            if revision is None:
                return False
            if any(operation.key == codec.META for operation in operations):
                meta = revision
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
        for operation in operations:
            if isinstance(operation, Put) and operation.key.startswith(codec.NODES):
                found = self._store.get(operation.key)
                written = found is not None and found.value == operation.value
                return found.mod_revision if found is not None and written else None
        return None
