"""The demonstration: a made-up cluster is planned, applied, loses a forwarder and is mended.

It runs the commands that an operator would, on files in a folder of its own; no root, no cloud and
no network are needed. What is shown and how commands are run is the caller's business (`Stage`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import format_address
from vpcrouter.cluster import Cluster
from vpcrouter.example import DEMO, Example, write_example
from vpcrouter.model import Snapshot
from vpcrouter.reachability import TableState
from vpcrouter.traffic import Traffic


class Stage(Protocol):
    """Where the demonstration is shown."""

    def say(self, text: str) -> None:
        """Tell the spectators what comes next, in a line or a few."""
        ...

    def call(self, arguments: Sequence[str], head: int, tail: int) -> None:
        """Run a vpcrouter command and show so many first and last lines of what it prints.

        Raises VpcrouterError where the command fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Forwarder:
    """A node that forwards in a table, with an address that it forwards to and whence."""

    node: str
    table: str
    load: float
    address: str
    source: str


def run(stage: Stage, keep: Path | None) -> None:
    """Give the whole demonstration, of less than 15 seconds.

    ``keep`` is a folder to be made for its files, which then stay; else they are removed in the
    end. Raises BadInputError where that folder is there already, UnavailableError where files
    cannot be written.
    """
    with _folder(keep) as folder:
        _perform(stage, folder, DEMO)
        if keep is not None:
            stage.say(f"The files are left in {folder}: try 'vpcrouter routes -f cluster.yaml'.")
    if keep is None:
        stage.say("That was all; the files are removed again.")


def _perform(stage: Stage, folder: Path, example: Example) -> None:
    cluster = _written(folder, example)
    file = ["-f", str(cluster)]
    zones = ", ".join(f"{count:,}" for count in example.zones)
    stage.say(
        f"A made-up cluster: {sum(example.zones):,} nodes in {len(example.zones)} zones ({zones}), "
        f"each zone with a route table of its own that takes {example.quota} entries. One entry "
        "for each node does not fit. What would vpcrouter do?"
    )
    stage.call(["plan", *file], head=12, tail=4)
    stage.say(
        "Nodes get their address blocks out of groups that share a prefix, and each entry catches "
        "a whole group: its next hop delivers what is its own and forwards the rest. Now for real:"
    )
    stage.call(["apply", *file, "--yes"], head=0, tail=1)
    forwarder = _busiest(_present(cluster))
    size = f"{sum(example.zones):,} nodes"
    stage.say(f"One page of routes: all that {forwarder.table} holds for {size}.")
    stage.call(["routes", *file, "--table", forwarder.table], head=60, tail=0)
    stage.say(
        f"For {forwarder.source}, {forwarder.node} forwards to others of its zone (load "
        f"{forwarder.load:g}). It fails:"
    )
    _fail(folder, forwarder.node)
    stage.call(["apply", *file, "--yes"], head=20, tail=3)
    stage.say(
        "Its routes have moved, one step in each table that used it; nothing else has. Where do "
        "packets go now that went through it?"
    )
    stage.call(["explain", forwarder.address, "--from", forwarder.source, *file], head=20, tail=0)
    stage.say("And does every table keep what was promised?")
    stage.call(["verify", *file], head=20, tail=0)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        try:
            keep.mkdir(parents=True)
        except FileExistsError as error:
            raise BadInputError(f"{keep} is there already: name a folder to be made") from error
        except OSError as error:
            raise UnavailableError(f"{keep} cannot be made: {error.strerror}") from error
        yield keep
        return
    try:
        with tempfile.TemporaryDirectory(prefix="vpcrouter-demo-") as name:
            yield Path(name)
    except OSError as error:
        where = error.filename or tempfile.gettempdir()
        raise UnavailableError(
            f"{where}: {error.strerror}: set TMPDIR to a folder that can be written"
        ) from error


def _written(folder: Path, example: Example) -> Path:
    try:
        return write_example(folder, example)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be written: {error.strerror}") from error


def _present(cluster_file: Path) -> Snapshot:
    cluster = Cluster.open(cluster_file)
    try:
        return cluster.present().snapshot
    finally:
        cluster.close()


def _busiest(snapshot: Snapshot) -> Forwarder:
    """Who forwards most of what the first subnet sends to others, and an address behind it."""
    source = snapshot.subnets[0]
    table = next(t for t in snapshot.route_tables if t.id == source.route_table)
    traffic = Traffic(snapshot)
    others = (o for o in traffic.table(table).forwarding if o.node.subnet != source.id)
    most = max(others, key=lambda one: (one.load, one.node.name))
    state = TableState(table.entries, table.foreign)
    row = next(
        part.row
        for entry in table.entries
        if entry.interface == most.node.interface
        for part in traffic.carried(table, state, entry.destination)
        if snapshot.nodes[part.owner] != most.node
    )
    address = format_address(most.family, snapshot.blocks[most.family].value(row) + 7)
    return Forwarder(most.node.name, table.id, most.load, address, source.id)


def _fail(folder: Path, node: str) -> None:
    """What the node list says once the node has stopped answering."""
    path = folder / "nodes.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for item in document["items"]:
        if item["metadata"]["name"] == node:
            item["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    path.write_text(json.dumps(document), encoding="utf-8")
