"""``vpcrouter blocks release`` and ``reclaim``: only what is gone, and only when it was asked."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from ipam.claim_records import ALIVE
from ipam.claims import Claims
from ipam.prefix import Family
from ipam.store.sqlite import SqliteStore
from tests.clusters import Document, Files
from tests.commands import Ended, Runner, is_one_line
from vpcrouter.example import Example


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(tmp_path: Path, command: Runner) -> Files:
    made = Files(tmp_path)
    assert command("apply", "-f", made.cluster, "--yes").code == 0
    return made


def owned(command: Runner, files: Files) -> dict[str, list[str]]:
    """Blocks by node."""
    ended = command("blocks", "-f", files.cluster, "-o", "json")
    found: dict[str, list[str]] = {}
    for block in json.loads(ended.out)["blocks"]:
        found.setdefault(block["node"], []).append(block["cidr"])
    return found


def unlisted(files: Files, count: int = 1) -> list[str]:
    """Take the last nodes out of the node list; their instances run on."""
    names: list[str] = []

    def remove(items: list[Document]) -> None:
        names.extend(items.pop()["metadata"]["name"] for _ in range(count))

    files.edit_nodes(remove)
    return names


def states(files: Files, state: str, count: int = 1) -> None:
    """What the cloud says about the last instances."""

    def edit(document: Document) -> None:
        for reservation in document["Reservations"][-count:]:
            reservation["Instances"][0]["State"]["Name"] = state

    files.edit_vpc(edit)


def release(command: Runner, files: Files, *arguments: str) -> Ended:
    return command("blocks", "release", "-f", files.cluster, *arguments)


def reclaim(command: Runner, files: Files, *arguments: str) -> Ended:
    return command("blocks", "reclaim", "-f", files.cluster, *arguments)


def refused(ended: Ended, code: int = 6) -> str:
    assert ended.code == code
    assert is_one_line(ended.err)
    return ended.err


def test_a_node_that_is_there_keeps_its_blocks(command: Runner, files: Files) -> None:
    before = owned(command, files)
    name = min(before)
    message = refused(release(command, files, name, "--yes"))
    assert "it is ready, its instance runs; nothing was released" in message
    assert "stop the node first, or give --force" in message
    assert owned(command, files) == before


def test_a_node_that_is_only_missing_in_the_list_keeps_its_blocks_while_its_instance_runs(
    command: Runner, files: Files
) -> None:
    before = owned(command, files)
    (name,) = unlisted(files)
    assert "its instance runs; nothing" in refused(release(command, files, name, "--yes"))
    assert owned(command, files) == before


def test_a_node_whose_agent_holds_a_lease_keeps_its_blocks(command: Runner, files: Files) -> None:
    (name,) = unlisted(files)
    states(files, "stopped")
    store = SqliteStore(files.store)
    identity = next(i for n, i in owners(store) if n == name)
    claims = Claims(store, name, identity)
    claims.keep_alive(1000)
    assert "its agent holds a lease; nothing" in refused(release(command, files, name, "--yes"))
    claims.stop()
    assert release(command, files, name, "--yes").code == 0
    store.close()


def owners(store: SqliteStore) -> list[tuple[str, str]]:
    return [
        (item.key.rpartition("/")[2], json.loads(item.value)["identity"])
        for item in store.range("/nodes/").items
    ]


def test_a_node_that_an_operator_knows_to_be_gone_gives_its_blocks_back(
    command: Runner, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = owned(command, files)
    (name,) = unlisted(files)
    states(files, "stopped")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    ended = release(command, files, name)
    assert ended.code == 6
    assert "not confirmed, nothing was released" in ended.err
    assert f"Release 1 block of {name}" in ended.err
    assert owned(command, files) == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    ended = release(command, files, name)
    assert ended.code == 0
    assert "an operator says so" in ended.out
    assert "Released 1 block. Entries that lead to them stay until 'vpcrouter apply'" in ended.out
    assert owned(command, files) == {n: blocks for n, blocks in before.items() if n != name}


def test_force_takes_blocks_from_a_node_that_is_alive_and_ends_its_claim(
    command: Runner, files: Files
) -> None:
    before = owned(command, files)
    name = min(before)
    store = SqliteStore(files.store)
    identity = next(i for n, i in owners(store) if n == name)
    claims = Claims(store, name, identity)
    claims.register("s", {}, {Family.IPV4: 1})
    claims.keep_alive(1000)
    assert release(command, files, name, "--force", "--yes").code == 0
    assert claims.granted().blocks == ()
    assert store.range("/claims/").items == store.range(ALIVE).items == ()
    store.close()


def test_a_block_is_released_by_its_cidr_and_the_node_keeps_the_others(
    command: Runner, files: Files
) -> None:
    before = owned(command, files)
    (name,) = unlisted(files)
    states(files, "stopped")
    (block,) = before[name]
    ended = release(command, files, block, "--yes", "-o", "json")
    assert ended.code == 0
    (released,) = json.loads(ended.out)["released"]
    assert (released["node"], released["blocks"]) == (name, [block])
    assert owned(command, files) == {n: blocks for n, blocks in before.items() if n != name}
    store = SqliteStore(files.store)
    assert name in [node for node, _ in owners(store)]
    store.close()


def test_what_owns_nothing_is_named(command: Runner, files: Files) -> None:
    name = min(owned(command, files))
    assert f"did you mean {name}" in refused(release(command, files, name + "x", "--yes"), 2)
    assert "no block inside 9.9.9.0/24" in refused(release(command, files, "9.9.9.0/24"), 2)
    assert command("blocks", "release", "-f", files.cluster).code == 2


def test_of_two_that_had_a_name_the_former_is_released_by_its_identity(
    command: Runner, files: Files
) -> None:
    def renew(items: list[Document]) -> None:
        items[-1]["spec"]["providerID"] = ""
        items[-1]["metadata"]["uid"] = "another"
        items[-1]["metadata"]["annotations"] = {}

    first = SqliteStore(files.store)
    old = dict(owners(first))
    first.close()
    states(files, "stopped")
    files.edit_nodes(renew)
    command("apply", "-f", files.cluster, "--yes")
    before = owned(command, files)
    (twice,) = [name for name in before if name.endswith(")")]
    name = twice.partition(" ")[0]
    assert twice == f"{name} ({old[name]})"
    assert "several nodes had the name" in refused(release(command, files, name, "--yes"), 2)
    assert release(command, files, twice, "--yes").code == 0
    assert owned(command, files) == {n: blocks for n, blocks in before.items() if n != twice}


def test_reclaiming_takes_what_the_cloud_says_is_gone_and_nothing_that_is_only_missing(
    command: Runner, files: Files
) -> None:
    before = owned(command, files)
    gone, missing = unlisted(files, 2)
    states(files, "stopped", 2)
    nothing = reclaim(command, files, "--yes")
    assert (nothing.code, nothing.out) == (0, "nothing to reclaim\n")
    assert "2 nodes neither there nor gone for certain, left alone" in nothing.err
    states(files, "terminated", 1)
    ended = reclaim(command, files, "--yes")
    assert ended.code == 0
    assert "the cloud says that its instance" in ended.out
    assert missing in ended.err
    assert owned(command, files) == {n: blocks for n, blocks in before.items() if n != gone}
    again = reclaim(command, files, "--yes", "-o", "json")
    assert json.loads(again.out) == {"released": []}


def test_many_at_once_are_released_only_where_that_is_meant(
    command: Runner, tmp_path: Path
) -> None:
    files = Files(tmp_path, Example("many", (30, 10, 5), 20))
    assert command("apply", "-f", files.cluster, "--yes").code == 0
    before = owned(command, files)
    unlisted(files, 12)
    states(files, "terminated", 12)
    ended = reclaim(command, files, "--yes")
    assert ended.code == 6
    assert "12 nodes would lose blocks, more than 10 at once; nothing was released" in ended.err
    assert "give --most 12 if that is meant" in ended.err
    assert owned(command, files) == before
    assert reclaim(command, files, "--yes", "--most", "12").code == 0
    assert len(owned(command, files)) == len(before) - 12
