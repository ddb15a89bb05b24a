"""A group of commands of which each one's module is imported when it is called, not before."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

Listed = Mapping[str, tuple[str, str]]
"""By command: its module in ``vpcrouter.cli``, and what the list of commands says."""


class LazyGroup(click.Group):
    """A group that knows its commands' names without importing them."""

    def __init__(self, listed: Listed, name: str, text: str, epilog: str) -> None:
        super().__init__(
            name,
            help=text,
            epilog=epilog,
            no_args_is_help=True,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )
        self._listed = listed

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names in the order of the list."""
        return list(self._listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name."""
        if cmd_name not in self._listed:
            return None
        module, _ = self._listed[cmd_name]
        command = import_module(f"vpcrouter.cli.{module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"vpcrouter.cli.{module}.command is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands for the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._listed.items()])
