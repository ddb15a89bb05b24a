"""The file of the simulated route tables: whole or not there, and shared by several processes."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest

from ipam.errors import UnavailableError
from ipam.prefix import Prefix
from tests.vpcs import observe, vpc_document
from vpcrouter.fabric import tables_file
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.port import FabricUnavailableError, UnknownOutcomeError
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import Changes, FileStorage

CHANGES: Changes = {
    "rtb-a": {Prefix.parse("100.64.0.0/16"): "eni-a0", Prefix.parse("fd00::/48"): "eni-a1"},
    "rtb-b": {Prefix.parse("10.99.0.0/16"): None},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tables.json"


def save(path: Path, changes: Changes = CHANGES) -> FileStorage:
    storage = FileStorage(path, "vpc-1")
    with storage.exclusive():
        storage.save(changes)
    return storage


def test_reading_creates_nothing(path: Path) -> None:
    assert FileStorage(path, "vpc-1").load() == {}
    assert not path.parent.exists()


def test_what_was_saved_is_read_by_another_process(path: Path) -> None:
    first = save(path)
    second = FileStorage(path, "vpc-1")
    assert second.load() == CHANGES
    save(path, {})
    assert first.load() == second.load() == {}


def test_the_file_is_readable_and_says_its_version(path: Path) -> None:
    save(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["version"] == 1
    assert document["tables"]["rtb-a"] == {"100.64.0.0/16": "eni-a0", "fd00::/48": "eni-a1"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is damaged"),
        (b"\x00\xff\xfe", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1, "vpc": "vpc-1"}', "is damaged"),
        (b'{"version": 1, "vpc": "vpc-1", "tables": {"t": []}}', "is damaged"),
        (b'{"version": 1, "vpc": "vpc-1", "tables": {"t": {"10.0.0.1/8": "e"}}}', "is damaged"),
        (b'{"version": 1, "vpc": "vpc-1", "tables": {"t": {"10.0.0.0/8": 7}}}', "is damaged"),
        (b'{"version": 2, "vpc": "vpc-1", "tables": {}}', "is of version 2"),
        (b'{"version": 1, "vpc": "vpc-2", "tables": {}}', "is of vpc-2, not of vpc-1"),
    ],
)
def test_a_file_that_is_not_ours_is_named_with_a_remedy(
    path: Path, content: bytes, says: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UnavailableError) as caught:
        FileStorage(path, "vpc-1").load()
    message = str(caught.value)
    assert str(path) in message
    assert says in message
    assert "remove it" in message
    assert "\n" not in message
    assert path.read_bytes() == content


@pytest.mark.parametrize("length", [1, 20, 60, 100])
def test_a_truncated_file_is_damaged(path: Path, length: int) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FabricUnavailableError, match="is damaged"):
        FileStorage(path, "vpc-1").load()


class PowerCutError(BaseException):
    """Nothing after this happens."""


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("occasion", [0, 1])
def test_a_crash_while_saving_leaves_the_old_or_the_new_tables(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, occasion: int
) -> None:
    save(path)
    left = occasion

    def cut(*_: object) -> None:
        nonlocal left
        if left == 0:
            raise PowerCutError
        left -= 1

    newer: Changes = {"rtb-a": {Prefix.parse("100.64.0.0/16"): "eni-a2"}}
    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", cut)
        else:
            patched.setattr(Path, "replace", cut)
        with contextlib.suppress(PowerCutError):
            save(path, newer)
    assert FileStorage(path, "vpc-1").load() in (CHANGES, newer)
    save(path, newer)
    assert FileStorage(path, "vpc-1").load() == newer


def test_a_full_disk_changes_nothing_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FabricUnavailableError, match=r"tables\.json.*No space left"):
            save(path, {})
    assert FileStorage(path, "vpc-1").load() == CHANGES
    assert sorted(p.name for p in path.parent.iterdir()) == ["tables.json", "tables.json.lock"]


def test_a_folder_that_cannot_be_synced_leaves_the_outcome_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(path)
    monkeypatch.setattr(FileStorage, "_sync_folder", _fail)
    with pytest.raises(UnknownOutcomeError, match="may not survive a crash"):
        save(path, {})


def _fail(_: FileStorage) -> None:
    raise OSError(5, "Input/output error")


def test_a_vpc_keeps_nothing_that_was_not_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FileStorage(path, "vpc-1")
    vpc = SimulatedVpc(observe(tmp_path, vpc_document()), storage, SimulatedClock(), Behaviour())
    before = vpc.describe()

    def refuse(_: Path, __: Path) -> Path:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(FabricUnavailableError, match="Read-only file system"):
            vpc.create_route("rtb-a", "100.64.0.0/16", "eni-a0")
    assert vpc.describe() == before
    vpc.create_route("rtb-a", "100.64.0.0/16", "eni-a0")


def test_two_processes_see_each_others_changes(path: Path, tmp_path: Path) -> None:
    start = observe(tmp_path, vpc_document())
    one, two = (
        SimulatedVpc(start, FileStorage(path, "vpc-1"), SimulatedClock(), Behaviour())
        for _ in range(2)
    )
    one.create_route("rtb-a", "100.64.0.0/16", "eni-a0")
    two.create_route("rtb-a", "100.65.0.0/16", "eni-a0")
    one.delete_route("rtb-a", "100.65.0.0/16")
    assert one.describe() == two.describe()


def test_a_lock_that_another_process_keeps_is_an_error_in_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_file, "_LOCK_SECONDS", 0.05)
    holder, waiter = FileStorage(path, "vpc-1"), FileStorage(path, "vpc-1")
    with (
        holder.exclusive(),
        pytest.raises(FabricUnavailableError, match="another process"),
        waiter.exclusive(),
    ):
        pass
    with waiter.exclusive():
        pass
