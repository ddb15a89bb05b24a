"""A simulation as one HTML page that needs nothing else: figures, and pictures over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from itertools import accumulate

from vpcrouter.simulate.chart import Line, amount, chart
from vpcrouter.simulate.engine import History, Moment
from vpcrouter.simulate.report import Compared, Figures, Spread
from vpcrouter.simulate.standing import Standing

# Colours of Okabe and Ito, told apart with any colour vision; the darker set is for light pages.
_LIGHT = ("#0072b2", "#b45309", "#00795c", "#a3478a", "#5b5b5b", "#8a6d00", "#1d4e89")
_DARK = ("#56b4e9", "#e69f00", "#2fbf96", "#dd93c2", "#bdbdbd", "#f0e442", "#8fb8ff")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "4 2", "1 4", "12 4")

_STYLE = """\
:root { color-scheme: light dark; --page: #fff; --ink: #1b1b1b; --faint: #6b6b6b; --rule: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e8e8e8; --faint: #a0a0a0; --rule: #3a3d42; }
}
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .2rem; }
p { margin: .2rem 0 .6rem; color: var(--faint); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; }
svg text { fill: var(--faint); font-size: 12px; } svg text.name { fill: var(--ink); }
.grid { stroke: var(--rule); stroke-width: 1; }
.line, .lead { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.lead { stroke-width: 1; }
"""

_Value = Callable[[Standing], float]

_PICTURES: tuple[tuple[str, str, _Value, bool], ...] = (
    (
        "Entries",
        "in the fullest table, of one family",
        lambda one: float(one.entries),
        False,
    ),
    (
        "Largest load",
        "what the busiest node of a table forwards for others, over its capacity",
        lambda one: one.max_load,
        False,
    ),
    (
        "Detours",
        "the weight that reaches another node than its owner first, over all weight",
        lambda one: one.detour_share,
        True,
    ),
    (
        "Not reached",
        "the weight of healthy nodes' blocks that no table leads to, over all weight",
        lambda one: one.unreachable_share,
        True,
    ),
)


def page(title: str, figures: Figures, comparison: Sequence[Compared], history: History) -> str:
    """The page; ``title`` and all names are text, whatever characters they hold."""
    moments = history.moments or (history.start,)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_STYLE}{''.join(_looks(len(comparison)))}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{_summary(figures, moments)}</p>",
        *_table(comparison),
        *_pictures([one.name for one in comparison], moments),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _summary(figures: Figures, moments: Sequence[Moment]) -> str:
    events = sum(moment.events for moment in moments)
    broken = len(figures.violations)
    return (
        f"{events:,} events, settled {len(moments):,} times. Largest load over the least possible: "
        f"{_spread(figures.max_load_over_least, percent=False)}. "
        f"Broken promises: {broken or 'none'}."
    )


def _looks(count: int) -> Iterator[str]:
    """The look of each line, for light pages and for dark ones."""
    for number in range(count):
        light, dark = _LIGHT[number % len(_LIGHT)], _DARK[number % len(_DARK)]
        dashes = _DASHES[number % len(_DASHES)]
        yield f".s{number} {{ stroke: {light}; }}\n"
        yield f".line.s{number} {{ stroke-dasharray: {dashes}; }}\n"
        yield f"@media (prefers-color-scheme: dark) {{ .s{number} {{ stroke: {dark}; }} }}\n"


def _table(comparison: Iterable[Compared]) -> Iterator[str]:
    headings = (
        "entries",
        "largest load",
        "over all tables",
        "detours",
        "not reached",
        "changes",
    )
    yield "<h2>Figures</h2><p>In the mean / at worst, over all settled moments.</p>"
    yield '<div class="wide">'
    yield f"<table><tr><th>{''.join(f'<th>{text}' for text in headings)}</tr>"
    for one in comparison:
        cells = (
            _spread(one.entries, percent=False),
            _spread(one.max_load, percent=False),
            _spread(one.combined_load, percent=False),
            _spread(one.detour_share, percent=True),
            _spread(one.unreachable_share, percent=True),
            f"{one.changes_total:,}",
        )
        yield f"<tr><td>{escape(one.name)}{''.join(f'<td>{text}' for text in cells)}</tr>"
    yield "</table></div>"


def _spread(spread: Spread, *, percent: bool) -> str:
    values = (spread.mean, spread.worst)
    return " / ".join(
        amount(v, percent=percent) if v != float("inf") else "without bound" for v in values
    )


def _pictures(names: Sequence[str], moments: Sequence[Moment]) -> Iterator[str]:
    times = [moment.seconds for moment in moments]
    through = [[(m.standing, *m.rivals)[place] for m in moments] for place in range(len(names))]
    for title, meaning, value, percent in _PICTURES:
        lines = [
            Line(name, [value(standing) for standing in standings], style)
            for style, (name, standings) in enumerate(zip(names, through, strict=True))
        ]
        yield f"<h2>{title}</h2><p>{meaning}</p>"
        yield chart(title, times, lines, percent=percent)
    totals = [
        Line(name, list(accumulate(float(standing.changes) for standing in standings)), style)
        for style, (name, standings) in enumerate(zip(names, through, strict=True))
    ]
    yield "<h2>Changes</h2><p>to all tables together, since the start</p>"
    yield chart("Changes", times, totals, percent=False)
