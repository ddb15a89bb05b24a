"""What commands print: results on standard output, one-line complaints on standard error.

Tables are laid out here and not by rich: 100,000 rows take half a second instead of half a minute,
and no cell is ever cut short, so that every line can be searched and piped.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import click

from ipam.errors import UnavailableError
from vpcrouter.cli.exits import OutputClosedError

NAMED = 5  # how many objects an error names


def write(text: str) -> None:
    """Print text on standard output as it is.

    Raises OutputClosedError when nobody reads any more, UnavailableError when it cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosedError from error
    except OSError as error:
        reason = error.strerror or errno.errorcode.get(error.errno or 0, "error")
        raise UnavailableError(
            f"standard output cannot be written: {reason}; direct it elsewhere"
        ) from error


def complain(message: str) -> None:
    """Print one line on standard error, if anybody reads it."""
    name = click.style("vpcrouter:", fg="red") if _colour(sys.stderr) else "vpcrouter:"
    try:
        sys.stderr.write(f"{name} {' '.join(message.split())}\n")
        sys.stderr.flush()
    except OSError:
        pass  # there is nowhere left to say it; the exit code does


def few(names: Iterable[str]) -> str:
    """At most five names and how many more there are."""
    listed = list(names)
    more = len(listed) - NAMED
    shown = ", ".join(listed[:NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown


def coloured() -> bool:
    """Whether standard output is a terminal that wants colour (see https://no-color.org)."""
    return _colour(sys.stdout)


def paint(text: str, colour: str) -> str:
    """The text in a colour where standard output shows colours."""
    return click.style(text, fg=colour) if coloured() else text


def strong(text: str) -> str:
    """The text in bold where standard output shows it."""
    return click.style(text, bold=True) if coloured() else text


def layout(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Each row as one line of aligned cells two spaces apart; ``right`` are columns of numbers."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        padded = (
            cell.rjust(width) if position in right else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()


def listing(headings: Sequence[str], rows: Iterable[Sequence[str]], indent: int = 0) -> str:
    """The rows under their headings; a heading that starts with ``#`` is of a column of numbers."""
    margin = " " * indent
    right = {position for position, text in enumerate(headings) if text.startswith("#")}
    heading, *lines = layout([[text.removeprefix("#") for text in headings], *rows], right)
    return "".join(f"{margin}{line}\n" for line in (strong(heading), *lines))


def number(value: float) -> str:
    """A number for people: thousands apart, three decimals at most, no trailing zeros."""
    if not math.isfinite(value):
        return "without bound"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.1f} %"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _colour(stream: object) -> bool:
    is_terminal: Callable[[], bool] = getattr(stream, "isatty", lambda: False)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal() and not plain
