"""The demonstration: it shows what it promises, quickly, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.process import run
from vpcrouter.example import DEMO, SMALL, Example, describe_document, nodes_document, write_example
from vpcrouter.fabric.describe import read_describe
from vpcrouter.inventory import read_nodes

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files in which nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_it_plans_applies_fails_over_and_explains(
    temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo"]) == ExitCode.DONE
    shown = capsys.readouterr()
    text = shown.out
    assert "1,500 nodes in 3 zones (640, 520, 340)" in text
    assert "takes 50 entries" in text
    made = re.findall(r"Made (\d+) steps?, each verified; the tables are as planned", text)
    assert len(made) == 2
    assert int(made[0]) <= 3 * 44
    assert 1 <= int(made[1]) <= 3
    failed = re.search(
        r"(\S+) forwards to others of its zone .* It fails:", text.replace("\n", " ")
    )
    assert failed is not None
    assert re.search(rf"~ .*{failed[1]}.* -> .*{failed[1]} is not healthy", text)
    assert "delivered over a detour of one hop" in text
    assert "every promise holds" in text
    page = text.split("$ vpcrouter routes")[1].split("$ vpcrouter")[0].splitlines()
    assert 40 <= len(page) <= 60
    assert "\x1b" not in text
    assert list(temporary.iterdir()) == []


def test_kept_files_are_a_cluster_to_look_around_in(
    tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "new" / "cluster"
    assert run(["demo", "--keep", str(kept)]) == ExitCode.DONE
    assert f"The files are left in {kept}" in capsys.readouterr().out.replace("\n", " ")
    assert run(["plan", "-f", str(kept / "cluster.yaml"), "--exit-code"]) == ExitCode.DONE
    assert run(["demo", "--keep", str(kept)]) == ExitCode.BAD_INPUT
    assert "is there already" in capsys.readouterr().err
    assert list(temporary.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["demo", "--keep", str(tmp_path / "file" / "folder")]) == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err.count("\n") == 1


def test_nowhere_to_write_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert run(["demo"]) == ExitCode.UNAVAILABLE
    assert "set TMPDIR" in capsys.readouterr().err


def test_whoever_stops_reading_ends_it_quietly(temporary: Path) -> None:
    script = f"{sys.executable} -m vpcrouter.cli demo | head -3"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert done.returncode == ExitCode.PIPE_CLOSED
    assert done.stderr == ""
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("made", [DEMO, SMALL], ids=["demo", "small"])
def test_a_made_up_cluster_is_a_valid_one(tmp_path: Path, made: Example) -> None:
    write_example(tmp_path, made)
    vpc = read_describe(tmp_path / "aws.json", None)
    inventory = read_nodes(tmp_path / "nodes.json")
    assert len(inventory.nodes) == len(vpc.interfaces) == sum(made.zones)
    assert vpc.warnings == ()


def test_the_checked_in_example_is_the_one_that_the_code_makes(tmp_path: Path) -> None:
    write_example(tmp_path, SMALL)
    for made in filter(Path.is_file, tmp_path.iterdir()):
        assert (EXAMPLES / made.name).read_text() == made.read_text()


def test_documents_are_plain_json() -> None:
    for document in (describe_document(SMALL), nodes_document(SMALL)):
        assert json.loads(json.dumps(document)) == document
