"""What the agents of a lab say in its store: who is there, and what their host routes reflect."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from cni.reports import Report, load_report
from cni.surroundings import REPORTS
from ipam import codec
from ipam.claim_records import ALIVE, owner_of
from ipam.codec import BlockRecord
from ipam.errors import BadInputError
from ipam.store.port import Store
from ipam.store.sqlite import SqliteStore
from vpcrouter.lab.behind import Owned, behind
from vpcrouter.lab.record import Record

_PATIENCE = 2.0  # seconds to wait for the lock of the store
_PAUSE = 0.05


def alive(record: Record) -> frozenset[str]:
    """The nodes whose agents hold their lease. Raises UnavailableError."""
    with _store(record) as store:
        return frozenset(owner_of(item.key)[0] for item in store.range(ALIVE).items)


def wait_for_routes(record: Record, nodes: Collection[str], patience: float) -> Mapping[str, str]:
    """Wait until these nodes' host routes reflect each other's blocks, so many seconds at most.

    Gives those that do not by then, and why. Raises UnavailableError.
    """
    asked = {m.name: m.zone.name for m in record.layout.machines if m.name in nodes}
    deadline = time.monotonic() + patience
    with _store(record) as store:
        while (found := behind(_blocks(store, asked), _reports(store), asked)) and (
            time.monotonic() < deadline
        ):
            time.sleep(_PAUSE)
    return found


@contextmanager
def _store(record: Record) -> Iterator[Store]:
    store = SqliteStore(record.store, patience=_PATIENCE)
    try:
        yield store
    finally:
        store.close()


def _blocks(store: Store, asked: Mapping[str, str]) -> Iterator[Owned]:
    for item in store.range(codec.BLOCKS).items:
        block = codec.decode(item.key, item.value)
        if isinstance(block, BlockRecord) and block.node in asked:
            yield Owned(block.prefix, block.node, asked[block.node], item.mod_revision)


def _reports(store: Store) -> Mapping[str, Report | None]:
    found: dict[str, Report | None] = {}
    for item in store.range(REPORTS).items:
        name = owner_of(item.key)[0]
        try:
            found[name] = load_report(item.key, item.value)
        except BadInputError:
            found[name] = None  # as if there were none: said with its node
    return found
