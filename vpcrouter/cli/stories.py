"""What ``explain`` found, as text for people and as documents for programs."""

from __future__ import annotations

from collections.abc import Iterator

from vpcrouter.cli.output import counted, few, layout, listing, number, paint, strong
from vpcrouter.explain import (
    AddressStory,
    Hop,
    NodeInTable,
    NodeStory,
    Outcome,
    Path,
    PrefixInTable,
    PrefixStory,
)
from vpcrouter.wire.dump import Json, entry_document
from vpcrouter.wire.dump import node_document as plain_node

ASSUMED = "[assumed]"
LEGEND = f"{ASSUMED}: what nodes are expected to do, not what they were seen to do.\n"

_COLOURS = {
    Outcome.LOST: "red",
    Outcome.DOWN: "red",
    Outcome.DETOUR: "yellow",
    Outcome.REFUSED: "yellow",
}
_MEANING = {
    Outcome.LOCAL: "delivered inside the subnet, over no route table",
    Outcome.DIRECT: "delivered straight to the owner",
    Outcome.DETOUR: "delivered over a detour of one hop",
    Outcome.REFUSED: "refused, since nobody owns the address",
    Outcome.FOREIGN: "decided by an entry that is not ours",
    Outcome.OUTSIDE: "not routed by us",
    Outcome.DOWN: "lost, since its owner is not healthy",
    Outcome.LOST: "LOST, a promise is broken",
}


def address_text(story: AddressStory) -> str:
    """Whose the address is, then each way to it, hop by hop."""
    parts = [_whose(story), *map(_way, story.paths)]
    assumed = any(hop.assumed for path in story.paths for hop in path.hops)
    return "\n".join([*parts, LEGEND] if assumed else parts)


def address_document(story: AddressStory) -> dict[str, Json]:
    """The same for programs."""
    return {
        "address": story.text,
        "subnet": story.subnet,
        "block": None if story.block is None else str(story.block),
        "owner": story.owner,
        "paths": [
            {
                "from": list(path.sources),
                "table": path.table,
                "outcome": path.outcome.value,
                "hops": [_hop_document(hop) for hop in path.hops],
            }
            for path in story.paths
        ],
    }


def node_text(story: NodeStory) -> str:
    """What the node owns, then what each table makes of it."""
    node = story.node
    state = "healthy" if node.healthy else "not healthy: never a next hop"
    forwards = "" if node.forwards else ", does not forward for others"
    avoid = ", to be avoided as a forwarder" if node.avoid else ""
    owned = [str(block.prefix) for block in story.blocks]
    head = (
        f"{strong(node.name)}: {state}{forwards}{avoid}; subnet {node.subnet}, interface "
        f"{node.interface}\nowns {few(owned) if owned else 'no blocks'}\n"
    )
    return "\n".join([head, *map(_node_in_table, story.tables)])


def node_document(story: NodeStory) -> dict[str, Json]:
    """The same for programs."""
    return {
        "node": plain_node(story.node),
        "blocks": [{"cidr": str(one.prefix), "weight": one.weight} for one in story.blocks],
        "tables": [
            {
                "id": one.table,
                "load": one.load,
                "blocks_without_entry": one.missed,
                "reached_by": [
                    {
                        "destination": str(way.destination),
                        "forwarder": way.forwarder,
                        "blocks": way.blocks,
                    }
                    for way in one.reached
                ],
                "entries": [entry_document(entry) for entry in one.entries],
            }
            for one in story.tables
        ],
    }


def prefix_text(story: PrefixStory) -> str:
    """The entry that catches the prefix in each table, and what it carries."""
    where = f"in subnet {story.subnet}" if story.subnet else "in no subnet's prefixes"
    head = f"{strong(str(story.prefix))} is {where}\n"
    return "\n".join([head, *map(_prefix_in_table, story.tables)])


def prefix_document(story: PrefixStory) -> dict[str, Json]:
    """The same for programs."""
    return {
        "prefix": str(story.prefix),
        "subnet": story.subnet,
        "tables": [
            {
                "id": one.table,
                "entry": None if one.entry is None else entry_document(one.entry),
                "foreign": None if one.foreign is None else str(one.foreign),
                "owners": [{"node": name, "blocks": blocks} for name, blocks in one.owners],
                "inside": [entry_document(entry) for entry in one.inside],
            }
            for one in story.tables
        ],
    }


def _whose(story: AddressStory) -> str:
    address = strong(story.text)
    if story.owner is not None:
        return f"{address} is in block {story.block} of {story.owner}, subnet {story.subnet}\n"
    if story.subnet is not None:
        return f"{address} is in no block; subnet {story.subnet} may still give it out\n"
    return f"{address} is in no subnet's prefixes\n"


def _way(path: Path) -> str:
    outcome = paint(_MEANING[path.outcome], _COLOURS.get(path.outcome, "green"))
    rows = [
        ("" if continued else f"  {position}. {hop.place.value} {hop.name}", line)
        for position, hop in enumerate(path.hops, 1)
        for continued, line in enumerate(_said(hop).split("; "))
    ]
    head = f"From {few(path.sources)} (table {path.table}): {outcome}\n"
    return head + "".join(f"{line}\n" for line in layout(rows))


def _said(hop: Hop) -> str:
    rule = f" ({hop.rule})" if hop.rule else ""
    return f"{hop.text}{rule}{f' {ASSUMED}' if hop.assumed else ''}"


def _hop_document(hop: Hop) -> dict[str, Json]:
    return {
        "place": hop.place.value,
        "name": hop.name,
        "text": hop.text,
        "rule": hop.rule,
        "assumed": hop.assumed,
    }


def _node_in_table(one: NodeInTable) -> str:
    return "".join(f"{line}\n" for line in _node_lines(one))


def _node_lines(one: NodeInTable) -> Iterator[str]:
    yield f"Table {one.table}: load {number(one.load)}"
    for way in one.reached:
        over = f"over {way.forwarder}" if way.forwarder else "with a next hop that is no node's"
        yield f"  {counted(way.blocks, 'block')} of it reached by {way.destination} {over}"
    if one.missed:
        blocks = counted(one.missed, "block")
        yield paint(f"  {blocks} of it not caught by entries of ours: run vpcrouter plan", "red")
    if one.entries:
        yield "  is the next hop of"
        rows = (
            (str(e.destination), e.kind.value, f"{e.blocks:,}", number(e.load)) for e in one.entries
        )
        yield listing(("DESTINATION", "KIND", "#BLOCKS", "#LOAD"), rows, indent=4).rstrip("\n")


def _prefix_in_table(one: PrefixInTable) -> str:
    return "".join(f"{line}\n" for line in _prefix_lines(one))


def _prefix_lines(one: PrefixInTable) -> Iterator[str]:
    if one.foreign is not None:
        yield f"Table {one.table}: caught by {one.foreign}, an entry that is not ours"
    elif one.entry is None:
        yield f"Table {one.table}: no entry contains all of it"
    else:
        entry = one.entry
        over = f"{entry.node or 'no node (stale)'} ({entry.interface})"
        does = f"{entry.kind.value}: {counted(entry.blocks, 'block')}, load {number(entry.load)}"
        yield f"Table {one.table}: caught by {entry.destination}, next hop {over}, {does}"
        owners = [f"{name} ({blocks})" for name, blocks in one.owners]
        if owners:
            yield f"  whose blocks: {few(owners)}"
    if one.inside:
        inside = [f"{entry.destination} over {entry.node or 'no node'}" for entry in one.inside]
        yield f"  inside it: {few(inside)}"
