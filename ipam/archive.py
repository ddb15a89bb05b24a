"""A store as one JSON file, to keep, to look through, to correct and to start again from.

The same records always give the same bytes. What ends by itself (a lease's keys) is left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipam import codec
from ipam.errors import BadInputError, ConflictError, UnavailableError
from ipam.store.port import Compare, Delete, KeyValue, Operation, Put, Store

VERSION = 1

_BASE64 = "base64"
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Archive:
    """The records of a store by key; ``cluster`` is whose they are, empty where none says it."""

    cluster: str
    records: Mapping[str, bytes]


def read_archive(store: Store) -> Archive:
    """The records of a store at one moment. Raises UnavailableError."""
    records = {item.key: item.value for item in store.range("/").items if item.lease is None}
    return Archive(_cluster(records), records)


def dump_archive(archive: Archive) -> bytes:
    """The file of an archive: a record in each line, in the order of their keys."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(_shown(value))}"
        for key, value in sorted(archive.records.items())
    )
    head = f'{{"version": {VERSION}, "cluster": {json.dumps(archive.cluster)}, "records": {{'
    return (head + "\n" + ",\n".join(lines) + "\n}}\n").encode()


def parse_archive(content: bytes, name: str) -> Archive:
    """The archive in a file; ``name`` is for messages.

    Raises BadInputError where it is none, UnavailableError where it is of a newer version.
    """
    try:
        document = json.loads(content, object_pairs_hook=_once)
        version = document["version"]
        if isinstance(version, int) and version > VERSION:
            raise UnavailableError(
                f"{name} is of a newer version ({version}, known is {VERSION}): upgrade vpcrouter"
            )
        unknown = sorted(document.keys() - {"version", "cluster", "records"})
        if version != VERSION or isinstance(version, bool) or unknown:
            raise ValueError(f"unknown field {unknown[0]}" if unknown else "no known version")
        records = {_key(key): _value(value) for key, value in document["records"].items()}
        cluster = document["cluster"]
        if not isinstance(cluster, str) or cluster != _cluster(records):
            raise ValueError(f"`cluster` is not that of its record {codec.META}")
    except KeyError as error:
        raise _none(name, f"{error.args[0]} is missing") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _none(name, str(error)) from error
    return Archive(cluster, records)


def restore(store: Store, archive: Archive, *, replace: bool) -> int:
    """Make a store hold these records and no others; answers how many were written or deleted.

    Without ``replace`` the store must be empty. Where one transaction does not take all, what is
    there in between is refused by every reader, and the same import goes on after a crash. Raises
    ConflictError where somebody else writes to the store, or it holds records already.
    """
    for _ in range(_ATTEMPTS):
        present = {item.key: item for item in store.range("/").items if item.lease is None}
        mark = present.pop(codec.IMPORTING, None)
        begun = mark is not None and codec.META not in present
        goes_on = mark is not None and begun and mark.value == _digest(archive)
        if present and not replace and not goes_on:
            raise ConflictError(
                f"store {store.location} holds {len(present)} records already: give --replace to "
                "have these in place of them"
            )
        written = _restore(store, archive, present, mark)
        if written is not None:
            return written
    raise ConflictError(
        f"store {store.location} is changed by others meanwhile: stop them, then import again"
    )


def _restore(
    store: Store, archive: Archive, present: Mapping[str, KeyValue], mark: KeyValue | None
) -> int | None:
    """How many records were changed; None where somebody else was faster."""
    operations: list[Operation] = [Delete(key) for key in present.keys() - archive.records.keys()]
    operations += [
        Put(key, value)
        for key, value in archive.records.items()
        if key not in present or present[key].value != value
    ]
    operations.sort(key=lambda operation: operation.key)
    revisions = {key: item.mod_revision for key, item in present.items()}
    done = [Delete(codec.IMPORTING)] if mark is not None else []
    if len(operations) + 2 <= store.max_operations and len(present) + 2 <= store.max_operations:
        compares = [Compare(key, revisions.get(key, 0)) for key in {*revisions, *archive.records}]
        return len(operations) if _wrote(store, compares, [*operations, *done]) else None
    return _in_parts(store, archive, operations, revisions, mark)


def _in_parts(
    store: Store,
    archive: Archive,
    operations: Sequence[Operation],
    revisions: Mapping[str, int],
    mark: KeyValue | None,
) -> int | None:
    """First the mark, in place of ``/meta``; last ``/meta``, in place of the mark."""
    meta = revisions.get(codec.META, 0)
    compares = [
        Compare(codec.META, meta),
        Compare(codec.IMPORTING, mark.mod_revision if mark is not None else 0),
    ]
    if not _wrote(store, compares, [Put(codec.IMPORTING, _digest(archive)), Delete(codec.META)]):
        return None
    rest = [operation for operation in operations if operation.key != codec.META]
    for part in _parts(rest, store.max_operations):
        if not _wrote(store, [Compare(o.key, revisions.get(o.key, 0)) for o in part], part):
            return None
    last: list[Operation] = [Delete(codec.IMPORTING)]
    if codec.META in archive.records:
        last.append(Put(codec.META, archive.records[codec.META]))
    return len(operations) if _wrote(store, [Compare(codec.META, 0)], last) else None


def _wrote(store: Store, compares: Sequence[Compare], operations: Sequence[Operation]) -> bool:
    """Whether a transaction was done, also where its answer was lost."""
    try:
        return store.txn(compares, operations).succeeded
    except UnavailableError:
        for operation in operations:
            found = store.get(operation.key)
            wanted = operation.value if isinstance(operation, Put) else None
            if (found.value if found is not None else None) != wanted:
                raise
        return True


def _parts(operations: Sequence[Operation], size: int) -> Iterator[Sequence[Operation]]:
    for start in range(0, len(operations), size):
        yield operations[start : start + size]


def _digest(archive: Archive) -> bytes:
    return hashlib.sha256(dump_archive(archive)).hexdigest().encode()


def _cluster(records: Mapping[str, bytes]) -> str:
    """Whose records these are, as far as they say."""
    try:
        meta = codec.decode(codec.META, records[codec.META])
    except (KeyError, BadInputError, UnavailableError):
        return ""
    return meta.cluster if isinstance(meta, codec.Meta) else ""


def _shown(value: bytes) -> object:
    """A value as people can read and correct it, unless that would not give the same bytes."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.keys() != {_BASE64} and _packed(document) == value:
        return document
    return {_BASE64: base64.b64encode(value).decode()}


def _value(document: object) -> bytes:
    if not isinstance(document, dict):
        raise TypeError("a record is not an object")
    if document.keys() == {_BASE64}:
        try:
            return base64.b64decode(document[_BASE64], validate=True)
        except binascii.Error as error:
            raise ValueError(f"{error}") from error
    return _packed(document)


def _packed(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _key(key: str) -> str:
    if not key.startswith("/") or key == codec.IMPORTING:
        raise ValueError(f"{key!r} is no key of a store")
    return key


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose names are all different: of two records of one key one would be lost."""
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} is there twice")
    return document


def _none(name: str, reason: str) -> BadInputError:
    return BadInputError(f"{name} is no export of a store ({reason}): name another file")
