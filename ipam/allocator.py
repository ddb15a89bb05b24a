"""Grants what nodes claim, in batches. One allocator does so: whoever holds its lease in the store.

That only saves work. What makes every block unique is how it is written (see ``service``): two
allocators at once, each with an old view, decide anew where the other was faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ipam import granting
from ipam.claim_records import (
    ALLOCATOR,
    CLAIMS,
    REFUSALS,
    NodeClaim,
    Owner,
    RefusalRecord,
    decode_claim,
    encode_refusal,
    refusal_key,
)
from ipam.errors import BadInputError
from ipam.granting import Asked
from ipam.model import State
from ipam.placement import Outcome
from ipam.prefix import Family
from ipam.service import Addresses
from ipam.store.port import Compare, Delete, Operation, Put, Store

_ROUNDS = 1_000

Admission = Callable[[NodeClaim], str]
"""Why a claim must not be granted, empty if it may be."""


def everybody(_: NodeClaim) -> str:
    """Grants whoever asks."""
    return ""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a pass has come to.

    The state afterwards, who was refused and why, and claims that cannot be read, by key.
    """

    state: State
    refused: Mapping[Owner, str]
    unreadable: Mapping[str, str]


class Allocator:
    """Grants claims. One object is for one thread. ``admission`` says who may be granted."""

    def __init__(
        self, store: Store, addresses: Addresses, admission: Admission = everybody
    ) -> None:
        self._store = store
        self._addresses = addresses
        self._admission = admission
        self._revision = 0
        self._asked: dict[str, Asked] = {}
        self._unreadable: dict[str, str] = {}

    def run(self, budget: Mapping[Family, int]) -> Granted:
        """Grant all claims as they are now, as far as there is room, and answer the others.

        ``budget`` as for ``placement.join``. Raises UnavailableError, after which some may have
        been granted; running again goes on from there.
        """
        self._look()
        asked = list(self._asked.values())
        reasons = {one.claim.owner: self._admission(one.claim) for one in asked}
        admitted = [one for one in asked if not reasons[one.claim.owner]]
        refused = {owner: reason for owner, reason in reasons.items() if reason}
        state = self._take_back(asked)
        wanted = granting.demand(state, admitted)
        refused.update(wanted.refused)
        if not wanted.is_empty:
            state = self._grant(admitted, budget, refused)
        self._answer(refused)
        return Granted(state, refused, dict(self._unreadable))

    def _look(self) -> None:
        """Take in the claims, or what has changed about them."""
        if self._revision:
            changes = self._store.watch(CLAIMS, self._revision).next(0)
            if not changes.compacted and changes.revision >= self._revision:
                for event in changes.events:
                    self._put(event.key, event.value, event.revision)
                self._revision = changes.revision
                return
        found = self._store.range(CLAIMS)
        self._asked.clear()
        self._unreadable.clear()
        for item in found.items:
            self._put(item.key, item.value, item.mod_revision, item.create_revision)
        self._revision = found.revision

    def _put(self, key: str, value: bytes | None, changed: int, made: int | None = None) -> None:
        earlier = self._asked.pop(key, None)
        self._unreadable.pop(key, None)
        if value is None:
            return
        try:
            claim = decode_claim(key, value)
        except BadInputError as error:
            self._unreadable[key] = str(error)
            return
        if made is None:
            made = earlier.made if earlier is not None else changed
        self._asked[key] = Asked(claim, made, changed)

    def _take_back(self, asked: list[Asked]) -> State:
        if not any(one.claim.returned for one in asked):
            return self._addresses.load()

        def decide(state: State) -> Outcome:
            blocks = [back.prefix for one in asked for back in one.claim.returned]
            return Outcome(granting.returned(state, asked, self._addresses.tokens(blocks)), ())

        return self._addresses.change(decide).state

    def _grant(
        self, admitted: list[Asked], budget: Mapping[Family, int], refused: dict[Owner, str]
    ) -> State:
        """Grant in as many writes as it takes; whoever was refused is not tried again."""
        failed: dict[str, str] = {}
        before: State | None = None

        def decide(state: State) -> Outcome:
            left = [one for one in admitted if one.claim.node not in failed]
            wanted = granting.demand(state, left)
            return granting.granted(state, wanted, budget, self._addresses.blocks_at_once)

        for _ in range(_ROUNDS):
            outcome = self._addresses.change(decide)
            failed.update({one.node: one.reason for one in outcome.refused})
            left = [one for one in admitted if one.claim.node not in failed]
            if outcome.state is before or granting.demand(outcome.state, left).is_empty:
                break
            before = outcome.state
        present = {name: node.identity for name, node in outcome.state.nodes.items()}
        for one in admitted:
            reason = failed.get(one.claim.node)
            if reason and present.get(one.claim.node, one.claim.identity) == one.claim.identity:
                refused.setdefault(one.claim.owner, reason)
        return outcome.state

    def _answer(self, refused: Mapping[Owner, str]) -> None:
        """Write why claims were refused, and delete what does not hold any more."""
        revisions = {one.claim.owner: one.changed for one in self._asked.values()}
        wanted = {
            refusal_key(owner): RefusalRecord(revisions[owner], reason)
            for owner, reason in refused.items()
        }
        changes: list[tuple[Compare, Operation]] = []
        for item in self._store.range(REFUSALS).items:
            compare = Compare(item.key, item.mod_revision)
            record = wanted.pop(item.key, None)
            if record is None:
                changes.append((compare, Delete(item.key)))
            elif item.value != encode_refusal(record):
                changes.append((compare, Put(item.key, encode_refusal(record))))
        for key, record in wanted.items():
            changes.append((Compare(key, 0), Put(key, encode_refusal(record))))
        for start in range(0, len(changes), self._store.max_operations):
            part = changes[start : start + self._store.max_operations]
            # Another allocator that was faster has answered: the next pass looks again.
            self._store.txn([compare for compare, _ in part], [change for _, change in part])


class Tenure:
    """Who allocates: a lease in the store that ends by itself when its holder does.

    ``holder`` names this process in the store, for people.
    """

    def __init__(self, store: Store, holder: str, seconds: float) -> None:
        self._store = store
        self._holder = holder.encode()
        self._seconds = seconds
        self._lease: int | None = None

    def hold(self) -> bool:
        """Take it, or keep it; False while somebody else has it. Call it before every pass."""
        if self._lease is not None and self._store.keep_alive(self._lease):
            return True
        self._lease = None
        if self._store.get(ALLOCATOR) is not None:
            return False
        lease = self._store.grant(self._seconds)
        if self._store.txn(
            [Compare(ALLOCATOR, 0)], [Put(ALLOCATOR, self._holder, lease)]
        ).succeeded:
            self._lease = lease
            return True
        self._store.revoke(lease)
        return False

    def release(self) -> None:
        """Let somebody else have it at once."""
        if self._lease is not None:
            self._store.revoke(self._lease)
            self._lease = None
