"""``vpcrouter store``: check, export, import and back up, as an operator does it."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from ipam.checking import check
from ipam.store.port import Delete, Put
from ipam.store.sqlite import SqliteStore
from tests.clusters import Files
from tests.commands import REPOSITORY, Runner, is_one_line
from vpcrouter.keeping import READERS


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path, command: Runner) -> Files:
    made = Files(tmp_path)
    assert command("apply", "-f", made.cluster, "--yes").code == 0
    return made


def edited(files: Files, *operations: Put | Delete) -> None:
    store = SqliteStore(files.store)
    store.txn([], operations)
    store.close()


def keys(files: Files, folder: str) -> list[str]:
    store = SqliteStore(files.store)
    found = [item.key for item in store.range(folder).items]
    store.close()
    return found


def test_a_store_in_order_has_no_contradiction(command: Runner, files: Files) -> None:
    ended = command("store", "check", "-f", files.cluster)
    assert ended.code == 0
    assert ended.out.endswith(" records, 0 contradictions\n")
    assert ended.err == ""


def test_the_records_of_every_part_of_the_program_are_known_to_the_check() -> None:
    folders = set()
    for file in (
        f for package in ("ipam", "cni", "vpcrouter") for f in (REPOSITORY / package).rglob("*.py")
    ):
        for statement in ast.parse(file.read_text()).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                value = statement.value.value
                if isinstance(value, str) and re.fullmatch(r"/[a-z]+/", value):
                    folders.add(value)
    assert len(folders) > 10
    for folder in folders:
        found = check([(f"{folder}x", b"")], None, (), READERS)
        assert not any("no record that is known" in one.problem for one in found), folder


def test_a_store_that_is_not_there_is_no_store_in_order(command: Runner, tmp_path: Path) -> None:
    files = Files(tmp_path)
    for name in ("check", "export"):
        ended = command("store", name, "-f", files.cluster)
        assert ended.code == 2
        assert f"there is no store at {files.store}" in ended.err
    assert not files.store.exists()


def test_everything_that_contradicts_is_listed_with_what_to_do(
    command: Runner, files: Files
) -> None:
    nodes, blocks = keys(files, "/nodes/"), keys(files, "/blocks/")
    edited(files, Delete(nodes[0]), Put(nodes[1], b"x"), Put("/blocks/1.2.3.0/24", b"{}"))
    ended = command("store", "check", "-f", files.cluster)
    assert ended.code == 4
    lines = ended.out.splitlines()
    assert len(lines) > 4
    assert f"{nodes[1]}: holds no such record" in ended.out
    assert any(line.startswith("/blocks/1.2.3.0/24: ") for line in lines)
    assert sum(line.startswith(tuple(blocks)) for line in lines) >= 2
    assert is_one_line(ended.err)
    assert "store import FILE --replace" in ended.err
    document = json.loads(command("store", "check", "-f", files.cluster, "-o", "json").out)
    assert len(document["contradictions"]) == len(lines) - 1
    assert set(document["contradictions"][0]) == {"key", "problem", "remedy"}


def test_an_exported_store_is_corrected_checked_and_imported(
    command: Runner, files: Files, tmp_path: Path
) -> None:
    blocks = keys(files, "/blocks/")
    before = command("blocks", "-f", files.cluster, "-o", "json").out
    edited(files, Put("/blocks/100.64.0.64/26", b'{"v":2,"node":"x","identity":"","token":""}'))
    assert command("blocks", "-f", files.cluster).code == 2
    exported = command("store", "export", "-f", files.cluster)
    assert exported.code == 0
    file = tmp_path / "store.json"
    file.write_text(exported.out)
    ended = command("store", "import", "-f", files.cluster, file, "--replace", "--yes")
    assert ended.code == 2
    assert "contradicts itself, nothing was imported" in ended.err
    document = json.loads(exported.out)
    del document["records"]["/blocks/100.64.0.64/26"]
    file.write_text(json.dumps(document))
    assert command("store", "check", "-f", files.cluster, "--export", file).code == 0
    refused = command("store", "import", "-f", files.cluster, file)
    assert refused.code == 2
    assert "give --replace" in refused.err
    ended = command("store", "import", "-f", files.cluster, file, "--replace", "--yes")
    assert (ended.code, ended.out.count("1 change.")) == (0, 1)
    assert keys(files, "/blocks/") == blocks
    assert command("blocks", "-f", files.cluster, "-o", "json").out == before
    assert command("store", "check", "-f", files.cluster).code == 0


def test_replacing_asks_first(
    command: Runner, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    file = tmp_path / "store.json"
    file.write_text(command("store", "export", "-f", files.cluster).out)
    before = files.store.read_bytes()
    ended = command("store", "import", "-f", files.cluster, file, "--replace")
    assert ended.code == 6
    assert "not confirmed, nothing was imported" in ended.err
    assert files.store.read_bytes() == before


def test_the_export_of_another_cluster_is_not_imported(
    command: Runner, files: Files, tmp_path: Path
) -> None:
    file = tmp_path / "store.json"
    exported = command("store", "export", "-f", files.cluster).out
    document = json.loads(exported)
    document["cluster"] = document["records"]["/meta"]["cluster"] = "other"
    file.write_text(json.dumps(document))
    ended = command("store", "import", "-f", files.cluster, file, "--replace", "--yes")
    assert ended.code == 2
    assert "the store belongs to cluster other" in ended.err
    assert command("store", "export", "-f", files.cluster).out == exported


def test_a_backup_put_in_the_place_of_the_store_is_the_store(
    command: Runner, files: Files, tmp_path: Path
) -> None:
    before = command("snapshot", "-f", files.cluster).out
    copy = tmp_path / "copy.db"
    ended = command("store", "backup", "-f", files.cluster, copy)
    assert (ended.code, str(copy) in ended.out) == (0, True)
    again = command("store", "backup", "-f", files.cluster, copy)
    assert again.code == 2
    assert "is there already" in again.err
    edited(files, Delete(keys(files, "/nodes/")[0]))
    assert command("store", "check", "-f", files.cluster).code == 4
    shutil.copy(copy, files.store)
    assert command("snapshot", "-f", files.cluster).out == before
    assert command("store", "check", "-f", files.cluster).code == 0


def test_a_journal_of_another_time_beside_a_backup_is_found_out_or_read_over(
    command: Runner, files: Files, tmp_path: Path
) -> None:
    """The mistake that the documentation warns of: the file is put back, its journal stays."""
    early = tmp_path / "early.db"
    assert command("store", "backup", "-f", files.cluster, early).code == 0
    store = SqliteStore(files.store)
    for number in range(300):
        store.txn([], [Put(f"/blocks/10.{number % 250}.0.0/26", b"%d" % number)])
    for end in ("-wal", "-shm"):
        shutil.copy(f"{files.store}{end}", tmp_path / f"late.db{end}")
    store.close()
    shutil.copy(early, files.store)
    for end in ("-wal", "-shm"):
        shutil.copy(tmp_path / f"late.db{end}", f"{files.store}{end}")
    assert command("store", "check", "-f", files.cluster).code in (4, 5)


def test_a_file_whose_counts_cannot_be_is_found_out(command: Runner, files: Files) -> None:
    connection = sqlite3.connect(files.store, isolation_level=None)
    connection.execute("UPDATE counters SET value = 1 WHERE name = 'revision'")
    connection.execute("UPDATE keys SET lease = 77 WHERE key = '/meta'")
    connection.close()
    ended = command("store", "check", "-f", files.cluster)
    assert ended.code == 4
    assert "keys are of a later revision than the store: restore it from a backup" in ended.out
    assert "keys have a lease that is not there" in ended.out


def test_a_damaged_file_is_named(command: Runner, files: Files) -> None:
    content = bytearray(files.store.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    files.store.write_bytes(content)
    ended = command("store", "check", "-f", files.cluster)
    assert ended.code in (4, 5)
    assert str(files.store) in ended.out + ended.err
