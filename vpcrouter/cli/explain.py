"""``vpcrouter explain``: where packets to an address, a node or a prefix go, and why."""

from __future__ import annotations

import click

from ipam.errors import BadInputError
from ipam.prefix import Prefix, parse_address
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import check_subnet, close_to
from vpcrouter.cli.options import documented, source_options
from vpcrouter.cli.output import write
from vpcrouter.cli.source import present
from vpcrouter.cli.stories import (
    address_document,
    address_text,
    node_document,
    node_text,
    prefix_document,
    prefix_text,
)
from vpcrouter.explain import Explainer
from vpcrouter.model import Node, Snapshot
from vpcrouter.wire.dump import Json, dump_json

_EXAMPLES = """
vpcrouter explain 100.64.3.7                      # from every subnet
vpcrouter explain 100.64.3.7 --from subnet-0a
vpcrouter explain node-7
vpcrouter explain 100.64.0.0/17 -o json           # an entry, or any prefix
"""


@documented("Say where packets to an address or node go, and why.", _EXAMPLES)
@click.argument("what", metavar="ADDRESS|NODE|CIDR")
@click.option("--from", "source", metavar="SUBNET", help="Only packets from this subnet.")
@source_options
def command(
    what: str,
    source: str | None,
    cluster_file: str | None,
    snapshot_file: str | None,
    output: str,
) -> ExitCode:
    """Say where packets to an address go, hop by hop, and which entry or rule makes it so.

    For a node (by name, interface or own address): its blocks, the entries that reach them and
    what it forwards for others. For a prefix: the entry that catches it and what that carries.
    What nodes do (host routes, split horizon) is assumed and marked so.
    """
    snapshot = present(cluster_file, snapshot_file)
    check_subnet(snapshot, source)
    text, document = _told(snapshot, what, source)
    write(dump_json(document) if output == "json" else text)
    return ExitCode.DONE


def _told(snapshot: Snapshot, what: str, source: str | None) -> tuple[str, dict[str, Json]]:
    """The story as text and as a document."""
    explainer = Explainer(snapshot)
    sources = [subnet for subnet in snapshot.subnets if source in (None, subnet.id)]
    used = {subnet.route_table for subnet in sources}
    tables = [table for table in snapshot.route_tables if source is None or table.id in used]
    node = _node(snapshot, what)
    if node is not None:
        about_node = explainer.node(node, tables)
        return node_text(about_node), node_document(about_node)
    if "/" in what:
        about_prefix = explainer.prefix(Prefix.parse(what), tables)
        return prefix_text(about_prefix), prefix_document(about_prefix)
    try:
        family, address = parse_address(what)
    except BadInputError as error:
        names = (node.name for node in snapshot.nodes)
        raise BadInputError(
            f"{what!r} is neither an address nor a prefix nor a node: {close_to(what, names)}"
        ) from error
    about_address = explainer.address(family, address, sources)
    return address_text(about_address), address_document(about_address)


def _node(snapshot: Snapshot, what: str) -> Node | None:
    """The node with this name, else with this interface or address of its own."""
    for node in snapshot.nodes:
        if node.name == what:
            return node
    for node in snapshot.nodes:
        if what == node.interface or what in node.addresses.values():
            return node
    return None
