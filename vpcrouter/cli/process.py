"""The outermost layer: runs one command, turns every error into one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from vpcrouter.cli.app import PROGRAM, app
from vpcrouter.cli.exits import ExitCode, OutputClosedError, code_of
from vpcrouter.cli.output import complain

DEBUG = "VPCROUTER_DEBUG"
COMPLETION = "_VPCROUTER_COMPLETE"


def run_process() -> None:
    """Run the command of this process and leave; standard output is flushed or given up."""
    # A large snapshot is made of a million objects in no cycles: look for cycles rarely.
    gc.set_threshold(500_000)
    for stream in (sys.stdout, sys.stderr):
        # Names in any script print on any terminal, if need be as escapes.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Whoever reads has gone: what is still buffered must not fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _leave(int(code))


def _leave(code: int) -> NoReturn:
    """End at once, without freeing each object first, unless a thread has something to finish."""
    if threading.active_count() > 1:
        sys.exit(code)
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code; errors are one line on standard error."""
    if os.environ.get(COMPLETION):
        app.main(list(arguments), prog_name=PROGRAM, complete_var=COMPLETION)
    try:
        with app.make_context(PROGRAM, list(arguments)) as context:
            return int(app.invoke(context) or ExitCode.DONE)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.BAD_INPUT
    except click.ClickException as error:
        complain(_usage(error))
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        complain("interrupted: what was not finished can be done by running it again")
        return ExitCode.INTERRUPTED
    except OutputClosedError:
        return ExitCode.PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the outermost handler says what was lost
        return _failed(error)


def _failed(error: Exception) -> ExitCode:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    code = code_of(error)
    if code is ExitCode.INTERNAL:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = f"set {DEBUG}=1 to see where, and report it"
        complain(f"internal error, nothing more was done: {what}; {hint}")
    else:
        complain(str(error))
    return code


def _usage(error: click.ClickException) -> str:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
    message = error.format_message().rstrip(".")
    return f"{message}: see '{command or PROGRAM} --help'"
