"""How many blocks a node wants, and which it can do without.

A node claims the next block while it still has addresses, so that no pod has to wait for one, and
gives an empty block back once it has twice as many left without it; in between nothing changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix

_MOST_AHEAD = 32
"""So many free addresses are enough, however large a block is."""


@dataclass(frozen=True, slots=True)
class Demand:
    """``wanted`` blocks of each family in all; ``spare`` are empty ones that may go."""

    wanted: Mapping[Family, int]
    spare: tuple[Prefix, ...]


def demand(
    blocks: Sequence[Prefix],
    occupied: Mapping[Family, Collection[int]],
    families: Iterable[Family],
) -> Demand:
    """What a node wants that has these blocks, with these addresses in use or at rest."""
    wanted: dict[Family, int] = {}
    spare: list[Prefix] = []
    for family in sorted({*families, *(block.family for block in blocks)}):
        own = [block for block in blocks if block.family is family]
        taken = _counted(own, occupied.get(family, ()))
        free = sum(block.size - taken[block] for block in own)
        ahead = min([_MOST_AHEAD, *(block.size // 2 for block in own)])
        if not own or free < max(ahead, 1):
            wanted[family] = len(own) + 1
            continue
        going = _spare(own, taken, free - 2 * ahead)
        spare += going
        wanted[family] = len(own) - len(going)
    return Demand(wanted, tuple(spare))


def _counted(blocks: Sequence[Prefix], occupied: Collection[int]) -> dict[Prefix, int]:
    return {block: sum(map(block.holds, occupied)) for block in blocks}


def _spare(own: Sequence[Prefix], taken: Mapping[Prefix, int], room: int) -> list[Prefix]:
    """Empty blocks with no more addresses together than this; one block stays in any case."""
    going: list[Prefix] = []
    for block in reversed(own):
        if not taken[block] and block.size <= room and len(going) < len(own) - 1:
            going.append(block)
            room -= block.size
    return going
