"""Where a command's snapshot comes from: a snapshot file, or a cluster's store and fabric."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipam.errors import BadInputError
from vpcrouter.cli.options import CLUSTER_DEFAULT
from vpcrouter.cli.report import say_view
from vpcrouter.model import Snapshot
from vpcrouter.wire import parse_snapshot

if TYPE_CHECKING:
    from ipam.model import State
    from vpcrouter.cluster import Cluster

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Look:
    """What there is; ``state`` is who owns what, None where a snapshot file is looked at."""

    snapshot: Snapshot
    state: State | None


def look(cluster_file: str | None, snapshot_file: str | None) -> Look:
    """What there is at present, in a snapshot file or a cluster; changes nothing.

    Nodes that are left out, and whatever else is odd, are named on standard error.
    """
    refuse_both(cluster_file, snapshot_file)
    if snapshot_file is not None:
        return Look(read_snapshot(snapshot_file), None)
    with opened(cluster_file) as cluster:
        view = cluster.present()
    say_view(view)
    return Look(view.snapshot, view.state)


def known_state(seen: Look, what: str) -> State:
    """Who owns what, for an option that needs it; a usage error where only a snapshot is there."""
    if seen.state is None:
        raise click.UsageError(
            f"{what} needs a cluster: a snapshot does not say what networks have left; give -f",
            click.get_current_context(),
        )
    return seen.state


def present(cluster_file: str | None, snapshot_file: str | None) -> Snapshot:
    """The snapshot of what there is at present."""
    return look(cluster_file, snapshot_file).snapshot


@contextmanager
def opened(cluster_file: str | None) -> Iterator[Cluster]:
    """The cluster that a command is about; its store is let go of afterwards."""
    from vpcrouter.cluster import Cluster

    cluster = Cluster.open(cluster_path(cluster_file))
    try:
        yield cluster
    finally:
        cluster.close()


def read_snapshot(name: str) -> Snapshot:
    """The snapshot in a file, or on standard input for ``-``.

    Raises BadInputError where it cannot be read or is no snapshot.
    """
    if name == STANDARD_INPUT:
        return parse_snapshot(sys.stdin.buffer.read(), "standard input")
    try:
        content = Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BadInputError(
            f"{name}: cannot be read: {reason}: name a snapshot file (see 'vpcrouter snapshot')"
        ) from error
    return parse_snapshot(content, name)


def cluster_path(name: str | None) -> Path:
    """The cluster file to use when this one, or none, was named."""
    path = Path(name or CLUSTER_DEFAULT)
    if name is None and not path.exists():
        raise click.UsageError(
            f"there is no {CLUSTER_DEFAULT} here: name a cluster file with -f",
            click.get_current_context(silent=True),
        )
    return path


def refuse_both(cluster_file: str | None, snapshot_file: str | None) -> None:
    """A command looks at a cluster or at a snapshot file, not at both.

    A cluster file that only the environment names gives way to a snapshot file.
    """
    context = click.get_current_context()
    given = context.get_parameter_source("cluster_file")
    if snapshot_file is not None and cluster_file is not None:
        if given is click.core.ParameterSource.ENVIRONMENT:
            return
        raise click.UsageError("-f and --snapshot exclude each other: give one", context)
