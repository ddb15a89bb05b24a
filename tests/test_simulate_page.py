"""The page of a simulation: whole in itself, well-formed, and no name becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.counts import examples
from tests.histories import Story, stories
from vpcrouter.planner import plan
from vpcrouter.simulate.baselines import SCHEMES, Rival
from vpcrouter.simulate.chart import Line, chart, duration
from vpcrouter.simulate.engine import live
from vpcrouter.simulate.page import page
from vpcrouter.simulate.report import comparison, figures

NAMES = ["ours", "theirs"]
values = st.lists(st.floats(0, 1e9), min_size=1, max_size=30)


def made(story: Story, title: str, *, compare: bool) -> str:
    rivals = [Rival(scheme) for make in SCHEMES.values() for scheme in make()] if compare else []
    history = live(story.world, story.events, 0.05, plan, rivals)
    compared = comparison(history, [rival.name for rival in rivals])
    return page(title, figures(history), compared, history)


class Reader(HTMLParser):
    """Collects the tags with their attributes, and the text outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=examples(test=12, prove=200), deadline=None)
@given(stories(max_events=5), st.booleans())
def test_a_page_needs_nothing_but_itself(story: Story, compare: bool) -> None:
    text = made(story, "a title", compare=compare)
    reader = Reader()
    reader.feed(text)
    tags = [tag for tag, _ in reader.tags]
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(tags)
    assert tags.count("svg") == 5
    attributes = {name for _, attrs in reader.tags for name in attrs}
    assert not {"src", "href", "style", "onload", "onclick"} & attributes
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><b>', "a & b", "</title>x"])
def test_a_name_is_text(name: str) -> None:
    drawn = chart(name, [0, 1], [Line(name, [1, 2], 0)], percent=False)
    svg = ElementTree.fromstring(drawn)
    assert svg.attrib["aria-label"] == name
    assert name in [each.text for each in svg.iter("text")]
    assert [each.text for each in svg.iter("title")] == [f"{name}: 2 at the end"]


@given(st.text(max_size=40), stories(max_events=0))
@settings(max_examples=examples(test=10, prove=100), deadline=None)
def test_a_title_is_text(title: str, story: Story) -> None:
    reader = Reader()
    reader.feed(made(story, title, compare=False))
    plain = Reader()
    plain.feed(made(story, "", compare=False))
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]


def coordinates(path: str) -> list[tuple[float, float]]:
    """The corners of a path that is made of a start and of level steps."""
    corners = re.findall(r"(?:M|H)([-\d.]+)(?: |V)([-\d.]+)", path)
    return [(float(x), float(y)) for x, y in corners]


@given(st.lists(values, min_size=1, max_size=6), st.booleans(), st.floats(0, 1e7))
@settings(max_examples=examples(test=60, prove=2_000))
def test_every_line_stays_inside_and_keeps_its_order(
    rows: list[list[float]], percent: bool, step: float
) -> None:
    size = min(map(len, rows))
    lines = [Line(f"line {n}", row[:size], n) for n, row in enumerate(rows)]
    times = [step * position for position in range(size)]
    svg = ElementTree.fromstring(chart("x", times, lines, percent=percent))
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    for text in svg.iter("text"):
        assert 0 <= float(text.attrib["x"]) <= width
        assert 0 <= float(text.attrib["y"]) <= height
    paths = [each for each in svg.iter("path") if "line" in each.attrib["class"]]
    for line, path in zip(lines, paths, strict=True):
        points = coordinates(path.attrib["d"])
        assert len(points) == len(line.values)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        highest = max(line.values)
        tops = [y for (_, y), v in zip(points, line.values, strict=True) if v == highest]
        assert max(tops) <= min(y for _, y in points) + 0.1


def test_a_long_history_is_drawn_by_its_largest_values() -> None:
    row = [0.0] * 10_000
    row[1234] = 7.0
    drawn = chart("x", list(range(10_000)), [Line("n", row, 0)], percent=False)
    assert len(drawn) < 20_000
    points = coordinates(re.findall(r'class="line s0" d="([^"]*)"', drawn)[0])
    top = min(y for _, y in points)
    assert sum(y == top for _, y in points) == 1


def test_names_at_the_ends_do_not_overlap() -> None:
    lines = [Line(f"n{n}", [1.0], n) for n in range(6)]
    svg = ElementTree.fromstring(chart("x", [0], lines, percent=True))
    places = sorted(float(t.attrib["y"]) for t in svg.iter("text") if t.get("class") == "name")
    assert all(below - above >= 14 for above, below in pairwise(places))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (90, "90 s"), (150, "2.5 min"), (9_000, "2.5 h"), (864_000, "10 d")],
)
def test_times_are_for_people(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
