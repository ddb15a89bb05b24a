"""The address space as one HTML page that needs nothing else: no network, no other file.

Everything is drawn here; the script only moves the view, finds things and shows what lies under
the pointer. The page forbids itself to load anything and to run anything but this very script,
whatever the names in it say.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape

from ipam.model import State
from vpcrouter.views.boxes import HEIGHT, WIDTH, box
from vpcrouter.views.free import grounds
from vpcrouter.views.page_script import SCRIPT
from vpcrouter.views.page_style import STYLE
from vpcrouter.views.shapes import COLOURS, LOADS, Picture, Shape, What, pictures
from vpcrouter.views.tree import Branch, Kind

_LEGEND = (
    ("block", "block, given out to a node"),
    ("node", "rest of that node's prefix, for it to grow"),
    ("free", "free, in the prefix of a subnet"),
    ("spare", "free, no subnet's yet"),
    ("withheld", "excluded, or a static address"),
)
_OUTLINES = (("place", "place (zone, rack, ...)"), ("subnet", "subnet"), ("group", "prefix group"))


def page(state: State, found: Sequence[Branch], loads: Mapping[str, float]) -> str:
    """The page for these trees of a state; ``loads`` are those of nodes by name."""
    drawn = pictures(state, grounds(state), found, loads)
    body = "".join(_body(state, found, drawn, loads))
    policy = (
        f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Addresses of {_safe(state.cluster)}</title>\n"
        f"<style>{STYLE}</style></head>\n"
        f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _safe(text: str) -> str:
    """Text for elements and attributes; what HTML has no character for becomes a sign for it."""
    shown = "".join(c if c in "\n\t" or _is_character(c) else "\ufffd" for c in text)
    return escape(shown, quote=True)


def _is_character(c: str) -> bool:
    code = ord(c)
    is_control = code < 0x20 or 0x7F <= code < 0xA0
    is_none = 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code < 0xFDF0
    return not (is_control or is_none)


def _body(
    state: State, found: Sequence[Branch], drawn: Sequence[Picture], loads: Mapping[str, float]
) -> Iterator[str]:
    yield f"<header><h1>Addresses of {_safe(state.cluster)}</h1>"
    yield f"<p>{_summary(state, found)}</p>"
    yield (
        '<div class="tools"><div class="search"><input id="search" type="search" '
        'placeholder="node, prefix or address" aria-label="Search" autocomplete="off" '
        'spellcheck="false"><ul id="results" hidden></ul></div>'
        '<button id="colour" type="button" aria-pressed="false">colour by load</button>'
        '<button id="theme" type="button">light or dark</button>'
        '<button id="out" type="button" aria-label="zoom out">&minus;</button>'
        '<button id="in" type="button" aria-label="zoom in">+</button>'
        '<button id="all" type="button">all</button></div></header>\n'
    )
    yield "<main>"
    if len(drawn) != 1:
        yield _tabs(drawn)
    yield '<div class="stage">'
    for number, picture in enumerate(drawn):
        yield from _drawing(picture, number)
    if not drawn:
        yield '<p class="note">There is no network to draw.</p>'
    yield "</div></main>\n"
    yield '<aside><h2>Under the pointer</h2><p id="story" aria-live="polite">move over the picture'
    yield "</p>"
    yield from _legend(state, found, loads)
    yield "</aside>\n"


def _summary(state: State, found: Iterable[Branch]) -> str:
    parts = [f"{len(state.nodes):,} nodes"]
    for tree in found:
        left = f"{tree.free.node_prefixes:,} node prefixes free"
        parts.append(f"{_safe(tree.name)} {tree.family}: {tree.blocks:,} blocks, {left}")
    return " &middot; ".join(parts)


def _tabs(drawn: Sequence[Picture]) -> str:
    tabs = "".join(
        f'<button type="button" role="tab" data-range="{number}" '
        f'aria-selected="{"false" if number else "true"}">{_safe(picture.network)} '
        f"<small>{picture.whole}</small></button>"
        for number, picture in enumerate(drawn)
    )
    return f'<nav role="tablist">{tabs}</nav>'


def _drawing(picture: Picture, number: int) -> Iterator[str]:
    hidden = " hidden" if number else ""
    crowded = " crowded" if picture.nodes_left_out else ""
    yield f'<section class="range{crowded}" data-range="{number}"{hidden}>'
    if picture.nodes_left_out:
        yield (
            f'<p class="note">{picture.nodes_left_out:,} nodes are too many to be drawn one by '
            "one: groups are shown, and what is in them.</p>"
        )
    yield (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{_safe(picture.network)} {picture.whole}"><defs>'
        f'<pattern id="hatch{number}" width="12" height="12" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="12" height="12" class="hatched"/>'
        '<line y2="12" class="hatching"/></pattern></defs><g class="shapes">\n'
    )
    for shape in picture.shapes:
        yield _rectangle(shape, picture)
    yield '</g><rect class="found" hidden="hidden"/><g class="labels"></g></svg></section>'


def _rectangle(shape: Shape, picture: Picture) -> str:
    at = box(shape.prefix, picture.whole)
    classes = [shape.what.value]
    if shape.colour is not None:
        classes.append(f"s{shape.colour}")
    if shape.load is not None:
        classes.append(f"l{shape.load}")
    name = f' data-n="{_safe(shape.name)}"' if shape.name else ""
    story = _safe("\n".join(shape.story))
    title = f"<title>{story}</title>" if story else ""
    return (
        f'<rect class="{" ".join(classes)}" x="{at.x:.15g}" y="{at.y:.15g}" '
        f'width="{at.width:.15g}" height="{at.height:.15g}" data-p="{shape.prefix}"{name}>'
        f"{title}</rect>\n"
    )


def _legend(state: State, found: Iterable[Branch], loads: Mapping[str, float]) -> Iterator[str]:
    yield "<h2>What is what</h2><ul class='legend'>"
    for what, text in _LEGEND:
        yield f'<li><svg class="key" viewBox="0 0 18 12"><rect class="{what} s0" width="18" '
        yield f'height="12"/></svg>{text}</li>'
    kinds = {branch.kind for tree in found for _, branch in tree.walk(tree.height)}
    for what, text in _OUTLINES:
        if what != What.PLACE or Kind.PLACE in kinds:
            yield '<li><svg class="key" viewBox="0 0 18 12"><rect '
            yield f'class="{what} s0" x="1" y="1" width="16" height="10"/></svg>{text}</li>'
    yield "</ul><p class='hint'>Areas are to scale within a range: twice the addresses, twice the "
    yield "area. Scroll to zoom, drag to move; + &minus; 0 and arrow keys work too.</p>"
    yield '<div class="by-subnet"><h2>Subnets</h2><ul class="legend">'
    for number, share in enumerate(state.subnets.values()):
        prefixes = ", ".join(map(str, share.prefixes))
        yield (
            f'<li><button type="button" class="go" data-go="{_safe(prefixes.split(", ")[0])}">'
            f'<svg class="key" viewBox="0 0 18 12"><rect class="block s{number % COLOURS}" '
            f'width="18" height="12"/></svg>{_safe(share.id)}</button></li>'
        )
    yield '</ul></div><div class="by-load"><h2>Load</h2><ul class="legend">'
    largest = max(loads.values(), default=0.0)
    for step in range(LOADS if largest else 1):
        bound = largest * step / (LOADS - 1)
        text = f"up to {bound:.3g}" if step else "forwards nothing for others"
        yield f'<li><svg class="key" viewBox="0 0 18 12"><rect class="block l{step}" width="18" '
        yield f'height="12"/></svg>{text}</li>'
    yield "</ul></div>"
