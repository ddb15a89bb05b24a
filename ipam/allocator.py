"""Grants what nodes claim, in batches. One allocator does so: whoever holds its lease in the store.

That only saves work. What makes every block unique is how it is written (see ``service``): two
allocators at once, each with an old view, decide anew where the other was faster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from ipam import granting
from ipam.claim_records import (
    ALLOCATOR,
    CLAIMS,
    REFUSALS,
    NodeClaim,
    RefusalRecord,
    claim_key,
    decode_claim,
    encode_refusal,
    refusal_key,
)
from ipam.errors import BadInputError
from ipam.granting import Asked
from ipam.model import Owner, State, changed_names
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
        self._keys: defaultdict[str, set[str]] = defaultdict(set)
        self._unreadable: dict[str, str] = {}
        # Names of which claims or owners have changed since there was nothing to do about them.
        self._unsettled: set[str] = set()
        self._seen: State | None = None

    def run(self, budget: Mapping[Family, int]) -> Granted:
        """Grant all claims as they are now, as far as there is room, and answer the others.

        ``budget`` as for ``placement.join``. Raises UnavailableError, after which some may have
        been granted; running again goes on from there.
        """
        self._look()
        state = self._addresses.load()
        self._compare(state)
        open_ = self._open()
        reasons = {one.claim.owner: self._admission(one.claim) for one in open_.values()}
        admitted = [one for one in open_.values() if not reasons[one.claim.owner]]
        refused = {owner: reason for owner, reason in reasons.items() if reason}
        if any(one.claim.returned for one in open_.values()):
            state = self._take_back(list(open_.values()))
        wanted = granting.demand(state, admitted)
        if not wanted.is_empty:
            state = self._grant(admitted, budget, refused)
        left = granting.demand(state, admitted)
        refused.update(left.refused)
        self._answer(refused)
        self._settle(state, open_, {*refused, *left.owners})
        state = self._take_back_from_released(state, wanted.owners)
        return Granted(state, refused, dict(self._unreadable))

    def _compare(self, state: State) -> None:
        """Look again at the claims of every name whose owners have changed since the last pass."""
        if self._seen is not None:
            changed = changed_names(self._seen, state)
            self._unsettled.update(name for name in changed if self._keys.get(name))
        self._seen = state

    def _open(self) -> dict[str, Asked]:
        """The claims that have to be looked at, each with all others of its node's name.

        All but those of names about which nothing has changed since there was nothing to do.
        """
        names = sorted(self._unsettled)
        return {key: self._asked[key] for name in names for key in sorted(self._keys[name])}

    def _settle(self, state: State, looked_at: Mapping[str, Asked], still: Set[Owner]) -> None:
        names = {one.claim.node for one in looked_at.values()}
        busy = {name for name, _ in still}
        self._unsettled = {name for name in names if name in busy or name not in state.nodes}

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
        self._keys.clear()
        self._unreadable.clear()
        self._unsettled.clear()
        for item in found.items:
            self._put(item.key, item.value, item.mod_revision, item.create_revision)
        self._revision = found.revision

    def _put(self, key: str, value: bytes | None, changed: int, made: int | None = None) -> None:
        earlier = self._asked.pop(key, None)
        if earlier is not None:
            self._keys[earlier.claim.node].discard(key)
            self._unsettled.add(earlier.claim.node)
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
        self._keys[claim.node].add(key)
        self._unsettled.add(claim.node)

    def _take_back(self, asked: list[Asked]) -> State:
        def decide(state: State) -> Outcome:
            blocks = [back.prefix for one in asked for back in one.claim.returned]
            return Outcome(granting.returned(state, asked, self._addresses.tokens(blocks)), ())

        return self._addresses.change(decide).state

    def _take_back_from_released(self, state: State, owners: Set[Owner]) -> State:
        """End those who were granted something while an operator released them.

        Another allocator's grant, the release and our grant can follow each other so closely that
        our transaction finds all as it was read. Then a node would stay that nobody asks for.
        """
        if not owners:
            return state
        self._look()
        gone = [owner for owner in sorted(owners) if not self._asks(claim_key(owner))]
        return self._addresses.end(gone) if gone else state

    def _asks(self, key: str) -> bool:
        """Whether there is such a claim, be it one that cannot be read."""
        return key in self._asked or key in self._unreadable

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
        for one in admitted:
            reason, node = failed.get(one.claim.node), outcome.state.nodes.get(one.claim.node)
            if reason and (node is None or node.identity == one.claim.identity):
                refused.setdefault(one.claim.owner, reason)
        return outcome.state

    def _answer(self, refused: Mapping[Owner, str]) -> None:
        """Write why claims were refused, and delete what does not hold any more."""
        wanted = {
            refusal_key(owner): RefusalRecord(self._asked[claim_key(owner)].changed, reason)
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
