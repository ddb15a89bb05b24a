"""The commands by name; each one's module is imported when it is called, not before."""

from __future__ import annotations

import click

from vpcrouter.cli.lazy import LazyGroup

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
    "topology": ("topology", "Show the address space as a tree, or as a picture."),
    "static": ("static", "Show static addresses, and which node has each."),
    "ipam": ("ipam", "Look ahead: when addresses run out."),
    "explain": ("explain", "Say where packets to an address or node go, and why."),
    "verify": ("verify", "Check the present route tables against the promises."),
    "store": ("store", "Check, export, import and back up the store."),
    "simulate": ("simulate", "Replay events against a simulated cluster and measure."),
    "rebalance": ("rebalance", "Say which nodes, once drained, would bring how much."),
    "lab": ("lab", "Run a whole cluster in network namespaces, with real packets."),
    "demo": ("demo", "Plan, apply and fail over 1,500 nodes under a quota of 50."),
    "aws": ("aws", "Look at a VPC of AWS: quotas, permissions, what is there."),
    "fabric": ("fabric", "Serve a simulated VPC as EC2, to try things on."),
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


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"{PROGRAM} {version(PROGRAM)}")
    context.exit()


app = LazyGroup(
    _COMMANDS,
    "app",
    "Routed pod addresses for large clusters, in no more VPC routes than the quota takes.",
    _EPILOG,
)
app.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Print the version and exit.",
    )
)
