"""The picture of the address space: where boxes lie, and what a real browser makes of the page."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.model import Claim, Network, State, state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from ipam.topology import SUBNET, Level, LevelKind, NamedGroup, topology
from tests.browser import Browser, Page, program, running
from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.generators import prefixes
from tests.view_states import states
from vpcrouter.views.boxes import HEIGHT, WIDTH, Box, box
from vpcrouter.views.free import grounds
from vpcrouter.views.page import page
from vpcrouter.views.shapes import What, pictures
from vpcrouter.views.tree import trees

V4, V6 = Family.IPV4, Family.IPV6


# Boxes


def inside(inner: Box, outer: Box) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


@given(prefixes(), st.data())
def test_boxes_nest_as_prefixes_do_and_are_to_scale(whole: Prefix, data: st.DataObject) -> None:
    depth = data.draw(st.integers(0, min(40, whole.family.width - whole.length)))
    prefix = whole
    for _ in range(depth):
        smaller = prefix.halves()[data.draw(st.integers(0, 1))]
        one, other = (box(half, whole) for half in prefix.halves())
        assert one.x + one.width <= other.x or one.y + one.height <= other.y
        assert inside(box(smaller, whole), box(prefix, whole))
        prefix = smaller
    found = box(prefix, whole)
    assert found.width * found.height * 2**depth == WIDTH * HEIGHT
    assert 1 <= found.width / found.height <= 2


def test_what_is_outside_has_no_box() -> None:
    with pytest.raises(ValueError, match="outside"):
        box(Prefix.parse("10.0.0.0/8"), Prefix.parse("100.64.0.0/10"))


# Shapes


@settings(max_examples=examples(test=25, prove=800))
@given(states())
def test_every_block_is_drawn_once_and_everything_beneath_it_is_the_rest(now: State) -> None:
    for picture in pictures(now, grounds(now), trees(now, {}), {}):
        filled = [s.prefix for s in picture.shapes if s.what in FILLED]
        assert not any(one.overlaps(other) for one, other in pairwise(sorted(filled)))
        drawn = sum(s.prefix.size for s in picture.shapes if s.what is What.BLOCK)
        owned = (block for node in now.owners() for block in node.blocks)
        assert drawn == sum(block.size for block in owned if picture.whole.contains(block))


FILLED = (What.NODE, What.FREE, What.SPARE)


# Text


class Reader(HTMLParser):
    """What a page says, as a browser would read it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {f"{tag}[{name}]" for name, _ in attrs}
        self.names |= {value for name, value in attrs if name == "data-n" and value}


HOSTILE = st.text(
    st.sampled_from("<>&\"'`=/\\ \n\t\0\x1f\x85\u2028\ud800\ufffeé漢-a") | st.characters(),
    max_size=12,
) | st.sampled_from(
    [
        "</title><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</script><script>alert(1)",
        "]]><!--",
        "javascript:alert(1)",
    ]
)


@settings(max_examples=examples(test=20, prove=800))
@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_name_becomes_markup(cluster: str, subnet: str, node: str) -> None:
    def read(*names: str) -> Reader:
        reader = Reader()
        reader.feed(text_of(*names))
        return reader

    plain, hostile = read("cluster", "subnet", "node"), read(cluster, subnet, node)
    assert hostile.tags == plain.tags
    assert hostile.attributes | {"rect[data-n]"} == plain.attributes
    text_of(cluster, subnet, node).encode()


def text_of(cluster: str, subnet: str, node: str) -> str:
    """The page of a cluster with these names, though addresses are given to no such node."""
    now = join(empty(cluster, "pods"), [Claim("node", "subnet", "i")], {V4: 4}).state
    shares = [replace(share, id=subnet) for share in now.subnets.values()]
    nodes = [structs.replace(one, name=node, subnet=subnet) for one in now.nodes.values()]
    named = state(cluster, now.networks, shares, nodes)
    return page(named, trees(named, {}), {node: 1.0})


def empty(cluster: str, network: str, cidr: str = "10.0.0.0/20") -> State:
    pods = Network(network, (Prefix.parse(cidr),), block={V4: 26}, node={V4: 24})
    return state(cluster, [pods])


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = program()
    if executable is None:
        pytest.skip("needs a browser: install Debian's chromium-headless-shell")
    with running(executable, tmp_path_factory.mktemp("browser")) as started:
        yield started


LARGE = {"subnet-a": 2_600, "subnet-b": 1_600, "subnet-c": 800}
SMALL = {"subnet-a": 60, "subnet-b": 30, "subnet-c": 10}


def cluster(sizes: dict[str, int], *cidrs: str) -> State:
    """So many nodes in the subnets of a network with these and some excluded ranges."""
    pods = Network(
        "pods",
        tuple(map(Prefix.parse, cidrs)),
        block={V4: 26, V6: 80},
        node={V4: 24, V6: 64},
        exclude=(Prefix.parse("100.64.0.0/16"), Prefix.parse("100.65.7.9/32")),
    )
    claims = [Claim(f"node-{s[-1]}{i:04}", s, "i-1") for s, n in sizes.items() for i in range(n)]
    outcome = join(state("large", [pods]), claims, {V4: 44, V6: 44})
    assert not outcome.refused
    return outcome.state


@pytest.fixture(scope="module")
def now() -> State:
    return cluster(LARGE, "100.64.0.0/10")


@pytest.fixture(scope="module")
def drawn(browser: Browser, now: State, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a large cluster, as large as a common window."""
    loads = {f"node-a{number:04}": float(number % 7) for number in range(0, 2_600, 40)}
    return shown(browser, tmp_path_factory.mktemp("page"), page(now, trees(now, loads), loads))


@pytest.fixture(scope="module")
def few() -> State:
    return cluster(SMALL, "100.64.0.0/10", "fd00::/48")


@pytest.fixture(scope="module")
def both(browser: Browser, few: State, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a small cluster with both families."""
    return shown(browser, tmp_path_factory.mktemp("page"), page(few, trees(few, {}), {}))


def shown(browser: Browser, folder: Path, text: str) -> Page:
    opened = open_page(browser, folder, text)
    opened.resize(1400, 900)
    return opened


def open_page(browser: Browser, folder: Path, text: str) -> Page:
    file = folder / "page.html"
    file.write_text(text, encoding="utf-8", errors="backslashreplace")
    return browser.open(file)


MEASURE = """
(() => {
  const range = document.querySelectorAll("section.range")[NUMBER];
  range.hidden = false;
  const rects = [...range.querySelectorAll(".shapes > rect")].map(rect => {
    const at = rect.getBBox();
    return [rect.classList[0], rect.dataset.p, at.x, at.y, at.width, at.height];
  });
  range.hidden = NUMBER > 0;
  return JSON.stringify(rects);
})()
"""


def test_the_browser_draws_5000_nodes_to_scale_inside_their_range_and_apart(
    drawn: Page, now: State
) -> None:
    assert_drawn(drawn, now, 0, Prefix.parse("100.64.0.0/10"))


@pytest.mark.parametrize(("number", "cidr"), [(0, "100.64.0.0/10"), (1, "fd00::/48")])
def test_the_browser_draws_both_families(both: Page, few: State, number: int, cidr: str) -> None:
    assert_drawn(both, few, number, Prefix.parse(cidr))


def assert_drawn(drawn: Page, now: State, number: int, whole: Prefix) -> None:
    rects = json.loads(drawn.run(MEASURE.replace("NUMBER", str(number))))
    counts = Counter(what for what, *_ in rects)
    assert counts["node"] == counts["block"] == len(now.nodes)
    assert counts["subnet"] == 3
    assert counts["group"] == sum(
        group.family is whole.family for share in now.subnets.values() for group in share.groups
    )
    boxes: dict[str, list[Box]] = {}
    for what, prefix, *sides in rects:
        found = Box(*sides)
        boxes.setdefault(what, []).append(found)
        assert inside(found, Box(0, 0, WIDTH, HEIGHT))
        share = 2.0 ** (whole.length - Prefix.parse(prefix).length)
        assert found.width * found.height == pytest.approx(share * WIDTH * HEIGHT)
    for kinds in (("node", "free", "spare"), ("block",), ("group",), ("subnet",)):
        assert_apart([one for kind in kinds for one in boxes.get(kind, [])])


def assert_apart(boxes: list[Box]) -> None:
    """No two overlap: swept from left to right, with those that reach over the present one."""
    reaching: list[Box] = []
    for one in sorted(boxes):
        reaching = [other for other in reaching if other.x + other.width > one.x]
        for other in reaching:
            assert other.y + other.height <= one.y or one.y + one.height <= other.y
        reaching.append(one)


def test_the_page_asks_for_nothing_complains_about_nothing_and_fits(drawn: Page) -> None:
    drawn.settle()
    assert [url.partition(":")[0] for url in drawn.requests] == ["file"]
    assert drawn.complaints == []
    assert drawn.run("document.documentElement.scrollWidth <= innerWidth")
    assert drawn.run("document.documentElement.scrollHeight <= innerHeight")


LABELS = """
JSON.stringify([...document.querySelectorAll("section.range:not([hidden]) .labels text")]
  .map(text => { const at = text.getBoundingClientRect();
    return [text.textContent, at.x, at.y, at.width, at.height]; }))
"""


def labels(drawn: Page) -> dict[str, Box]:
    drawn.settle()
    return {text: Box(*sides) for text, *sides in json.loads(drawn.run(LABELS))}


def test_labels_name_subnets_and_groups_and_none_is_over_another(drawn: Page, now: State) -> None:
    drawn.run("document.getElementById('all').click()")
    found = labels(drawn)
    assert {"subnet-a", "subnet-b", "subnet-c"} <= set(found)
    groups = {str(group) for share in now.subnets.values() for group in share.groups}
    assert len(groups & set(found)) > 5
    assert_apart(list(found.values()))


def test_zones_subnets_and_groups_are_named_side_by_side(browser: Browser, tmp_path: Path) -> None:
    zone = Level(LevelKind.LABEL, "zone")
    groups = [NamedGroup("batch", labels=(("kind", "batch"),)), NamedGroup("web-and-the-rest")]
    pods = Network(
        "pods",
        (Prefix.parse("100.64.0.0/14"),),
        block={V4: 26},
        node={V4: 24},
        topology=topology([zone, SUBNET], groups),
    )
    claims = [
        Claim(f"n{i:03}", f"subnet-{i % 6}", "i", (("kind", kind), ("zone", f"zone-{i % 3}")))
        for i, kind in enumerate(["batch", "web", "web"] * 100)
    ]
    outcome = join(state("zones", [pods]), claims, {V4: 60})
    assert not outcome.refused
    opened = shown(browser, tmp_path, page(outcome.state, trees(outcome.state, {}), {}))
    found = json.loads(opened.run(LABELS))
    assert len(found) > 10
    assert {"group batch", "zone=zone-0"} <= {text for text, *_ in found}
    assert_apart([Box(*sides) for _, *sides in found])
    rects = json.loads(opened.run(MEASURE.replace("NUMBER", "0")))
    assert {what for what, *_ in rects} >= {"place", "subnet", "group", "node", "block"}
    assert opened.complaints == []


def test_nodes_are_named_once_the_view_is_close(drawn: Page) -> None:
    drawn.run("document.getElementById('all').click()")
    assert not any(text.startswith("node-") for text in labels(drawn))
    find(drawn, "node-b0042")
    assert "node-b0042" in labels(drawn)
    assert_apart(list(labels(drawn).values()))
    drawn.run("document.getElementById('all').click()")


def find(drawn: Page, text: str) -> str:
    """Search for something, take the first result, and give what is said about it."""
    drawn.run(
        f"(() => {{ const field = document.getElementById('search'); field.value = {text!r}; "
        "field.dispatchEvent(new Event('input')); "
        "field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'})); })()"
    )
    drawn.settle()
    said: str = drawn.run("document.getElementById('story').textContent")
    return said


def test_searching_finds_nodes_prefixes_and_addresses_of_both_families(
    both: Page, few: State
) -> None:
    drawn = both
    for name in ("node-a0000", "node-c0009"):
        owner = few.nodes[name]
        for block in owner.blocks:
            assert find(drawn, str(block)).startswith(name)
            assert find(drawn, str(block).partition("/")[0]).startswith(name)
        said = find(drawn, name)
        assert said.startswith(name)
        assert owner.subnet in said
        assert drawn.run("document.querySelector('.range:not([hidden]) .found').hidden") is not True
    assert find(drawn, "100.64.3.4").startswith("100.64.0.0/16\nexcluded")
    drawn.run("document.querySelector('[role=tab]').click()")


def test_zooming_moving_and_colours_change_what_is_shown(drawn: Page) -> None:
    view = "document.querySelector('svg').getAttribute('viewBox')"
    drawn.run("document.getElementById('all').click()")
    drawn.settle()
    start = drawn.run(view)
    drawn.run("document.getElementById('in').click()")
    drawn.settle()
    closer = drawn.run(view)
    assert float(closer.split()[2]) < float(start.split()[2])
    drawn.run("document.body.dispatchEvent(new KeyboardEvent('keydown', "
              "{key: 'ArrowLeft', bubbles: true}))")  # fmt: skip
    drawn.settle()
    assert float(drawn.run(view).split()[0]) < float(closer.split()[0])
    drawn.run("document.getElementById('all').click()")
    drawn.settle()
    assert drawn.run(view) == start
    fill = "getComputedStyle(document.querySelector('.block.s0.l0')).fill"
    before = drawn.run(fill)
    drawn.run("document.getElementById('colour').click()")
    assert drawn.run(fill) != before
    drawn.run("document.getElementById('colour').click()")
    assert drawn.run(fill) == before
    page_colour = "getComputedStyle(document.body).backgroundColor"
    light = drawn.run(page_colour)
    drawn.prefer("dark")
    assert drawn.run(page_colour) != light
    drawn.run("document.getElementById('theme').click()")
    assert drawn.run(page_colour) == light
    drawn.run("document.documentElement.className = ''")
    drawn.prefer("light")


COLOURS = """
(async () => {
  const bytes = Uint8Array.from(atob("PICTURE"), c => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  const counts = new Map();
  for (const pixel of data) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  return JSON.stringify([counts.size, Math.max(...counts.values()) / data.length]);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_of_the_page_is_not_empty(drawn: Page, scheme: str) -> None:
    drawn.prefer(scheme)
    encoded = base64.b64encode(drawn.picture()).decode()
    colours, share_of_one = json.loads(drawn.run(COLOURS.replace("PICTURE", encoded)))
    assert colours > 100
    assert share_of_one < 0.5
    drawn.prefer("light")


def test_a_small_window_still_shows_everything(drawn: Page) -> None:
    drawn.resize(420, 800)
    assert drawn.run("document.documentElement.scrollWidth <= innerWidth")
    assert drawn.run("document.querySelector('svg').getBoundingClientRect().height > 200")
    drawn.resize(1400, 900)


def test_hostile_names_run_nothing_and_are_shown_as_they_are(
    browser: Browser, tmp_path: Path
) -> None:
    name = "</title></svg><script>document.title='taken'</script><img src=x onerror=alert(1)>"
    opened = open_page(browser, tmp_path, text_of(name, name, name))
    assert opened.run("document.title") == f"Addresses of {name}"
    assert opened.run("document.images.length") == 0
    assert opened.run("document.scripts.length") == 1
    assert find(opened, "onerror").startswith(name)
    assert opened.run("document.images.length") == 0
    assert (opened.complaints, len(opened.requests)) == ([], 1)


def test_the_page_may_run_nothing_but_its_own_script(browser: Browser, tmp_path: Path) -> None:
    """Were a name ever to get through, it could do nothing: the page's policy forbids it."""
    text = text_of("c", "s", "n").replace(
        "</body>", "<script>document.title='taken'</script></body>"
    )
    opened = open_page(browser, tmp_path, text)
    assert opened.run("document.title") == "Addresses of c"
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


def test_a_cluster_without_nodes_and_one_without_room_have_a_picture(
    browser: Browser, tmp_path: Path
) -> None:
    nothing = empty("none", "pods")
    closed = tuple(replace(network, closed=network.cidrs) for network in nothing.networks)
    for number, now in enumerate((nothing, replace(nothing, networks=closed))):
        folder = tmp_path / str(number)
        folder.mkdir()
        opened = open_page(browser, folder, page(now, trees(now, {}), {}))
        assert opened.run("document.querySelectorAll('.shapes > rect').length") == 2 - number
        assert opened.complaints == []


# The command


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, files = Runner(capsys), Files(tmp_path)
    assert command("apply", "--yes", "-f", files.cluster).code == 0
    file = tmp_path / "a.html"
    ended = command("topology", "-f", files.cluster, "--html", file)
    assert (ended.code, ended.out) == (0, "")
    assert is_one_line(ended.err)
    reader = Reader()
    reader.feed(file.read_text())
    nodes = json.loads(command("nodes", "-f", files.cluster, "-o", "json").out)["nodes"]
    assert {node["name"] for node in nodes} <= reader.names


def test_a_page_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    for name in (tmp_path, tmp_path / "missing" / "a.html"):
        ended = Runner(capsys)("topology", "-f", files.cluster, "--html", name)
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)
