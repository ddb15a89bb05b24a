"""A group of commands of which each one's module is imported when it is called, not before."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

Listed = Mapping[str, tuple[str, str]]
"""By command: its module in ``vpcrouter.cli``, and what the list of commands says."""

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group that knows its commands' names without importing them."""

    def __init__(self, listed: Listed, name: str, text: str, epilog: str) -> None:
        super().__init__(
            name, help=text, epilog=epilog, no_args_is_help=True, context_settings=_SETTINGS
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
        if self._listed:
            with formatter.section("Commands"):
                formatter.write_dl([(name, text) for name, (_, text) in self._listed.items()])


class ListingGroup(LazyGroup):
    """A command that lists something when called alone, with commands that act on it below."""

    def __init__(self, listed: Listed, name: str, alone: click.Command) -> None:
        super().__init__(listed, name, alone.help or "", alone.epilog or "")
        self.short_help = alone.short_help
        self.params = list(alone.params)
        self.no_args_is_help = False
        self.invoke_without_command = True
        self.subcommand_metavar = "[COMMAND [ARGS]...]" if listed else ""
        self._alone = alone

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was named; an option of the listing before it is refused."""
        resolved = super().resolve_command(ctx, args)
        for parameter in self.params:
            given = parameter.name and ctx.get_parameter_source(parameter.name)
            if given is click.core.ParameterSource.COMMANDLINE:
                option = parameter.opts[-1]
                raise click.UsageError(f"{option} belongs after {args[0]}, not before it", ctx)
        return resolved

    def invoke(self, ctx: click.Context) -> Any:
        """The command that was named, or the listing."""
        result = super().invoke(ctx)
        return self._alone.invoke(ctx) if ctx.invoked_subcommand is None else result
