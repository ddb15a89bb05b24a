"""What a node knew outlasts a restart: whole, its own, and of no use where it is damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.hostroutes import HostRoute
from cni.last_known import LastKnown, LastKnownFile
from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family, Prefix

KNOWN = LastKnown(
    7,
    (Prefix.parse("10.64.0.0/16"), Prefix.parse("fd64::/48")),
    (Prefix.parse("10.64.0.0/26"),),
    (
        HostRoute(Prefix.parse("10.64.1.0/26"), 0xC0000201),
        HostRoute(Prefix.parse("fd64::1:0:0:0/80"), 1 << 100),
    ),
)


def file(path: Path, identity: str = "i-1") -> LastKnownFile:
    return LastKnownFile(path / "known.json", "n1", identity)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert file(tmp_path).read() is None
    for known in (KNOWN, replace(KNOWN, routes=()), KNOWN):
        file(tmp_path).write(known)
        assert file(tmp_path).read() == known
    assert [path.name for path in tmp_path.iterdir()] == ["known.json"]


@given(st.lists(st.tuples(st.sampled_from(list(Family)), st.integers(0, 2**128 - 1)), max_size=9))
def test_every_route_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Family, int]]
) -> None:
    addresses = [(family, value % (1 << family.width)) for family, value in pairs]
    routes = {
        Prefix(f, value, f.width): HostRoute(Prefix(f, value, f.width), value)
        for f, value in addresses
    }
    known = replace(KNOWN, routes=tuple(sorted(routes.values())))
    disk = file(tmp_path_factory.mktemp("disk"))
    disk.write(known)
    assert disk.read() == known


def test_that_of_another_identity_is_left_aside(tmp_path: Path) -> None:
    file(tmp_path, "i-before").write(KNOWN)
    with pytest.raises(BadInputError, match=r"is of node n1 \(i-before\).*left aside"):
        file(tmp_path).read()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("v", None),
        ("revision", "7"),
        ("ranges", ["10.64.0.0/99"]),
        ("blocks", {"10.64.0.0/26": 1, "": 2}),
        ("blocks", 7),
        ("routes", [["10.64.1.0/26", "192.0.2.1"]]),
        ("routes", {"10.64.1.0/26": "fd64::1"}),
        ("routes", {"10.64.1.0/26": None}),
        ("node", None),
    ],
)
def test_damage_is_said_and_nothing_else(tmp_path: Path, field: str, value: object) -> None:
    file(tmp_path).write(KNOWN)
    path = tmp_path / "known.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(BadInputError, match=r"known\.json is .* left aside"):
        file(tmp_path).read()


@given(st.integers(0, 10_000), st.binary(max_size=3))
def test_bytes_that_were_lost_are_said(
    tmp_path_factory: pytest.TempPathFactory, place: int, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    file(folder).write(KNOWN)
    path = folder / "known.json"
    whole = path.read_bytes()
    start = place % len(whole)
    path.write_bytes(whole[:start] + content)
    if whole.rstrip() != path.read_bytes().rstrip():
        with pytest.raises(BadInputError, match="is damaged"):
            file(folder).read()


def test_where_it_cannot_be_written_the_last_one_stays(tmp_path: Path) -> None:
    file(tmp_path).write(KNOWN)
    (tmp_path / ".known.json.part").mkdir()
    with pytest.raises(UnavailableError, match=r"known\.json cannot be written"):
        file(tmp_path).write(replace(KNOWN, routes=()))
    assert file(tmp_path).read() == KNOWN
    with pytest.raises(UnavailableError, match="cannot be written"):
        file(tmp_path / "gone").write(KNOWN)
    (tmp_path / "dir" / "known.json").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="cannot be read"):
        file(tmp_path / "dir").read()
