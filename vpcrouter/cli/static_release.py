"""``vpcrouter static release``: take the addresses of a name back."""

from __future__ import annotations

import click

from ipam.errors import BadInputError
from ipam.model import State
from ipam.placement import Outcome
from ipam.static import release_static
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import write
from vpcrouter.cli.source import opened

_EXAMPLES = """
vpcrouter static release web/gateway --yes
"""


@documented("Take the addresses of a name back.", _EXAMPLES)
@click.argument("name")
@cluster_option
@click.option("--yes", is_flag=True, help="Nothing uses the addresses any more.")
def command(name: str, cluster_file: str | None, yes: bool) -> ExitCode:
    """Take the static addresses of NAME back from the node that has them.

    Only you know that nothing there uses them any more: so it wants --yes.
    """
    if not yes:
        raise NotConfirmedError(
            f"{name} was not released: whatever uses it would go on, beside whoever gets it next; "
            "stop that first, and give --yes"
        )

    def released(state: State) -> Outcome:
        known = {address.name for network in state.networks for address in network.static}
        if name not in known:
            raise BadInputError(f"there is no static address {name}: see 'vpcrouter static'")
        return Outcome(release_static(state, name), ())

    with opened(cluster_file) as cluster:
        cluster.change_addresses(released)
    write(f"{name} is granted to nobody; 'vpcrouter apply' takes it from the tables\n")
    return ExitCode.DONE
