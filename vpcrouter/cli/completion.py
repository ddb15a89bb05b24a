"""``vpcrouter completion``: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from vpcrouter.cli.app import PROGRAM, app
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import documented
from vpcrouter.cli.output import write
from vpcrouter.cli.process import COMPLETION

_EXAMPLES = """
vpcrouter completion bash > ~/.local/share/bash-completion/completions/vpcrouter
vpcrouter completion fish > ~/.config/fish/completions/vpcrouter.fish
source <(vpcrouter completion zsh)
"""


@documented("Print the completion script of a shell.", _EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> ExitCode:
    """Print the script that completes commands and options in a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}", click.get_current_context())
    write(kind(app, {}, PROGRAM, COMPLETION).source() + "\n")
    return ExitCode.DONE
