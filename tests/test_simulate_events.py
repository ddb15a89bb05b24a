"""The events file of a simulation: what is read, and that every mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.errors import BadInputError
from vpcrouter.simulate.events import (
    Event,
    Fail,
    Grow,
    Join,
    Leave,
    Load,
    Recover,
)
from vpcrouter.simulate.events_file import read_events

NODES = ("n1", "n2")
SUBNETS = ("s1", "s2")


def _read(tmp_path: Path, text: str | bytes) -> tuple[Event, ...]:
    path = tmp_path / "events.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_events(path, NODES, SUBNETS)


def test_every_kind_of_event_is_read(tmp_path: Path) -> None:
    text = (
        "seconds,event,node,value\n0,fail,n1,\n0,recover,n1,\n10,join,n3,s2\n10,grow,n3,2\n"
        "60.5,load,n2,0.25\n\n61,leave,n2,\n61,join,n2,s1\n"
    )
    assert _read(tmp_path, text) == (
        Event(0, "n1", Fail(), 2),
        Event(0, "n1", Recover(), 3),
        Event(10, "n3", Join("s2"), 4),
        Event(10, "n3", Grow(2), 5),
        Event(60.5, "n2", Load(0.25), 6),
        Event(61, "n2", Leave(), 8),
        Event(61, "n2", Join("s1"), 9),
    )


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffseconds,event,node,value\r\n5,fail,n1,\r\n",
        'seconds,event,node,value\n"5","fail","n1",""',
        "seconds,event,node,value\n5,fail,n1\n",
    ],
    ids=["as a spreadsheet writes it", "quoted", "value left out"],
)
def test_dialects_of_csv_are_read(tmp_path: Path, text: str) -> None:
    assert [(e.seconds, e.node, e.change) for e in _read(tmp_path, text)] == [(5, "n1", Fail())]


def test_a_file_without_events_is_fine(tmp_path: Path) -> None:
    assert _read(tmp_path, "seconds,event,node,value\n") == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("5,explode,n1,", "event: 'explode' is unknown"),
        ("5,,n1,", "event: '' is unknown"),
        ("5,FAIL,n1,", "event: 'FAIL' is unknown"),
        ("-1,fail,n1,", "seconds: '-1' is no number"),
        ("x,fail,n1,", "seconds: 'x' is no number"),
        (",fail,n1,", "seconds: '' is no number"),
        ("nan,fail,n1,", "seconds: 'nan' is no number"),
        ("inf,fail,n1,", "seconds: 'inf' is no number"),
        ("1e300,fail,n1,", "seconds: '1e300' is no number"),
        ("1_0,fail,n1,", "seconds: '1_0' is no number"),
        ("3,fail,n1,", "seconds: 3 comes after 4"),
        ("5,fail,n9,", "unknown node 'n9'"),
        ("5,leave,n9,", "unknown node 'n9'"),
        ("5,fail,,", "node: '' is no node's name"),
        ("5,fail, n1,", "node: ' n1' is no node's name"),
        (f"5,fail,{'n' * 254},", "is no node's name"),
        ("5,join,n1,s1", "n1 joins, but is there already"),
        ("5,join,n3,s9", "value: unknown subnet 's9'"),
        ("5,join,n3,", "value: name the subnet"),
        ("5,join,n3", "value: name the subnet"),
        ("5,leave,n1,s1", "value: leave takes none"),
        ("5,fail,n1,1", "value: fail takes none"),
        ("5,recover,n1,yes", "value: recover takes none"),
        ("5,grow,n1,", "value: '' is no number of further blocks"),
        ("5,grow,n1,0", "value: '0' is no number of further blocks"),
        ("5,grow,n1,-1", "value: '-1' is no number of further blocks"),
        ("5,grow,n1,1.5", "value: '1.5' is no number of further blocks"),
        ("5,grow,n1,9999999999", "value: '9999999999' is no number of further blocks"),
        ("5,load,n1,", "value: '' is no number"),
        ("5,load,n1,-0.5", "value: '-0.5' is no number"),
        ("5,load,n1,nan", "value: 'nan' is no number"),
        ("5,load,n1,1e400", "value: '1e400' is no number"),
        ("5,load,n1,much", "value: 'much' is no number"),
        ("5,fail", "has 2 fields"),
        ("5,fail,n1,,", "has 5 fields"),
        ('5,"fail,n1,', "is not CSV"),
        ('5,"fail"x,n1,', "is not CSV"),
        (f"5,{'x' * 200_000},n1,", "is not CSV"),
        ("5,fa\0il,n1,", "event: 'fa\\x00il' is unknown"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    text = f"seconds,event,node,value\n4,fail,n2,\n{line}\n"
    with pytest.raises(BadInputError) as caught:
        _read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/events.csv:3: ")
    assert problem in message
    assert "\n" not in message
    assert len(message) < 300 + len(str(tmp_path))


def test_a_node_that_left_is_unknown_until_it_joins_again(tmp_path: Path) -> None:
    start = "seconds,event,node,value\n1,leave,n1,\n"
    with pytest.raises(BadInputError, match=r"events.csv:3: node: unknown node 'n1'"):
        _read(tmp_path, start + "2,fail,n1,\n")
    assert len(_read(tmp_path, start + "2,join,n1,s1\n2,fail,n1,\n")) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ":1: write the header seconds,event,node,value"),
        (b"\n", ":1: write the header"),
        (b"5,fail,n1,\n", ":1: write the header"),
        (b"seconds,event,node\n", ":1: write the header"),
        (b"seconds,event,node,value,why\n", ":1: write the header"),
        (b"Seconds,Event,Node,Value\n", ":1: write the header"),
        (b"seconds,event,node,value\n5,fail,n\xff,\n", ":2: is not UTF-8 text"),
        (b"\x1f\x8b\x08\x00", ":1: is not UTF-8 text"),
    ],
)
def test_what_is_no_events_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        _read(tmp_path, content)
    assert problem in str(caught.value)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_events(tmp_path / "none.csv", NODES, SUBNETS)
    with pytest.raises(BadInputError, match="cannot be read: Is a directory"):
        read_events(tmp_path, NODES, SUBNETS)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_garbage_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.csv"
    path.write_bytes(b"seconds,event,node,value\n" + content)
    try:
        read_events(path, NODES, SUBNETS)
    except BadInputError as error:
        named = str(error).startswith(f"{path}:")
        assert named
