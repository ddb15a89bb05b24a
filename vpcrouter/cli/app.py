"""The commands by name; each one's module is imported when it is called, not before."""

from __future__ import annotations

from importlib import import_module

import click

PROGRAM = "vpcrouter"

# name: (module, what the list of commands says)
_COMMANDS = {
    "plan": ("plan", "Show what would change in the route tables."),
    "apply": ("apply", "Change the route tables to what is planned, step by step."),
    "snapshot": ("snapshot", "Print everything that a plan is made from, as JSON."),
    "routes": ("routes", "Show the entries of the route tables and what each one carries."),
    "forwarders": ("forwarders", "Show which nodes forward for others, and how much."),
    "nodes": ("nodes", "Show nodes with their blocks and load."),
    "blocks": ("blocks", "Show the address blocks and their owners."),
    "explain": ("explain", "Say where packets to an address or node go, and why."),
    "verify": ("verify", "Check the present route tables against the promises."),
    "simulate": ("simulate", "Replay events against a simulated cluster and measure."),
    "demo": ("demo", "Plan, apply and fail over 1,500 nodes under a quota of 50."),
    "completion": ("completion", "Print the completion script of a shell."),
}

_EPILOG = """\b
Examples:
  vpcrouter plan -f cluster.yaml
  vpcrouter apply -f cluster.yaml --yes
  vpcrouter explain 100.64.3.7 --from subnet-0a
  vpcrouter demo

\b
Exit codes: 0 done, 1 internal error, 2 usage or bad input, 3 something cannot be served,
4 a promise is broken, 5 store or fabric unavailable, 6 not confirmed, 10 would change.
"""


class _Commands(click.Group):
    """A group that knows its commands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command = import_module(f"vpcrouter.cli.{module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"vpcrouter.cli.{module}.command is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"{PROGRAM} {version(PROGRAM)}")
    context.exit()


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def app() -> None:
    """Routed pod addresses for large clusters, in no more VPC routes than the quota takes."""
