"""Memory of commands that make very many objects and end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_held: list[object] = []


def hold(*values: object) -> None:
    """Keep these, and no earlier ones, until the process ends, which frees them all at once.

    One by one, that takes half a second for a hundred thousand nodes.
    """
    _held[:] = values


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles meanwhile: there are none in what is read, and looking takes long."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
