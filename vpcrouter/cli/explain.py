"""``vpcrouter explain``: where packets to an address, a node or a prefix go, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from ipam.errors import BadInputError
from ipam.prefix import Prefix, parse_address
from vpcrouter.cli.details import Details
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import check_subnet, close_to
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import documented, source_options
from vpcrouter.cli.output import write
from vpcrouter.cli.source import look
from vpcrouter.cli.stories import (
    address_document,
    address_text,
    node_document,
    node_text,
    prefix_document,
    prefix_text,
)
from vpcrouter.explain import AddressStory, Explainer, NodeStory, Place, PrefixStory
from vpcrouter.model import Node, Snapshot
from vpcrouter.wire.dump import Json

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
    output: Output,
) -> ExitCode:
    """Say where packets to an address go, hop by hop, and which entry or rule makes it so.

    For a node (by name, interface or own address): its blocks, the entries that reach them and
    what it forwards for others. For a prefix: the entry that catches it and what that carries.
    What nodes do (host routes, split horizon) is assumed and marked so.
    """
    seen = look(cluster_file, snapshot_file)
    check_subnet(seen.snapshot, source)
    told = _told(seen.snapshot, what, source)
    if output.is_document:
        write(output.text(told.document))
    else:
        write(told.text)
        about = Details(seen).listing(told.nodes) if output is Output.WIDE else ""
        write(f"\n{about}" if about else "")
    return ExitCode.DONE


@dataclass(frozen=True, slots=True)
class _Told:
    """A story as text and as a document; ``nodes`` are the names of those that play in it."""

    text: str
    document: dict[str, Json]
    nodes: Sequence[str | None]


def _told(snapshot: Snapshot, what: str, source: str | None) -> _Told:
    explainer = Explainer(snapshot)
    sources = [subnet for subnet in snapshot.subnets if source in (None, subnet.id)]
    used = {subnet.route_table for subnet in sources}
    tables = [table for table in snapshot.route_tables if source is None or table.id in used]
    node = _node(snapshot, what)
    if node is not None:
        about_node = explainer.node(node, tables)
        return _Told(node_text(about_node), node_document(about_node), _in_node(about_node))
    if "/" in what:
        about_prefix = explainer.prefix(Prefix.parse(what), tables)
        return _Told(
            prefix_text(about_prefix), prefix_document(about_prefix), _in_prefix(about_prefix)
        )
    try:
        family, address = parse_address(what)
    except BadInputError as error:
        names = (node.name for node in snapshot.nodes)
        raise BadInputError(
            f"{what!r} is neither an address nor a prefix nor a node: {close_to(what, names)}"
        ) from error
    about_address = explainer.address(family, address, sources)
    return _Told(
        address_text(about_address), address_document(about_address), _in_address(about_address)
    )


def _in_address(story: AddressStory) -> list[str | None]:
    hops = (hop for path in story.paths for hop in path.hops)
    return [story.owner, *(hop.name for hop in hops if hop.place is Place.NODE)]


def _in_node(story: NodeStory) -> list[str | None]:
    return [story.node.name, *(way.forwarder for one in story.tables for way in one.reached)]


def _in_prefix(story: PrefixStory) -> list[str | None]:
    return [
        name
        for one in story.tables
        for name in (one.entry.node if one.entry else None, *(owner for owner, _ in one.owners))
    ]


def _node(snapshot: Snapshot, what: str) -> Node | None:
    """The node with this name, else with this interface or address of its own."""
    for node in snapshot.nodes:
        if node.name == what:
            return node
    for node in snapshot.nodes:
        if what == node.interface or what in node.addresses.values():
            return node
    return None
