"""Samples of growth in the store: how many nodes and blocks each place had, from time to time.

One key for each place: ``/samples/NETWORK/FAMILY/PATH``, parts of the path apart by slashes, all
percent-encoded. Its value is a short series, oldest first. Nothing rests on it but forecasts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote

from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family
from vpcrouter.views.forecast import DAY, Place, Sample

SAMPLES = "/samples/"
VERSION = 1
INTERVAL = DAY / 4
"""A sample is taken once so many seconds have passed since the last one."""

KEPT = 240
"""So many samples of a place are kept: those of 60 days."""


def sample_key(place: Place) -> str:
    """The key of a place."""
    network, family, path = place
    return SAMPLES + "/".join(quote(part, safe="") for part in (network, family.value, *path))


def encode_series(series: Sequence[Sample]) -> bytes:
    """The value of a series."""
    rows = [[sample.time, sample.nodes, sample.blocks] for sample in series]
    return json.dumps({"version": VERSION, "samples": rows}, separators=(",", ":")).encode()


def decode_series(key: str, value: bytes) -> tuple[Place, tuple[Sample, ...]]:
    """The place of a key and its series.

    Raises UnavailableError where a newer program wrote it, BadInputError where nobody did.
    """
    try:
        network, family, *path = map(unquote, key.removeprefix(SAMPLES).split("/"))
        document: object = json.loads(value)
        if not isinstance(document, dict):
            raise ValueError("no object")
        version = document["version"]
        if isinstance(version, int) and version > VERSION:
            raise UnavailableError(
                f"key {key} of the store is of a newer version ({version}, known is {VERSION}): "
                "upgrade vpcrouter"
            )
        series = tuple(_sample(row) for row in document["samples"])
        return (network, Family(family), tuple(path)), series
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInputError(
            f"key {key} of the store holds no samples: remove it: forecasts begin anew"
        ) from error


def history(items: Iterable[tuple[str, bytes]]) -> Mapping[Place, tuple[Sample, ...]]:
    """All series by what they are of, from keys and values."""
    return dict(decode_series(key, value) for key, value in items)


def is_due(series: Iterable[Sequence[Sample]], now: float) -> bool:
    """Whether it is time for new samples: the last one is old enough, or lies in the future."""
    last = max((samples[-1].time for samples in series if samples), default=-math.inf)
    return not now - INTERVAL < last <= now


def appended(series: Sequence[Sample], sample: Sample) -> tuple[Sample, ...]:
    """A series with a newer sample; what a clock that was wrong put after it is left out."""
    earlier = [one for one in series if one.time < sample.time]
    return (*earlier, sample)[-KEPT:]


def _sample(row: object) -> Sample:
    if not isinstance(row, list) or len(row) != 3:
        raise ValueError("no sample")
    time, nodes, blocks = row
    is_time = isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time)
    if not is_time or not _is_count(nodes) or not _is_count(blocks):
        raise ValueError("no sample")
    return Sample(float(time), nodes, blocks)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
