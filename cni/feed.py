"""Keeps a view up to date from the store: everything once, then only what has changed.

Of the folders that the view is made from only: what other subnets' agents say, what nodes claim and
report, and the renewing of their leases never come here.
"""

from __future__ import annotations

from cni.surroundings import View
from ipam import codec
from ipam.store.port import Changes, Store


class Feed:
    """Follows the folders of a store that a view is made from. For one thread."""

    def __init__(self, store: Store, view: View) -> None:
        self._store = store
        self._view = view
        self._revisions: dict[str, int] = {}
        self._subnet: str | None = None

    @property
    def revision(self) -> int:
        """The view has all changes up to this revision of the store."""
        return min(self._revisions.values())

    def read(self) -> None:
        """Put everything into the view."""
        self._revisions = {}
        self._align()

    def wait(self, timeout: float) -> bool:
        """Wait up to so many seconds for changes, and put them into the view; False if none."""
        changed = self._follow(codec.NODES, timeout)
        for folder in sorted(self._revisions.keys() - {codec.NODES}):
            changed |= self._follow(folder, 0)
        return self._align() or changed

    def _align(self) -> bool:
        """Follow what the view needs by now; False if that is what was followed before."""
        changed = False
        while (needed := self._view.folders()) != self._revisions.keys():
            changed = True
            for folder in self._revisions.keys() - needed:
                del self._revisions[folder]
                self._view.replace(folder, ())
            for folder in sorted(needed - self._revisions.keys()):
                self._read(folder)
        return changed

    def _follow(self, folder: str, timeout: float) -> bool:
        watch = self._store.watch(folder, self._revisions[folder])
        try:
            changes = watch.next(timeout)
        finally:
            watch.close()
        if changes.compacted or changes.revision < self._revisions[folder]:
            self._read(folder)
            return True
        return self._take(folder, changes)

    def _take(self, folder: str, changes: Changes) -> bool:
        for event in changes.events:
            self._view.put(event.key, event.value)
        self._revisions[folder] = changes.revision
        if folder == codec.NODES and self._view.subnet != self._subnet:
            self._read(folder)
        return bool(changes.events)

    def _read(self, folder: str) -> None:
        found = self._store.range(folder)
        self._view.replace(folder, ((item.key, item.value) for item in found.items))
        self._revisions[folder] = found.revision
        if folder == codec.NODES:
            self._subnet = self._view.subnet
