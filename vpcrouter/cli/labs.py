"""What the commands about a lab share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ipam.errors import BadInputError, UnavailableError, VpcrouterError
from ipam.prefix import format_address, parse_address
from vpcrouter.cli.exits import ExitCode, OutputClosedError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from vpcrouter.lab.lab import Apply, Lab, Progress

F = TypeVar("F", bound=Callable[..., object])

_KEPT = (ExitCode.DONE, ExitCode.UNSERVED)


def name_option(function: F) -> F:
    """``--name NAME``."""
    return click.option(
        "--name",
        default="lab",
        show_default=True,
        callback=_checked_name,
        help="Which lab: several can be there.",
    )(function)


def _checked_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.isalnum() or not value.isascii() or len(value) > 20:
        raise click.BadParameter("a lab's name has letters and digits only, 20 at most")
    return value


def applying(show: Callable[[str], None]) -> Apply:
    """``vpcrouter apply --yes`` in this process; what it prints is given to ``show``.

    A subnet that cannot be served is said by it, and no reason to end: the rest is.
    """

    def apply(cluster_file: Path) -> None:
        from vpcrouter.cli.process import run

        printed = StringIO()
        with redirect_stdout(printed):
            code = run(["apply", "-f", str(cluster_file), "--yes"])
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code == ExitCode.PIPE_CLOSED:
            raise OutputClosedError
        if code in (ExitCode.UNAVAILABLE, ExitCode.INTERRUPTED):
            raise UnavailableError("the route tables are left as they are: see above")
        if code not in _KEPT:
            raise VpcrouterError(f"vpcrouter apply ended with {code}")
        show(printed.getvalue())

    return apply


def target_addresses(lab: Lab, target: str) -> tuple[str, ...]:
    """The addresses of a pod that runs, or the one that is named."""
    for one in lab.pods():
        if one.pod.name == target:
            if not one.addresses:
                raise BadInputError(f"pod {target} does not run: {one.cut_off}")
            return one.addresses
    try:
        return (format_address(*parse_address(target)),)
    except BadInputError as error:
        last = lab.record.layout.pods[-1].name
        raise BadInputError(
            f"{target!r} is neither an address nor a pod: the lab's pods are a1-p1 to {last}"
        ) from error


def last_line(text: str) -> str:
    """What it came to."""
    return text.rstrip("\n").rpartition("\n")[2]


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar for each thing that takes a while, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn()
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks or (done < total and bars.tasks[tasks[what]].finished):
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield tell
