"""``vpcrouter demo``: the whole way in a few seconds, on a cluster that is made up."""

from __future__ import annotations

import sys
import textwrap
from collections import deque
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import TextIOBase
from pathlib import Path
from typing import TextIO

import click

from ipam.errors import VpcrouterError
from vpcrouter.cli.exits import ExitCode, OutputClosedError
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import paint, strong, write

_WIDTH = 100

_EXAMPLES = """
vpcrouter demo
vpcrouter demo --keep /tmp/cluster       # and look around there afterwards
"""


@documented("Plan, apply and fail over 1,500 nodes under a quota of 50.", _EXAMPLES)
@click.option("--keep", metavar="DIR", help="Make this folder for the files and leave them there.")
def command(keep: str | None) -> ExitCode:
    """Plan and apply the routes of a made-up cluster, fail a forwarder, and look at the result.

    Needs no root, no cloud and no network, and leaves nothing behind.
    """
    from vpcrouter.demo import run

    run(_Terminal(), None if keep is None else Path(keep))
    return ExitCode.DONE


class _Terminal:
    """Shows the demonstration on standard output."""

    def say(self, text: str) -> None:
        """A paragraph."""
        # A path or a command stays in one piece, so that it can be copied.
        lines = textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
        write("\n" + paint(lines, "cyan") + "\n")

    def call(self, arguments: Sequence[str], head: int, tail: int) -> None:
        """A command in this process, and a part of its output."""
        from vpcrouter.cli.process import run

        write("\n" + strong(f"$ vpcrouter {' '.join(arguments)}") + "\n")
        window = _Window(sys.stdout, head, tail)
        with redirect_stdout(window):
            code = run(arguments)
        write(window.end())
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code == ExitCode.PIPE_CLOSED:
            raise OutputClosedError
        if code:
            raise VpcrouterError(f"vpcrouter {' '.join(arguments)} ended with {code}")


class _Window(TextIOBase):
    """Lets the first and last lines through, and says how many were left out in between."""

    def __init__(self, target: TextIO, head: int, tail: int) -> None:
        self._target = target
        self._head = head
        self._last: deque[str] = deque(maxlen=tail)
        self._rest = ""
        self._lines = 0

    def isatty(self) -> bool:
        """Whether the lines end up on a terminal: decides on colour."""
        return self._target.isatty()

    def write(self, text: str) -> int:
        """Take text; whole lines are shown or kept."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._lines += 1
            if self._lines <= self._head:
                self._target.write(line + "\n")
                self._target.flush()
            else:
                self._last.append(line)
        return len(text)

    def end(self) -> str:
        """The last lines, to be shown."""
        if self._rest:
            self.write("\n")
        hidden = self._lines - self._head - len(self._last)
        note = [f"  ... {hidden:,} lines more ..."] if hidden > 0 else []
        return "".join(f"{line}\n" for line in (*note, *self._last))
