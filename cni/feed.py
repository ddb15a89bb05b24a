"""Keeps a view up to date from the store: everything once, then only what has changed."""

from __future__ import annotations

from cni.surroundings import FOLDERS, View
from ipam.store.port import Changes, Store


class Feed:
    """Follows the folders of a store that a view is made from. For one thread."""

    def __init__(self, store: Store, view: View) -> None:
        self._store = store
        self._view = view
        self._revisions = dict.fromkeys(FOLDERS, 0)

    @property
    def revision(self) -> int:
        """The view has all changes up to this revision of the store."""
        return min(self._revisions.values())

    def read(self) -> None:
        """Put everything into the view."""
        for folder in FOLDERS:
            self._read(folder)

    def wait(self, timeout: float) -> bool:
        """Wait up to so many seconds for changes, and put them into the view; False if none."""
        first, *others = FOLDERS
        changed = self._follow(first, timeout)
        for folder in others:
            changed |= self._follow(folder, 0)
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
        return bool(changes.events)

    def _read(self, folder: str) -> None:
        found = self._store.range(folder)
        self._view.forget(folder)
        for item in found.items:
            self._view.put(item.key, item.value)
        self._revisions[folder] = found.revision
