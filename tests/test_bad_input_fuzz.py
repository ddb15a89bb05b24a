"""Snapshots damaged at random: planned, refused or partly served, but never an internal error."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands import Runner
from tests.counts import examples
from tests.snapshots import snapshots
from vpcrouter.cli.exits import ExitCode
from vpcrouter.model import Snapshot
from vpcrouter.wire import dump_snapshot

ALLOWED = {ExitCode.DONE, ExitCode.BAD_INPUT, ExitCode.UNSERVED}

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    1.5,
    -0.0,
    1e308,
    5e-324,
    10**30,
    "",
    "x",
    "s0",
    "s1",
    "t0",
    "s0n0",
    "s0n1",
    "eni-s0n0",
    "100.64.0.0/26",
    "100.64.0.0/16",
    "0.0.0.0/0",
    "fd00::/64",
    "::/0",
    "100.64.0.1/26",
    "10.0.0.1",
    "a\nb",
    "\u202e",
    "ipv4",
    [],
    {},
    [[]],
    [{}],
    {"ipv4": 1},
]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


def damage(document: Any, random: Random) -> Any:
    """The document with one value replaced, removed, doubled or moved somewhere."""
    spots = list(places(document))
    parent, key = random.choice(spots)
    kind = random.choice(["replace", "replace", "remove", "double", "copy", "rename"])
    if kind == "replace":
        parent[key] = copy.deepcopy(random.choice(VALUES))
    elif kind == "remove":
        del parent[key]
    elif kind == "copy":
        other, there = random.choice(spots)
        parent[key] = copy.deepcopy(other[there])
    elif isinstance(parent, list):
        parent.insert(random.randint(0, len(parent)), copy.deepcopy(parent[key]))
    elif kind == "rename":
        parent[random.choice(["x", "weight", "avoid", "id", "name"])] = parent.pop(key)
    return document


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in the document that holds a value."""
    found = []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def spoil(text: bytes, random: Random) -> bytes:
    """The text with a few bytes changed, removed or put in."""
    spoiled = bytearray(text)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(spoiled))
        kind = random.randrange(3)
        if kind == 0:
            spoiled[at] = random.choice(b'{}[]",:0e.-\x00\xff')
        elif kind == 1:
            del spoiled[at : at + random.randint(1, 30)]
        else:
            spoiled[at:at] = random.choice([b"1", b",", b'"', b"null", b"\xf0", b"[[["])
        spoiled = spoiled or bytearray(b"{")
    return bytes(spoiled)


def check(command: Runner, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "snapshot.json"
        file.write_bytes(content)
        for arguments in (["plan"], ["verify"], ["routes", "-o", "json"]):
            ended = command(*arguments, "--snapshot", file)
            allowed = ALLOWED | ({ExitCode.BROKEN_PROMISE} if arguments == ["verify"] else set())
            assert ended.code in allowed, ended.err
            assert "Traceback" not in ended.err
            if ended.code == ExitCode.BAD_INPUT:
                assert ended.out == ""
                assert ended.err.count("\n") == 1


FUZZ = settings(
    max_examples=examples(test=60, prove=2_000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(snapshots(), st.integers(0, 2**32), st.integers(1, 3))
def test_damaged_content_never_ends_in_an_internal_error(
    command: Runner, snapshot: Snapshot, seed: int, times: int
) -> None:
    random = Random(seed)
    document = json.loads(dump_snapshot(snapshot))
    for _ in range(times):
        document = damage(document, random)
    check(command, json.dumps(document).encode())


@FUZZ
@given(snapshots(), st.integers(0, 2**32))
def test_damaged_text_never_ends_in_an_internal_error(
    command: Runner, snapshot: Snapshot, seed: int
) -> None:
    check(command, spoil(dump_snapshot(snapshot).encode(), Random(seed)))
