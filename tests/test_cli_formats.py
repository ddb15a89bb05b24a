"""``-o``: YAML says what JSON says, wide tables say more than narrow ones, everywhere."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.clusters import Files
from tests.commands import Ended, Runner
from tests.test_cli import imported
from tests.test_cli_plan import after, cluster, planned
from vpcrouter.cli.formats import dump_yaml
from vpcrouter.wire.dump import dump_json

LISTINGS = {
    "plan": ("-> none",),
    "routes": ("WEIGHT", "ZONE", "ADDRESS", "CAPACITY", "GROUP", "IDENTITY"),
    "forwarders": ("WEIGHT", "CAPACITY", "STATE", "INTERFACE", "ADDRESS", "ZONE", "IDENTITY"),
    "nodes": ("CAPACITY", "ZONE", "GROUP", "IDENTITY"),
    "blocks": ("ZONE", "GROUP", "INTERFACE", "ADDRESS", "IDENTITY"),
    "verify": ("ENTRIES", "BUDGET", "LIMIT", "BROKEN", "REMARKS"),
    "snapshot": ("IPV4", "PREFIXES", "FOREIGN DESTINATIONS"),
    "explain 100.64.0.1": ("INTERFACE", "ADDRESS", "CAPACITY", "STATE", "IDENTITY"),
    "explain 100.64.0.0/16": ("INTERFACE", "ADDRESS", "CAPACITY", "STATE", "IDENTITY"),
}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def settled(command: Runner, tmp_path: Path) -> Path:
    """A snapshot file whose tables are as planned."""
    document = cluster()
    file = tmp_path / "settled.json"
    file.write_text(json.dumps(after(document, planned(command, tmp_path, document))))
    return file


# The notation


def documents() -> st.SearchStrategy[object]:
    """Anything that JSON can say, with what YAML might misread."""
    text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
        ["", "no", "Y", "null", "~", "1e5", "0x1f", "12:30", "2001:db8::1", "10.0.0.0/8", "=", "<<"]
    )
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    scalars = st.none() | st.booleans() | numbers | text
    return st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20
    )


@given(documents())
def test_yaml_says_what_json_says(document: object) -> None:
    assert yaml.safe_load(dump_yaml(document)) == json.loads(dump_json(document))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        dump_yaml({"a": [number]})


@pytest.mark.parametrize("value", [{1, 2}, b"x", object()])
def test_what_json_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no word"):
        dump_yaml({"a": [value]})


@pytest.mark.parametrize("text", ["1e5", "0o14", "yes", "N", "12:30:45", "2001:db8::1"])
def test_text_is_text_to_readers_of_any_version(text: str) -> None:
    """YAML 1.2 takes the first two for numbers, 1.1 the others for something else than text."""
    assert dump_yaml([text]) == f'- "{text}"\n'


def test_common_text_has_no_quotes_and_no_value_is_a_reference() -> None:
    class Kind(StrEnum):
        DIRECT = "direct"

    shared = ["node-1", "100.64.0.0/24", "subnet-0a", Kind.DIRECT]
    assert "&" not in dump_yaml([shared, shared])
    assert '"' not in dump_yaml([shared])


# The commands


def both(command: Runner, *arguments: str | Path) -> tuple[Ended, Ended]:
    return command(*arguments, "-o", "json"), command(*arguments, "-o", "yaml")


@pytest.mark.parametrize("name", LISTINGS)
def test_every_listing_prints_its_document_as_yaml(
    command: Runner, settled: Path, name: str
) -> None:
    as_json, as_yaml = both(command, *name.split(), "--snapshot", settled)
    assert (as_json.code, as_yaml.code) == (0, 0)
    assert yaml.safe_load(as_yaml.out) == json.loads(as_json.out)


@pytest.mark.parametrize("name", [name for name in LISTINGS if name != "plan"])
def test_every_listing_says_more_when_wide(command: Runner, settled: Path, name: str) -> None:
    narrow = command(*name.split(), "--snapshot", settled, "-o", "table")
    wide = command(*name.split(), "--snapshot", settled, "-o", "wide")
    assert (narrow.code, wide.code) == (0, 0)
    for column in LISTINGS[name]:
        assert column in wide.out
    assert len(wide.out) > len(narrow.out)
    assert set(narrow.out.split()) <= set(wide.out.split())


def test_a_wide_plan_names_both_interfaces_of_a_replacement(
    command: Runner, tmp_path: Path
) -> None:
    document = cluster()
    settled = after(document, planned(command, tmp_path, document))
    failed = settled["route_tables"][0]["entries"][0]["interface"]
    node = next(node for node in settled["nodes"] if node["interface"] == failed)
    node["healthy"] = False
    file = tmp_path / "failed.json"
    file.write_text(json.dumps(settled))
    wide = command("plan", "--snapshot", file, "-o", "wide")
    assert f"{failed} -> " in wide.out
    assert "weight" in wide.out
    assert f"{failed} -> " not in command("plan", "--snapshot", file).out


@pytest.mark.parametrize("name", ["routes", "nodes", "blocks"])
def test_what_a_store_knows_is_in_the_wide_tables_of_a_cluster(
    command: Runner, settled: Path, tmp_path: Path, name: str
) -> None:
    """A snapshot has neither identities nor groups, and says so with a dash."""
    files = Files(tmp_path)
    assert command("apply", "--yes", "-f", files.cluster).code == 0
    ended = command(name, "-f", files.cluster, "-o", "wide")
    assert ended.code == 0
    place = {"routes": (-2, -1), "nodes": (-2, -1), "blocks": (-4, -1)}[name]
    rows = [line.split() for line in ended.out.splitlines() if "node-" in line]
    assert len(rows) >= 12
    for group, identity in ([row[column] for column in place] for row in rows):
        assert group.startswith("100.") or group == "groups"  # an aggregate over several
        assert identity.startswith("i-")
    plain = command(name, "--snapshot", settled, "-o", "wide").out.splitlines()[-1].split()
    assert [plain[column] for column in place] == ["-", "-"]


def test_figures_of_a_simulation_are_printed_as_yaml(command: Runner, tmp_path: Path) -> None:
    files = Files(tmp_path)
    events = tmp_path / "events.csv"
    events.write_text("seconds,event,node,value\n0,join,extra,subnet-0a\n")
    as_json, as_yaml = both(command, "simulate", "-f", files.cluster, "--events", events)
    assert yaml.safe_load(as_yaml.out) == json.loads(as_json.out)


def test_yaml_is_imported_where_it_is_printed(settled: Path) -> None:
    assert "yaml" not in imported("nodes", "--snapshot", settled, "-o", "json")
    modules = imported("nodes", "--snapshot", settled, "-o", "yaml")
    assert "yaml" in modules
    assert not modules & {"numpy", "boto3", "pyroute2", "pydantic", "rich"}
