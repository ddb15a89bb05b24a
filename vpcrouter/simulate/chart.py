"""A chart of steps over time as inline SVG: no script, no library, no network.

Lines differ in colour and in dashes, and every one is named at its end: so they can be told apart
without seeing colours, and in print.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 170, 16, 36
_POINTS = 500  # more could not be told apart; of those that coincide the largest is drawn
_TICKS = 5  # steps of an axis at most
_NEARLY = 1e-9  # steps: what a value may be above the last line by rounding
_NOTHING = 1e-300  # below, powers of ten have no numbers
_LABEL = 15  # between the names at the lines' ends


@dataclass(frozen=True, slots=True)
class Line:
    """A named row of values, one for each time of the chart; ``style`` numbers its look."""

    name: str
    values: Sequence[float]
    style: int


def chart(title: str, times: Sequence[float], lines: Sequence[Line], *, percent: bool) -> str:
    """The lines over these times (seconds, not empty), each value until the next time."""
    times, lines = _thinned(times, lines)
    values = [value for line in lines for value in line.values]
    step = _step(max(values, default=0.0), whole=all(value == int(value) for value in values))
    ticks = max(1, math.ceil(max(values, default=0.0) / step - _NEARLY))
    frame = _Frame(times[0], times[-1], step, ticks)
    parts = [
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(title)}">',
        *_grid(frame, percent=percent),
        *(_path(frame, times, line, percent=percent) for line in lines),
        *_names(frame, lines),
        "</svg>",
    ]
    return "\n".join(parts)


def amount(value: float, *, percent: bool) -> str:
    """A value as charts and tables show it."""
    if percent:
        return f"{100 * value:.3g} %"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The ranges of both axes; that of the values is so many steps."""

    start: float
    end: float
    step: float
    ticks: int

    def x(self, time: float) -> float:
        span = self.end - self.start
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * ((time - self.start) / span if span else 0.5)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value / self.step) / self.ticks


def _thinned(
    times: Sequence[float], lines: Sequence[Line]
) -> tuple[Sequence[float], Sequence[Line]]:
    size = -(-len(times) // _POINTS)
    if size == 1:
        return times, lines
    starts = range(0, len(times), size)
    thin = [
        Line(line.name, [max(line.values[at : at + size]) for at in starts], line.style)
        for line in lines
    ]
    return [*(times[at] for at in starts[:-1]), times[-1]], thin


def _step(largest: float, *, whole: bool) -> float:
    """The least round step of which a few reach the largest value; a whole one of whole numbers."""
    if largest < _NOTHING:
        return 1.0
    wanted = largest / _TICKS
    scale = 10.0 ** math.floor(math.log10(wanted))
    step = next(f * scale for f in (1, 2, 5, 10) if f * scale >= wanted * (1 - _NEARLY))
    return max(step, 1.0) if whole else step


def _grid(frame: _Frame, *, percent: bool) -> Iterator[str]:
    for tick in range(frame.ticks + 1):
        value = frame.step * tick
        y = frame.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        shown = amount(value, percent=percent)
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
    for time, anchor in ((frame.start, "start"), (frame.end, "end")):
        x = _LEFT if anchor == "start" else WIDTH - _RIGHT
        y = HEIGHT - _BOTTOM + 20
        yield f'<text x="{x}" y="{y}" text-anchor="{anchor}">{duration(time)}</text>'


def _path(frame: _Frame, times: Sequence[float], line: Line, *, percent: bool) -> str:
    """The line, level from each time to the next; a point where there is only one time."""
    first, *rest = zip(times, line.values, strict=True)
    steps = "".join(f"H{frame.x(time):.1f}V{frame.y(value):.1f}" for time, value in rest)
    start = f"M{frame.x(first[0]):.1f} {frame.y(first[1]):.1f}"
    said = f"{escape(line.name)}: {amount(line.values[-1], percent=percent)} at the end"
    drawn = f"{start}{steps or 'h0.1'}"
    return f'<path class="line s{line.style}" d="{drawn}"><title>{said}</title></path>'


def _names(frame: _Frame, lines: Sequence[Line]) -> Iterator[str]:
    """Each line's name at its end, moved apart where several end close to each other."""
    ends = sorted((frame.y(line.values[-1]), place) for place, line in enumerate(lines))
    lowest = HEIGHT - _BOTTOM
    wanted = [y for y, _ in ends]
    for position in range(1, len(wanted)):
        wanted[position] = max(wanted[position], wanted[position - 1] + _LABEL)
    for position in range(len(wanted) - 1, -1, -1):
        room = lowest - _LABEL * (len(wanted) - 1 - position)
        wanted[position] = min(wanted[position], room)
    x = WIDTH - _RIGHT
    for (end, place), y in zip(ends, wanted, strict=True):
        line = lines[place]
        lead = f"M{x} {end:.1f}L{x + 10} {y:.1f}H{x + 16}"
        yield f'<path class="lead s{line.style}" d="{lead}"/>'
        yield f'<text class="name" x="{x + 20}" y="{y + 4:.1f}">{escape(line.name)}</text>'


def duration(seconds: float) -> str:
    """A time since the start, for people."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds:,.3g} s"
