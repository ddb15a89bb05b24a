"""From another controller to this one and back, hitless at every call."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ipam.errors import BadInputError
from ipam.prefix import Prefix
from tests.aws import Served, quick_clients, served
from tests.commands import Ended, Runner, is_one_line
from tests.test_aws_commands import CLUSTER
from tests.test_cluster import NAMES, write
from tests.vpcs import Document, vpc_document, write_document
from vpcrouter.adoption import parse_route_spec

OLD = {f"100.96.{number}.0/24": f"eni-{name}" for number, name in enumerate(NAMES)}
"""One entry for each node, as a cloud controller makes them."""

SPEC = {"100.96.0.0/21": ["10.0.0.4", "10.0.0.5"], "100.96.8.0/21": ["10.0.16.4"]}
"""A route spec: a prefix group each, with the hosts that may be its next hop."""

TABLES = ("rtb-a", "rtb-b")


class Move:
    """A cluster that has entries of another controller, and a watch on every call."""

    def __init__(self, folder: Path, aws: Served, command: Runner) -> None:
        self.folder = folder
        self.aws = aws
        self.path = write(folder, NAMES, CLUSTER.format(url=aws.url))
        self._command = command
        self.needed: Mapping[str, str] = {}
        self.start = self.rows()
        aws.disturbed.after = self._watch  # type: ignore[method-assign]

    def _watch(self, action: str) -> None:
        """Right after every call: what pods still need is there."""
        for table in TABLES:
            assert self.rows()[table].items() >= self.needed.items(), action

    def rows(self) -> dict[str, dict[str, str]]:
        tables = self.aws.account.vpc.describe().tables
        return {
            table.id: {str(row.destination): row.target for row in table.rows} for table in tables
        }

    def checks_on(self) -> set[str]:
        seen = self.aws.account.vpc.describe()
        return {i.id for i in seen.interfaces if i.source_dest_check}

    def __call__(self, *arguments: str) -> Ended:
        return self._command(*arguments, "-f", self.path)

    def of_pods(self) -> dict[str, dict[str, str]]:
        pods = Prefix.parse("100.64.0.0/16")
        return {
            name: {d: t for d, t in rows.items() if d[0].isdigit() and pods.contains(_prefix(d))}
            for name, rows in self.rows().items()
        }


def _prefix(text: str) -> Prefix:
    return Prefix.parse(text)


def document_with(entries: Mapping[str, str]) -> Document:
    document = vpc_document()
    document["Quotas"][0]["Value"] = 40.0
    for table in document["RouteTables"]:
        table["Routes"] += [
            {"DestinationCidrBlock": cidr, "NetworkInterfaceId": hop, "Origin": "CreateRoute"}
            for cidr, hop in entries.items()
        ]
    return document


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Runner, request: Any
) -> Iterator[Move]:
    document = document_with(request.param)
    with served(write_document(tmp_path, document, "account.json")) as aws:
        quick_clients(monkeypatch)
        monkeypatch.setattr("sys.stdin", io.StringIO(""))  # nobody answers
        yield Move(tmp_path, aws, command)


@pytest.mark.parametrize("move", [OLD], indirect=True)
def test_from_one_route_per_node_and_back(move: Move) -> None:
    move.needed = OLD  # until the last node has moved
    assert move("apply", "--yes").code == 0
    assert all(rows for rows in move.of_pods().values())
    shown = move("aws", "adopt", "--within", "100.96.0.0/11", "--yes")
    assert (shown.code, shown.out.count("100.96.")) == (0, 2 * len(OLD))
    assert {t: {d: r[d] for d in OLD} for t, r in move.rows().items()} == dict.fromkeys(TABLES, OLD)
    move.needed = move.of_pods()["rtb-a"]
    assert move("apply", "--yes").code == 0
    assert not any(cidr in rows for rows in move.rows().values() for cidr in OLD)
    # And back: the other controller makes its entries again, nodes move, ours go.
    for table in TABLES:
        for cidr, hop in OLD.items():
            move.aws.account.vpc.create_route(table, cidr, hop)
    move.needed = OLD
    assert move("aws", "withdraw", "--yes").code == 0
    assert move.rows() == move.start
    assert move.checks_on() == {f"eni-{name}" for name in (*NAMES, "free")}


@pytest.mark.parametrize("move", [{}], indirect=True)
def test_from_an_overlay_and_back(move: Move) -> None:
    assert move("apply", "--yes").code == 0
    assert move.rows() != move.start
    assert move("aws", "withdraw").code == 6
    assert move("aws", "withdraw", "--yes").code == 0
    assert move.rows() == move.start
    assert move.checks_on() == {f"eni-{name}" for name in (*NAMES, "free")}
    assert "Nothing is left" in move("aws", "withdraw").out
    assert move("apply", "--yes").code == 0, "addresses are still given out"


@pytest.mark.parametrize(
    "move", [{"100.96.0.0/21": "eni-a1", "100.96.8.0/21": "eni-free"}], indirect=True
)
def test_from_romanas_router_and_back(move: Move) -> None:
    spec = move.folder / "routes.json"
    spec.write_text(json.dumps(SPEC))
    shown = move("aws", "adopt", "--route-spec", str(spec), "--table", "rtb-a", "--yes")
    assert shown.code == 0
    assert "rtb-a  100.96.0.0/21  eni-a1" in shown.out
    assert "rtb-a 100.96.8.0/21: leads to none of the hosts" in shown.out
    assert "rtb-b" not in shown.out
    assert "Nothing to take over" in move("aws", "adopt", "--within", "100.96.0.0/22").out
    assert "Let go of 1 entry" in move("aws", "release", "--within", "100.96.0.0/11", "--yes").out
    assert move.rows() == move.start
    assert move("apply", "--yes").code == 0
    after = move.rows()
    assert all(after[t].items() >= rows.items() for t, rows in move.start.items())


@pytest.mark.parametrize("move", [OLD], indirect=True)
def test_nothing_is_taken_over_without_a_yes_or_to_what_is_no_interface(move: Move) -> None:
    assert move("aws", "adopt", "--within", "100.96.0.0/11").code == 6
    everything = move("aws", "adopt", "--within", "0.0.0.0/0", "--yes")
    assert "rtb-a 0.0.0.0/0" in everything.out
    assert "leads to no network interface: stays as it is" in everything.out
    ended = move("aws", "adopt")
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)
    assert move.rows() == move.start


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"10.0.0.0/8": "10.0.0.1"}', b'{"10.0.0.0/8": ["x"]}', b'{"x": []}'],
)
def test_what_is_no_route_spec_is_refused(content: bytes) -> None:
    with pytest.raises(BadInputError, match=r"routes\.json: .*10\.112\.0\.0/22"):
        parse_route_spec(content, "routes.json")
