"""Takes samples of growth now and then, whenever addresses are given out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ipam.errors import BadInputError, UnavailableError
from ipam.model import State
from ipam.store.port import Compare, KeyValue, Put, Store
from vpcrouter.samples import SAMPLES, appended, decode_series, encode_series, is_due, sample_key
from vpcrouter.views.forecast import Sample, foreseen, place_of
from vpcrouter.views.tree import trees

MOST_PLACES = 2_000
"""Of more places only the outermost have a history."""


def take_samples(store: Store, state: State) -> tuple[str, ...]:
    """Write how many nodes and blocks there are now, if the last sample is old enough.

    Gives warnings instead of raising errors: addresses never wait for a forecast. Whoever else
    takes samples at the same time wins or loses; either is as good.
    """
    try:
        items = store.range(SAMPLES).items
        known = {item.key: (item, _series(item)) for item in items}
        now = time.time()
        if not is_due((series for _, series in known.values()), now):
            return ()
        changes = []
        branches = sorted(foreseen(trees(state, {})), key=lambda branch: len(branch.path))
        for branch in branches[:MOST_PLACES]:
            key = sample_key(place_of(branch))
            item, series = known.get(key, (None, ()))
            taken = appended(series, Sample(now, branch.nodes, branch.blocks))
            revision = 0 if item is None else item.mod_revision
            changes.append((Compare(key, revision), Put(key, encode_series(taken))))
        _write(store, changes)
    except (BadInputError, UnavailableError) as error:
        return (f"no sample of growth was taken: {error}",)
    return ()


def _series(item: KeyValue) -> Sequence[Sample]:
    return decode_series(item.key, item.value)[1]


def _write(store: Store, changes: Sequence[tuple[Compare, Put]]) -> None:
    for first in range(0, len(changes), store.max_operations):
        batch = changes[first : first + store.max_operations]
        store.txn([compare for compare, _ in batch], [put for _, put in batch])
