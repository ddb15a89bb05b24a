"""Snapshots and plans as JSON text: public contracts, see ``docs/files.md``.

The text is canonical: the same content gives the same bytes, whatever order it came in. Objects
in lists take one line each, so that two files compare line by line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ipam.prefix import Family, format_address
from vpcrouter.combined import combined_load
from vpcrouter.model import (
    BlockColumns,
    Node,
    Plan,
    PlannedEntry,
    Proof,
    RouteTable,
    Snapshot,
    Step,
    Subnet,
    TablePlan,
)
from vpcrouter.wire.parse import VERSION

_FAMILIES = tuple((family, family.value) for family in Family)
_MEET = "}, {"  # the end of an object and the start of the next one, on one line
_BATCH = 256  # so many objects are encoded at once
_ENCODER = json.JSONEncoder(allow_nan=False)

Json = Mapping[str, "Json"] | Sequence["Json"] | str | float | bool | None


def dump_snapshot(snapshot: Snapshot) -> str:
    """The snapshot as canonical JSON text, every field written out."""
    return dump_json(snapshot_document(snapshot))


def dump_plan(plan: Plan, snapshot: Snapshot) -> str:
    """The plan for this snapshot as JSON text."""
    return dump_json(plan_document(plan, snapshot))


def dump_plan_with_snapshot(plan: Plan, snapshot: Snapshot) -> str:
    """The plan and, as ``snapshot``, what it was made from."""
    return dump_json(plan_with_snapshot_document(plan, snapshot))


def dump_json(document: object) -> str:
    """JSON text of a document: a line for each object in a list, floats as short as exact.

    Raises ValueError for a number that is not finite, TypeError for what JSON has no word for.
    """
    return _text(document, "") + "\n"


def snapshot_document(snapshot: Snapshot) -> dict[str, Json]:
    """The snapshot as the format's objects."""
    names = snapshot.node_columns.name
    return {
        "version": VERSION,
        "subnets": [_subnet(subnet) for subnet in snapshot.subnets],
        "nodes": [node_document(node) for node in snapshot.nodes],
        "blocks": [block for family in Family for block in _blocks(snapshot.blocks[family], names)],
        "route_tables": [_table(table) for table in snapshot.route_tables],
        **({"coming": [str(block) for block in snapshot.coming]} if snapshot.coming else {}),
    }


def plan_document(plan: Plan, snapshot: Snapshot) -> dict[str, Json]:
    """The plan as the format's objects."""
    weight = sum(table.weight for table in plan.tables)
    detour = sum(table.detour_weight for table in plan.tables)
    return {
        "tables": [_table_plan(table) for table in plan.tables],
        "summary": {
            "nodes": len(snapshot.nodes),
            "blocks": sum(len(columns) for columns in snapshot.blocks.values()),
            "entries": sum(len(table.entries) for table in plan.tables),
            "max_load": max((table.max_load for table in plan.tables), default=0.0),
            "combined_load": combined_load(plan),
            "detour_share": detour / weight if weight else 0.0,
            "unserved": sorted({one.subnet for table in plan.tables for one in table.unserved}),
        },
    }


def plan_with_snapshot_document(plan: Plan, snapshot: Snapshot) -> dict[str, Json]:
    """The plan as the format's objects and, as ``snapshot``, what it was made from."""
    return {**plan_document(plan, snapshot), "snapshot": snapshot_document(snapshot)}


def entry_document(entry: PlannedEntry) -> dict[str, Json]:
    """One entry with what it does."""
    return {
        "destination": str(entry.destination),
        "interface": entry.interface,
        "node": entry.node,
        "kind": entry.kind.value,
        "blocks": entry.blocks,
        "weight": entry.weight,
        "load": entry.load,
    }


def step_document(step: Step) -> dict[str, Json]:
    """One step."""
    return {
        "action": step.action.value,
        "destination": str(step.destination),
        "interface": step.interface,
        "previous_interface": step.previous_interface,
        "reason": step.reason,
    }


def node_document(node: Node) -> dict[str, Json]:
    """One node."""
    return {
        "name": node.name,
        "subnet": node.subnet,
        "interface": node.interface,
        "addresses": {
            name: node.addresses[family] for family, name in _FAMILIES if family in node.addresses
        },
        "capacity": node.capacity,
        "healthy": node.healthy,
        "forwards": node.forwards,
        "avoid": node.avoid,
    }


def _table_plan(table: TablePlan) -> dict[str, Json]:
    return {
        "id": table.id,
        "entries": [entry_document(entry) for entry in table.entries],
        "steps": [step_document(step) for step in table.steps],
        "max_load": table.max_load,
        "detour_share": table.detour_share,
        "proof": {family.value: _proof(proof) for family, proof in table.proof.items()},
    }


def _proof(proof: Proof) -> dict[str, Json]:
    return {
        "status": proof.status.value,
        "least_load": proof.least_load,
        "lower_bound": proof.lower_bound,
        "entries_for_less": proof.entries_for_less,
    }


def _subnet(subnet: Subnet) -> dict[str, Json]:
    return {
        "id": subnet.id,
        "zone": subnet.zone,
        "route_table": subnet.route_table,
        "prefixes": [str(prefix) for prefix in sorted(subnet.prefixes)],
    }


def _blocks(columns: BlockColumns, names: Sequence[str]) -> list[dict[str, Json]]:
    family = columns.family
    rows = zip(columns.high, columns.low, columns.length, columns.node, columns.weight, strict=True)
    return [
        {
            "cidr": f"{format_address(family, high << 64 | low)}/{length}",
            "node": names[node],
            "weight": weight,
        }
        for high, low, length, node, weight in rows
    ]


def _table(table: RouteTable) -> dict[str, Json]:
    return {
        "id": table.id,
        "limit": _counts(table.limit),
        "budget": _counts(table.budget),
        "own_subnet_weight": table.own_subnet_weight,
        "entries": [
            {"destination": str(entry.destination), "interface": entry.interface}
            for entry in sorted(table.entries)
        ],
        "foreign": [str(prefix) for prefix in sorted(table.foreign)],
    }


def _counts(counts: Mapping[Family, int]) -> dict[str, Json]:
    return {family.value: counts.get(family, 0) for family in Family}


def _text(value: object, indent: str) -> str:
    if isinstance(value, dict) and any(_is_long(item) for item in value.values()):
        inner = indent + "  "
        fields = [f"{_ENCODER.encode(key)}: {_text(item, inner)}" for key, item in value.items()]
        return _lines("{", fields, "}", indent)
    if isinstance(value, list) and _is_long(value):
        return _short_objects(value, indent) or _lines(
            "[", [_text(item, indent + "  ") for item in value], "]", indent
        )
    return _ENCODER.encode(value)


def _short_objects(items: Sequence[object], indent: str) -> str | None:
    """A list of objects of a line each; None where some may need several.

    Many are encoded at once, which is faster than one by one, and faster than all: the encoder
    keeps every piece of its text until the end.
    """
    if not all(isinstance(item, dict) for item in items):
        return None
    separator = f"}},\n{indent}  {{"
    batches = []
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        text = _ENCODER.encode(batch)
        # Objects meet once less often than there are some. If there is no further place that looks
        # the same, none of those is inside a text or an object.
        if text.count(_MEET) != len(batch) - 1 or text.find("[{", 1) >= 0:
            return None
        batches.append(text[1:-1].replace(_MEET, separator))
    return _lines("[", batches, "]", indent)


def _is_long(value: object) -> bool:
    """Whether a value takes several lines: a list of objects, or an object around such a list."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], dict)
    return isinstance(value, dict) and any(_is_long(item) for item in value.values())


def _lines(start: str, items: Sequence[str], end: str, indent: str) -> str:
    separator = f",\n{indent}  "
    return f"{start}\n{indent}  {separator.join(items)}\n{indent}{end}"
