"""Topologies as plain JSON values and back: a part of a network's record in the store.

Only what is said is written: a network without levels, groups, tenants and static addresses has
the same value as before there were any.
"""

from __future__ import annotations

from collections.abc import Mapping

from ipam.prefix import Family, Prefix
from ipam.topology import (
    PLAIN,
    Level,
    LevelKind,
    NamedGroup,
    StaticAddress,
    Topology,
    topology,
)

_MAX_DEPTH = 20


def topology_fields(value: Topology) -> dict[str, object]:
    """The fields of a topology; none for a plain one."""
    if value == PLAIN:
        return {}
    levels = [
        {"label": level.label} if level.kind is LevelKind.LABEL else level.kind.value
        for level in value.levels
    ]
    return {"levels": levels, "groups": [_group_fields(group) for group in value.groups]}


def read_topology(fields: Mapping[str, object]) -> Topology:
    """A topology from fields among others; raises KeyError, TypeError, ValueError or BadInputError.

    A plain one where none are there.
    """
    if "levels" not in fields and "groups" not in fields:
        return PLAIN
    levels = [_level(item) for item in _list(fields.get("levels", []))]
    groups = [_group(item, 0) for item in _list(fields.get("groups", []))]
    return topology(levels, groups)


def static_fields(static: tuple[StaticAddress, ...]) -> dict[str, str]:
    """Prefixes of static addresses and their names."""
    return {str(address.prefix): address.name for address in static}


def read_static(value: object) -> tuple[StaticAddress, ...]:
    """Static addresses from such fields; raises TypeError or BadInputError."""
    fields = _mapping(value)
    return tuple(
        StaticAddress(_text(name), Prefix.parse(prefix)) for prefix, name in sorted(fields.items())
    )


def read_texts(value: object) -> tuple[str, ...]:
    """A list of texts; raises TypeError for anything else."""
    return tuple(_text(item) for item in _list(value))


def read_labels(value: object) -> tuple[tuple[str, str], ...]:
    """Labels from a mapping; raises TypeError for anything else."""
    return tuple(sorted((name, _text(text)) for name, text in _mapping(value).items()))


def _group_fields(group: NamedGroup) -> dict[str, object]:
    fields: dict[str, object] = {"name": group.name}
    if group.hosts:
        fields["hosts"] = list(group.hosts)
    if group.labels:
        fields["labels"] = dict(group.labels)
    if group.groups:
        fields["groups"] = [_group_fields(inner) for inner in group.groups]
    if group.weight != 1.0:
        fields["weight"] = group.weight
    if group.reserve:
        fields["reserve"] = {str(family): length for family, length in group.reserve.items()}
    if group.cidrs:
        fields["cidrs"] = [str(cidr) for cidr in group.cidrs]
    return fields


def _group(value: object, depth: int) -> NamedGroup:
    fields = _mapping(value)
    if depth > _MAX_DEPTH:
        raise ValueError(f"groups nest more than {_MAX_DEPTH} deep")
    weight = fields.get("weight", 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        raise TypeError("weight is no number")
    return NamedGroup(
        _text(fields["name"]),
        hosts=read_texts(fields.get("hosts", [])),
        labels=read_labels(fields.get("labels", {})),
        groups=tuple(_group(inner, depth + 1) for inner in _list(fields.get("groups", []))),
        weight=float(weight),
        reserve=_lengths(fields.get("reserve", {})),
        cidrs=tuple(Prefix.parse(text) for text in read_texts(fields.get("cidrs", []))),
    )


def _level(value: object) -> Level:
    if isinstance(value, str):
        return Level(LevelKind(value))
    return Level(LevelKind.LABEL, _text(_mapping(value)["label"]))


def _lengths(value: object) -> dict[Family, int]:
    found = {}
    for family, length in _mapping(value).items():
        if not isinstance(length, int) or isinstance(length, bool):
            raise TypeError("a length is no number")
        found[Family(family)] = length
    return found


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("is no mapping")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("is no list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("is no text")
    return value
