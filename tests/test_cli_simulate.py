"""``vpcrouter simulate``: the contract of its output, its exit codes, and no trace on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clusters import Files
from tests.commands import Ended, Runner, is_one_line

HEADER = "seconds,event,node,value\n"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def simulate(command: Runner, files: Files, events: str, *options: str) -> Ended:
    file = files.folder / "events.csv"
    file.write_text(HEADER + events)
    ended = command("simulate", "-f", files.cluster, "--events", file, *options)
    assert "Traceback" not in ended.err
    assert not files.store.parent.exists(), "a simulation writes nothing"
    return ended


def test_the_report_has_exactly_the_fields_of_its_format(command: Runner, files: Files) -> None:
    ended = simulate(command, files, "0,join,extra,subnet-0a\n5,leave,extra,\n", "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert set(report) == {
        "steps_total",
        "steps_per_event",
        "max_load",
        "max_load_over_least",
        "unserved_seconds",
        "violations",
        "violation_list",
    }
    assert set(report["max_load"]) == set(report["max_load_over_least"]) == {"mean", "worst"}
    assert (report["violations"], report["violation_list"]) == (0, [])


def test_people_get_the_same_figures_in_words(command: Runner, files: Files) -> None:
    ended = simulate(command, files, "")
    assert ended.code == 0
    assert "0 (0 per event)" in ended.out
    assert "broken promises:         none" in ended.out


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ("5,join,a,subnet-0a\n1,leave,a,\n", "events.csv:3"),
        ("0,vanish,a,\n", "events.csv:2"),
        ("0,leave,nobody,\n", "nobody"),
        ("0,join,a,nowhere\n", "nowhere"),
        ("0,load,x,NaN\n", "events.csv:2"),
        ("0,grow\n", "events.csv:2"),
    ],
)
def test_events_that_cannot_be_are_refused(
    command: Runner, files: Files, events: str, says: str
) -> None:
    ended = simulate(command, files, events, "-o", "json")
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert says in ended.err


def test_a_missing_events_file_is_refused(command: Runner, files: Files) -> None:
    for arguments in (["--events", "missing.csv"], []):
        ended = command("simulate", "-f", files.cluster, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert is_one_line(ended.err)


ALL = "static-groups,per-node,merge-only"
COMPARED = [
    *("vpcrouter", "static-groups-4", "static-groups-8", "static-groups-fit"),
    *("per-node", "merge-only"),
]


def test_others_live_through_the_same(command: Runner, files: Files) -> None:
    events = "0,join,extra,subnet-0a\n5,leave,extra,\n"
    report = json.loads(simulate(command, files, events, "--compare", ALL, "-o", "json").out)
    assert [one["name"] for one in report["comparison"]] == COMPARED
    ours = report["comparison"][0]
    assert set(ours) == {
        "name",
        "entries",
        "max_load",
        "combined_load",
        "detour_share",
        "unreachable_share",
        "changes_total",
    }
    assert (ours["changes_total"], ours["max_load"]) == (report["steps_total"], report["max_load"])
    shown = simulate(command, files, events, "--compare", ALL).out
    assert [line.split()[0] for line in shown.splitlines()[-6:]] == COMPARED


def test_a_page_is_written_and_nothing_else(command: Runner, files: Files) -> None:
    page = files.folder / "page <1>.html"
    ended = simulate(command, files, "0,join,x,subnet-0a\n", "--html", str(page))
    assert ended.code == 0
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("<svg") == 5


@pytest.mark.parametrize("compare", ["", "nothing", "per-node,", "per-node;merge-only"])
def test_ways_to_compare_that_are_not_known_are_refused(
    command: Runner, files: Files, compare: str
) -> None:
    ended = simulate(command, files, "", "--compare", compare)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "merge-only" in ended.err


@pytest.mark.parametrize("name", ["missing/page.html", ".", ""])
def test_a_page_that_cannot_be_written_is_refused_first(
    command: Runner, files: Files, name: str
) -> None:
    ended = simulate(command, files, "0,leave,nobody,\n", "--html", name)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert "--html" in ended.err
