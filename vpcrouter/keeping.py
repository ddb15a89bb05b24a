"""The store of a cluster as an operator looks after it: checked, exported, imported, copied.

Asks neither the cloud nor the node list: a store can be put in order when those are away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ipam.archive import Archive, parse_archive, read_archive, restore
from ipam.checking import Contradiction, Reader, check
from ipam.errors import BadInputError
from ipam.store.sqlite import SqliteStore
from vpcrouter.config import ClusterFile, load_cluster
from vpcrouter.ownership import CHECKS, ROUTES, decode_routes
from vpcrouter.samples import SAMPLES, decode_series
from vpcrouter.weights import WEIGHTS, decode_steady

PASSING = ("/agents/", "/reports/", "/calls/")
"""What agents and the service write anew by themselves: whatever it says, it does no harm."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """The cluster file and its store."""

    file: ClusterFile
    store: SqliteStore

    def archive(self) -> Archive:
        """The records as they are. Raises UnavailableError, BadInputError where there is no store.

        They may contradict each other.
        """
        if not self.file.store.exists():
            raise BadInputError(
                f"there is no store at {self.file.store}: vpcrouter apply makes it, or check "
                "`store` in the cluster file"
            )
        return read_archive(self.store)

    def check(self, archive: Archive) -> tuple[Contradiction, ...]:
        """What contradicts itself, or the cluster file, in these records."""
        items = archive.records.items()
        return check(items, self.file.cluster, self.file.networks, READERS)

    def damage(self) -> tuple[Contradiction, ...]:
        """What is wrong with the file of the store."""
        remedy = "restore it from a backup"
        path = str(self.file.store)
        return tuple(Contradiction(path, one, remedy) for one in self.store.problems())

    def load(self, path: Path) -> Archive:
        """The archive in a file. Raises BadInputError."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInputError(
                f"{path}: cannot be read: {error.strerror}: name an export of a store"
            ) from error
        return parse_archive(content, str(path))

    def restore(self, archive: Archive, *, replace: bool) -> int:
        """Put these records into the store; answers how many have changed."""
        return restore(self.store, archive, replace=replace)


@contextmanager
def keeping(path: Path) -> Iterator[Keeper]:
    """The store of a cluster file; it is let go of afterwards."""
    file = load_cluster(path)
    store = SqliteStore(file.store)
    try:
        yield Keeper(file, store)
    finally:
        store.close()


def _read_route(key: str, value: bytes) -> object:
    return decode_routes([(key, value)])


def _read_anything(key: str, value: bytes) -> object:
    return key, value


READERS: Mapping[str, Reader] = {
    ROUTES: _read_route,
    CHECKS: _read_anything,
    SAMPLES: decode_series,
    WEIGHTS: decode_steady,
    **dict.fromkeys(PASSING, _read_anything),
}
