"""Where prefixes lie in a picture of a range: nested boxes whose areas are to scale.

A prefix is halved as its box is: side by side where it is wider than high, else one half above the
other. So every prefix has one box, prefixes that nest have boxes that nest, those that are apart
do not overlap, and neighbours in the address space are neighbours in the picture.
"""

from __future__ import annotations

from typing import NamedTuple

from ipam.prefix import Prefix

WIDTH = 2048.0
HEIGHT = 1024.0


class Box(NamedTuple):
    """A rectangle in the picture: its corner at the top left, and its size."""

    x: float
    y: float
    width: float
    height: float


def box(prefix: Prefix, whole: Prefix) -> Box:
    """The box of a prefix in the picture of the whole range; raises ValueError if outside it."""
    if not whole.contains(prefix):
        raise ValueError(f"{prefix} is outside {whole}")
    x, y, width, height = 0.0, 0.0, WIDTH, HEIGHT
    top = prefix.family.width - 1
    for depth in range(whole.length, prefix.length):
        second = prefix.value >> (top - depth) & 1
        if width > height:
            width /= 2
            x += width * second
        else:
            height /= 2
            y += height * second
    return Box(x, y, width, height)
