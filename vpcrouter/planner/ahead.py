"""Room for the nodes that join next, made after others have left.

Within the slack a table stays as it is, until a node that joins takes a load beyond it: then an
entry changes because of that node. After nodes have left, when an entry may have to change in any
case, it is looked at whether the next nodes of each subnet would do that, and room for it is made
where few changes are enough. So changes come with departures, and joins need none.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from operator import itemgetter

from ipam.prefix import Prefix
from ipam.room import Left
from vpcrouter.model import BlockColumns, Entry, Node, Plan, RouteTable, Snapshot, TablePlan
from vpcrouter.planner.headroom import headroom, usual_weight

MOST = 4
"""So many changes of a table for one subnet's room, at most: an entry that goes from one subnet to
another is a deletion, a creation, and another next hop on either side."""

_TRIED = 4  # subnets for which room is looked for: each costs some plans of every table
_NOBODY = "\U0010ffff"  # an owner's name after all names of nodes, so that their places stay

Decide = Callable[[Snapshot, float], Plan]
"""Makes a plan without steps for a snapshot with a slack."""


def with_room(snapshot: Snapshot, slack: float, made: Plan, decide: Decide) -> Plan:
    """The plan, or one within the same loads that has room for more of the blocks to come.

    ``made`` is the plan without regard to them. Blocks that lie in no subnet of the snapshot, or
    were given out meanwhile, do not count.
    """
    homes = _homes(snapshot)
    if not homes or any(table.unserved for table in made.tables):
        return made
    best = made
    served: dict[Prefix, str] = {}
    lacking = {homes[block] for block in _lacking(made, snapshot, slack, homes)}
    for subnet in sorted(lacking)[:_TRIED]:
        whole = [block for block, home in homes.items() if home == subnet]
        first = _lacking(best, snapshot, slack, whole)[:1]
        for blocks in (whole, first) if first != whole else (whole,):
            wanted = {**served, **dict.fromkeys(blocks, subnet)}
            tried = _with_room_for(wanted, snapshot, slack, best, decide)
            if tried is not None:
                best, served = tried, wanted
                break
    return best


def _with_room_for(
    homes: Mapping[Prefix, str], snapshot: Snapshot, slack: float, best: Plan, decide: Decide
) -> Plan | None:
    """A plan near the best one so far that has room for these blocks; None if none is found."""
    held = replace(snapshot, route_tables=_holding(snapshot, best))
    crowded = _with_blocks(held, homes)
    tables = []
    for table, plan in zip(held.route_tables, best.tables, strict=True):
        entries = _entries_with(replace(crowded, route_tables=(table,)), plan, slack, decide)
        if entries is None:
            return None
        tables.append(replace(table, entries=entries))
    ahead = decide(replace(snapshot, route_tables=tuple(tables)), slack)
    if _lacking(ahead, snapshot, slack, homes) or any(table.unserved for table in ahead.tables):
        return None
    triples = zip(snapshot.route_tables, best.tables, ahead.tables, strict=True)
    if any(_changes(table, new) > _changes(table, old) + MOST for table, old, new in triples):
        return None
    return ahead


def _entries_with(
    crowded: Snapshot, plan: TablePlan, slack: float, decide: Decide
) -> tuple[Entry, ...] | None:
    """What the only table would hold with the blocks there, no load above what is allowed now."""
    (found,) = decide(crowded, slack).tables
    stricter = slack
    for family, proof in plan.proof.items():
        least = found.proof[family].least_load
        if least > 0:
            stricter = min(stricter, proof.least_load * (1 + slack) / least - 1)
    if stricter < 0:
        return None
    if stricter < slack:
        (found,) = decide(crowded, stricter).tables
    return found.target


def _lacking(
    plan: Plan, snapshot: Snapshot, slack: float, blocks: Iterable[Prefix]
) -> list[Prefix]:
    """The blocks that some table could not take, each once those before it were given out."""
    left = Left(headroom(plan, snapshot, slack))
    lacking = []
    for block in blocks:
        if not left.takes(block):
            lacking.append(block)
        left.take(block)
    return lacking


def _homes(snapshot: Snapshot) -> dict[Prefix, str]:
    """The blocks to come that are still free, with their subnets."""
    prefixes = sorted((p, subnet.id) for subnet in snapshot.subnets for p in subnet.prefixes)
    homes = {}
    for block in snapshot.coming:
        position = bisect_right(prefixes, block, key=itemgetter(0)) - 1
        if position >= 0 and prefixes[position][0].contains(block) and _is_free(snapshot, block):
            homes[block] = prefixes[position][1]
    return homes


def _is_free(snapshot: Snapshot, block: Prefix) -> bool:
    """Whether nobody has it, in a family of which anybody has any."""
    columns = snapshot.blocks[block.family]
    taken = columns.rows_within(block) or columns.row_holding(block.value) is not None
    return bool(len(columns)) and not taken


def _with_blocks(snapshot: Snapshot, homes: Mapping[Prefix, str]) -> Snapshot:
    """The snapshot with these blocks too, each of a node that is no next hop."""
    nodes = list(snapshot.nodes)
    columns = dict(snapshot.blocks)
    families = {block.family for block in homes}
    usual = {family: usual_weight(columns[family]) for family in families}
    for number, (block, subnet) in enumerate(homes.items()):
        name = f"{_NOBODY}{number}"
        nodes.append(Node(name, subnet, f"none of {name}", {}, healthy=False))
        columns[block.family] = _with_row(
            columns[block.family], block, len(nodes) - 1, usual[block.family]
        )
    return replace(snapshot, nodes=tuple(nodes), blocks=columns)


def _with_row(columns: BlockColumns, block: Prefix, node: int, weight: float) -> BlockColumns:
    row = columns.first_at_or_after(block.value)

    def put(column: array[int], value: int) -> array[int]:
        return column[:row] + array(column.typecode, [value]) + column[row:]

    return BlockColumns(
        columns.family,
        put(columns.high, block.value >> 64),
        put(columns.low, block.value & (1 << 64) - 1),
        put(columns.length, block.length),
        put(columns.node, node),
        columns.weight[:row] + array("d", [weight]) + columns.weight[row:],
    )


def _holding(snapshot: Snapshot, plan: Plan) -> tuple[RouteTable, ...]:
    """The tables as the plan wants them."""
    pairs = zip(snapshot.route_tables, plan.tables, strict=True)
    return tuple(replace(table, entries=made.target) for table, made in pairs)


def _changes(table: RouteTable, plan: TablePlan) -> int:
    """How many steps it takes to get there at least."""
    differing = set(table.entries) ^ set(plan.target)
    return len({entry.destination for entry in differing})
