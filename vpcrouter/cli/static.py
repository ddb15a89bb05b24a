"""``vpcrouter static``: the static addresses, and which node has each."""

from __future__ import annotations

from collections.abc import Iterator

from ipam.model import Network, State
from ipam.prefix import format_address
from ipam.topology import StaticAddress
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.lazy import ListingGroup
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import listing, write
from vpcrouter.cli.source import known_state, look

_EXAMPLES = """
vpcrouter static -f cluster.yaml
vpcrouter static grant web/gateway node-7
vpcrouter static release web/gateway --yes
"""
_COMMANDS = {
    "grant": ("static_grant", "Grant the addresses of a name to a node."),
    "release": ("static_release", "Take the addresses of a name back."),
}


@documented("Show static addresses, and which node has each.", _EXAMPLES)
@cluster_option
@output_option
def listing_command(cluster_file: str | None, output: Output) -> ExitCode:
    """Show the static addresses of the cluster file, and to which node each is granted."""
    state = known_state(look(cluster_file, None), "a list of static addresses")
    rows = list(_rows(state))
    if output.is_document:
        write(output.text({"static": [_document(*row) for row in rows]}))
    elif not rows:
        write("no static addresses\n")
    else:
        write(listing(("NAME", "ADDRESS", "NETWORK", "NODE"), (_cells(*row) for row in rows)))
    return ExitCode.DONE


def _rows(state: State) -> Iterator[tuple[Network, StaticAddress, str | None]]:
    """Every static address with its network, by name, and who has it."""
    holders = {prefix: owner.name for owner in state.owners() for prefix in owner.static}
    found = [(network, address) for network in state.networks for address in network.static]
    for network, address in sorted(found, key=lambda one: (one[1].name, one[1].prefix)):
        yield network, address, holders.get(address.prefix)


def _cells(network: Network, address: StaticAddress, node: str | None) -> tuple[str, ...]:
    text = format_address(address.prefix.family, address.prefix.value)
    return address.name, text, network.name, node or "-"


def _document(network: Network, address: StaticAddress, node: str | None) -> dict[str, object]:
    return {
        "name": address.name,
        "address": format_address(address.prefix.family, address.prefix.value),
        "network": network.name,
        "node": node,
    }


command = ListingGroup(_COMMANDS, "static", listing_command)
