"""A store that cannot be used: exit code 5 and one line, and nothing is lost or half done."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ipam.store.port import Compare, Put
from ipam.store.sqlite import SqliteStore
from tests.clusters import Files
from tests.commands import REPOSITORY, Ended, Runner, is_one_line
from vpcrouter.example import Example

HUNDREDS = Example("hundreds", (120, 80, 40), 20)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def unavailable(ended: Ended) -> str:
    assert ended.code == 5
    assert is_one_line(ended.err)
    return ended.err


def everything(command: Runner, files: Files) -> tuple[str, str]:
    """All blocks and entries as they are."""
    seen = [command(name, "-f", files.cluster, "-o", "json") for name in ("blocks", "routes")]
    assert [ended.code for ended in seen] == [0, 0]
    return seen[0].out, seen[1].out


def one_node_less(files: Files) -> None:
    """Take a node out of the list, so that there is something to do once it is back."""
    nodes = files.folder / "nodes.json"
    nodes.rename(files.folder / "all-nodes.json")
    nodes.write_bytes((files.folder / "all-nodes.json").read_bytes())
    files.edit_nodes(lambda items: items.pop())


def one_more_node(files: Files) -> None:
    """Put it back."""
    (files.folder / "all-nodes.json").rename(files.folder / "nodes.json")


def test_a_locked_store_is_waited_for_and_then_named(
    command: Runner, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_node_less(files)
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    before = everything(command, files)
    one_more_node(files)
    monkeypatch.setattr("vpcrouter.cluster.SqliteStore", partial(SqliteStore, patience=0.2))
    holder = sqlite3.connect(files.store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    ended = command("apply", "-f", files.cluster, "--yes", "-o", "json")
    assert "is locked by another process" in unavailable(ended)
    assert ended.out == ""
    holder.execute("ROLLBACK")
    holder.close()
    assert everything(command, files) == before


@pytest.mark.parametrize("left", [0.5, 0.02])
def test_a_truncated_store_is_named_and_left_alone(
    command: Runner, files: Files, left: float
) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    content = files.store.read_bytes()
    files.store.write_bytes(content[: int(left * len(content))])
    before = files.store.read_bytes()
    for name in ("plan", "routes", "nodes"):
        ended = command(name, "-f", files.cluster)
        assert str(files.store) in unavailable(ended)
        assert ended.out == ""
    assert str(files.store) in unavailable(command("apply", "-f", files.cluster, "--yes"))
    assert files.store.read_bytes() == before


def test_a_store_that_is_no_database_is_named_and_left_alone(command: Runner, files: Files) -> None:
    files.store.parent.mkdir()
    files.store.write_bytes(b"precious notes, no database\n" * 1000)
    before = files.store.read_bytes()
    assert str(files.store) in unavailable(command("apply", "-f", files.cluster, "--yes"))
    assert files.store.read_bytes() == before


def test_a_store_of_a_newer_version_is_named_and_left_alone(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    connection = sqlite3.connect(files.store)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    for arguments in (["plan"], ["apply", "--yes"], ["verify"]):
        assert "version" in unavailable(command(*arguments, "-f", files.cluster))


def test_records_of_a_newer_version_are_named_and_left_alone(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    store = SqliteStore(files.store)
    item = store.range("/nodes/").items[0]
    newer = json.dumps({**json.loads(item.value), "v": 99}).encode()
    assert store.txn([Compare(item.key, item.mod_revision)], [Put(item.key, newer)]).succeeded
    store.close()
    for arguments in (["plan"], ["apply", "--yes"], ["blocks"]):
        assert "version" in unavailable(command(*arguments, "-f", files.cluster))


def test_tables_that_are_no_json_are_named_and_left_alone(command: Runner, files: Files) -> None:
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    (tables,) = files.store.parent.glob("*.json")
    tables.write_bytes(tables.read_bytes()[:100])
    before = tables.read_bytes()
    assert str(tables) in unavailable(command("apply", "-f", files.cluster, "--yes"))
    assert tables.read_bytes() == before


def test_a_store_in_a_folder_that_is_a_file_is_named(command: Runner, files: Files) -> None:
    files.store.parent.write_text("in the way")
    assert str(files.store) in unavailable(command("apply", "-f", files.cluster, "--yes"))


# Real disks, mounted where only this test sees them.


def in_a_mount_namespace(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def shell(*arguments: str | Path) -> str:
    """A command for the shell."""
    return shlex.join([sys.executable, "-m", "vpcrouter.cli", *map(str, arguments)])


@pytest.mark.usefixtures("root")
def test_a_store_on_a_read_only_disk_can_be_looked_at_and_not_changed(
    command: Runner, files: Files
) -> None:
    one_node_less(files)
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    before = everything(command, files)
    one_more_node(files)
    folder = shlex.quote(str(files.store.parent))
    mount = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"
    done = in_a_mount_namespace(f"{mount} && {shell('routes', '-f', files.cluster)}")
    assert done.returncode == 0, done.stderr
    done = in_a_mount_namespace(f"{mount} && {shell('apply', '-f', files.cluster, '--yes')}")
    assert "read-only" in unavailable(Ended(done.returncode, done.stdout, done.stderr))
    assert everything(command, files) == before


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("size", ["16k", "64k", "128k", "192k", "256k"])
def test_a_full_disk_ends_with_what_was_made_and_known(tmp_path: Path, size: str) -> None:
    files = Files(tmp_path, HUNDREDS)
    folder = shlex.quote(str(files.store.parent))
    files.store.parent.mkdir()
    apply = shell("apply", "-f", files.cluster, "--yes", "-o", "json")
    look = shell("snapshot", "-f", files.cluster)
    script = (
        f"mount -t tmpfs -o size={size} store {folder} && {apply} >/dev/null; echo $?; "
        f"mount -o remount,size=10m {folder} && {apply} >/dev/null && {look}"
    )
    done = in_a_mount_namespace(script)
    code, _, rest = done.stdout.partition("\n")
    assert code in ("5", "0")
    if size == "16k":
        assert code == "5"
    if code == "5":
        assert is_one_line(done.stderr)
        assert "disk" in done.stderr
    entries = [len(table["entries"]) for table in json.loads(rest)["route_tables"]]
    assert entries
    assert all(count > 3 for count in entries)
    assert len(json.loads(rest)["blocks"]) == 240
