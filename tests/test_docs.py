"""The documentation holds: links lead somewhere, and its examples are what the program does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.commands import Runner
from vpcrouter.config import load_cluster
from vpcrouter.wire import dump_snapshot, parse_snapshot

HOUSE = Path(__file__).parents[1]
PAGES = sorted([*HOUSE.glob("*.md"), *HOUSE.glob("docs/**/*.md")])


def anchors(page: Path) -> set[str]:
    """The names under which the headings of a page can be linked to, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]*)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_reading_order() -> None:
    pages = {path.name for path in HOUSE.glob("docs/*.md")} - {"README.md"}
    order = re.findall(
        r"^\d+\. \[.*?\]\(([\w-]+\.md)\)", (HOUSE / "docs/README.md").read_text(), re.M
    )
    assert set(order) == pages


def test_every_decision_is_listed() -> None:
    folder = HOUSE / "docs/decisions"
    listed = re.findall(r"\]\((.*?\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def example(language: str) -> str:
    """The first example in that language of the page about files."""
    found = re.search(
        rf"^```{language}\n(.*?)^```", (HOUSE / "docs/files.md").read_text(), re.M | re.S
    )
    assert found is not None
    return found[1]


def test_the_cluster_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(example("yaml"))
    assert load_cluster(file).cluster == "openb"


def test_the_snapshot_of_the_documentation_is_one() -> None:
    text = example("json")
    document = json.loads(text)
    document["route_tables"][0]["limit"]["ipv6"] = document["route_tables"][0]["budget"]["ipv6"] = 0
    assert json.loads(dump_snapshot(parse_snapshot(text, "docs/files.md"))) == document


def test_commands_print_what_the_page_about_routes_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(HOUSE)
    command = Runner(capsys)
    assert command("apply", "--yes", "-f", "docs/examples/cluster.yaml").code == 0
    page = (HOUSE / "docs/routes.md").read_text()
    shown = re.findall(r"^```console\n\$ vpcrouter (.*)\n((?:.*\n)*?)```$", page, re.M)
    assert len(shown) == 3
    for arguments, output in shown:
        assert command(*arguments.split()).out == output


def test_the_divided_cluster_is_what_the_page_about_addresses_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(HOUSE)
    command = Runner(capsys)
    file = "docs/examples/divided.yaml"
    assert command("apply", "--yes", "-f", file).code == 0
    page = (HOUSE / "docs/addresses.md").read_text()
    ((arguments, output),) = re.findall(
        r"^```console\n\$ vpcrouter (topology .*)\n((?:.*\n)*?)```$", page, re.M
    )
    assert command(*arguments.split()).out == output
    blocks = {
        row["node"]: row["cidr"]
        for row in json.loads(command("blocks", "-f", file, "-o", "json").out)["blocks"]
    }
    assert blocks["node-a001"] == "100.64.16.0/26"
    assert blocks["node-a005"] == "100.64.18.0/26"


def test_the_demonstration_prints_what_the_readme_shows(capsys: pytest.CaptureFixture[str]) -> None:
    shortened = re.findall(r"^```\n(.*?)^```", (HOUSE / "README.md").read_text(), re.M | re.S)[1]
    shown = [line for line in shortened.splitlines() if line and not line.startswith(("$", "..."))]
    assert len(shown) > 5
    printed = Runner(capsys)("demo").out.splitlines()
    assert [line for line in shown if line not in printed] == []
