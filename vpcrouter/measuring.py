"""What blocks weigh and nodes can carry in one cluster, with what the store says about it.

Reports are the agents'; weights in use are kept by whoever applies plans, so that everybody plans
with the same ones. What cannot be read is left out and named: it is no reason to stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import quote, unquote

from ipam.errors import BadInputError
from ipam.model import Node as Owner
from ipam.model import State
from ipam.prefix import Prefix
from ipam.store.port import Delete, Operation, Put, Store
from vpcrouter.assemble import ALIKE, Measures
from vpcrouter.capacity import capacities
from vpcrouter.membership import Member
from vpcrouter.problems import Problem
from vpcrouter.reports import REPORTS, decode_report
from vpcrouter.weights import (
    EQUAL,
    WEIGHTS,
    Kind,
    Reported,
    Steady,
    Weights,
    by_class,
    decode_steady,
    encode_steady,
    measured,
)
from vpcrouter.weights import Owner as Weighed


class Measuring:
    """Measures of one cluster, in the way that its file asks for."""

    def __init__(self, store: Store, weights: Kind, capacity: Literal["equal", "instance"]) -> None:
        self._store = store
        self._weights = weights
        self._by_instance = capacity == "instance"
        self._found = EQUAL

    def measures(
        self, members: Mapping[str, Member], state: State
    ) -> tuple[Measures, tuple[Problem, ...]]:
        """What to plan with, and notes about what is a guess or cannot be read."""
        if self._weights is Kind.EQUAL and not self._by_instance:
            return ALIKE, ()
        found, unread = self._weigh(members, state)
        self._found = found
        known = capacities(
            {name: member.node.instance_type for name, member in members.items()}
            if self._by_instance
            else {}
        )
        return Measures(found.of, known.of), (*found.notes, *known.notes, *unread)

    def keep(self, state: State) -> None:
        """Write the weights last measured, for owners whose weights have changed; drop others'."""
        if self._weights is not Kind.MEASURED:
            return
        kept = {item.key: item.value for item in self._store.range(WEIGHTS).items}
        wanted = {}
        for owner in state.owners():
            blocks = {b: self._found.steady[b] for b in owner.owned if b in self._found.steady}
            if blocks:
                wanted[_key(WEIGHTS, owner)] = encode_steady(blocks)
        operations: list[Operation] = [
            Put(key, value) for key, value in wanted.items() if kept.get(key) != value
        ]
        operations += [Delete(key) for key in kept if key not in wanted]
        size = self._store.max_operations
        for first in range(0, len(operations), size):
            self._store.txn([], operations[first : first + size])

    def _weigh(
        self, members: Mapping[str, Member], state: State
    ) -> tuple[Weights, tuple[Problem, ...]]:
        if self._weights is Kind.EQUAL:
            return EQUAL, ()
        owners = [_weighed(owner, members) for owner in state.owners()]
        if self._weights is Kind.CLASS:
            return by_class(owners), ()
        problems: list[Problem] = []
        reports = dict(self._reports(problems))
        before: dict[Prefix, Steady] = {}
        for item in self._store.range(WEIGHTS).items:
            try:
                before.update(decode_steady(item.key, item.value))
            except BadInputError as error:
                problems.append(_unreadable(item.key, error))
        return measured(owners, reports, before), tuple(problems)

    def _reports(self, problems: list[Problem]) -> Iterator[tuple[tuple[str, str], Reported]]:
        for item in self._store.range(REPORTS).items:
            name, _, identity = item.key.removeprefix(REPORTS).partition("/")
            try:
                blocks = decode_report(item.key, item.value)
            except BadInputError as error:
                problems.append(_unreadable(item.key, error))
                continue
            yield (unquote(name), unquote(identity)), Reported(blocks, item.mod_revision)


def _weighed(owner: Owner, members: Mapping[str, Member]) -> Weighed:
    member = members.get(owner.name)
    pods = member.node.pods if member is not None and member.owns(owner) else None
    return Weighed(owner.name, owner.identity, pods, tuple(owner.owned))


def _key(folder: str, owner: Owner) -> str:
    return f"{folder}{quote(owner.name, safe='')}/{quote(owner.identity, safe='')}"


def _unreadable(key: str, error: BadInputError) -> Problem:
    return Problem(str(error).removeprefix(f"{key}: "), key)
