"""A mapping that shares all but its latest changes with the one that it was made from. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, overload

Key = TypeVar("Key")
Value = TypeVar("Value")
Other = TypeVar("Other")

_FEWEST = 64


class Overlay(Mapping[Key, Value], Generic[Key, Value]):
    """What another mapping holds, with changes on top of it; that one must not change any more.

    Taking one of another copies its changes only. There are never more of them than about the root
    of its size: then all is copied once, so that n entries changed one by one cost about n roots.
    """

    __slots__ = ("_base", "_changes", "_size")

    def __init__(self, below: Mapping[Key, Value]) -> None:
        self._changes: dict[Key, Value | None] = {}
        self._base: Mapping[Key, Value] = below
        self._size = len(below)
        if isinstance(below, Overlay):
            if len(below.latest) ** 2 <= _FEWEST**2 + len(below):
                self._changes = dict(below.latest)
                self._base = below.base
            else:
                self._base = dict(below.items())

    @property
    def base(self) -> Mapping[Key, Value]:
        """What the changes are on top of."""
        return self._base

    @property
    def latest(self) -> Mapping[Key, Value | None]:
        """The changes on top, None for what is gone: what taking another copies."""
        return self._changes

    def put(self, key: Key, value: Value) -> None:
        """Let a key have this value, which is not None."""
        self._size += key not in self
        self._changes[key] = value

    def remove(self, key: Key) -> None:
        """Let there be no such key; raises KeyError if there is none."""
        if key not in self:
            raise KeyError(key)
        self._size -= 1
        self._changes[key] = None

    def flat(self) -> Mapping[Key, Value]:
        """The same: without anything below it where most of it has changed."""
        return self if 2 * len(self._changes) <= self._size else dict(self.items())

    def __getitem__(self, key: Key) -> Value:
        if key in self._changes:
            value = self._changes[key]
            if value is None:
                raise KeyError(key)
            return value
        return self._base[key]

    @overload
    def get(self, key: Key, /) -> Value | None: ...
    @overload
    def get(self, key: Key, /, default: Value | Other) -> Value | Other: ...
    def get(self, key: Key, /, default: Value | Other | None = None) -> Value | Other | None:
        """The value of a key, or else the default."""
        if key in self._changes:
            value = self._changes[key]
            return default if value is None else value
        return self._base.get(key, default)

    def __contains__(self, key: object) -> bool:
        return self._changes[key] is not None if key in self._changes else key in self._base

    def __iter__(self) -> Iterator[Key]:
        changes = self._changes
        for key in self._base:
            if key not in changes:
                yield key
        for key, value in changes.items():
            if value is not None:
                yield key

    def __len__(self) -> int:
        return self._size
