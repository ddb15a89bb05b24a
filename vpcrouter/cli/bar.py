"""A progress bar on the terminal, and nothing where standard error is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """Shows how many of the steps of a pass are made."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, steps: int, *, again: bool) -> None:
        """A pass with so many steps begins; ``again``: it is not the first one."""
        if self._progress is not None and steps:
            name = "changing tables" + (" (what is left)" if again else "")
            self._task = self._progress.add_task(name, total=steps)

    def advance(self) -> None:
        """One step is made."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """A bar for the time of a run."""
    if not sys.stderr.isatty():
        yield Bar(None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield Bar(progress)
