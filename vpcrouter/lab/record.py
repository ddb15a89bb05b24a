"""The folder of a lab: what it is made of is written there before any of it is made.

So whatever is interrupted, whoever removes the lab knows all that there can be: namespaces by their
places in the folder, and processes by the token of the lab in their environment.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from ipam.errors import BadInputError, UnavailableError
from ipam.prefix import Family
from vpcrouter.lab.layout import Layout, Machine, Size

FOLDER = Path("/run/vpcrouter-lab")
"""Where labs are, each in a folder of its name."""

TOKEN = "VPCROUTER_LAB"  # noqa: S105 - no secret
"""The environment variable by which the processes of a lab are known."""

_VERSION = 1
_RECORD = "lab.json"


@dataclass(frozen=True, slots=True)
class Record:
    """A lab by name and folder, its token, and what it is made of."""

    name: str
    folder: Path
    token: str
    layout: Layout

    @property
    def cluster_file(self) -> Path:
        """What other commands work on."""
        return self.folder / "cluster.yaml"

    @property
    def node_list(self) -> Path:
        """Which nodes there are, as Kubernetes would say."""
        return self.folder / "nodes.json"

    @property
    def store(self) -> Path:
        """The cluster's store."""
        return self.folder / "store.db"

    def node(self, machine: Machine) -> Path:
        """The folder of a node: its disk."""
        return self.folder / "nodes" / machine.name

    def space(self, name: str) -> Path:
        """The path of a network namespace.

        Not among those of `ip netns`: container tools mount things over that folder.
        """
        return self.folder / "spaces" / name

    # What is broken at present: noted before it is done, forgotten after it is undone.

    def note(self, kind: str, name: str) -> None:
        """Something is about to be broken."""
        self._broken.mkdir(exist_ok=True)
        (self._broken / f"{kind} {name}").touch()

    def forget(self, kind: str, name: str) -> None:
        """It is whole again."""
        (self._broken / f"{kind} {name}").unlink(missing_ok=True)

    def broken(self, kind: str) -> frozenset[str]:
        """The names of what is broken of a kind."""
        return frozenset(
            name
            for path in self._broken.glob("*")
            for found, _, name in [path.name.partition(" ")]
            if found == kind
        )

    @property
    def _broken(self) -> Path:
        return self.folder / "broken"


def begin(name: str, size: Size, parent: Path = FOLDER) -> Record:
    """The record of a new lab, on disk.

    Raises BadInputError where there is one of that name, UnavailableError where it cannot be
    written.
    """
    refuse_second(name, parent)
    folder = parent / name
    record = Record(name, folder, secrets.token_hex(8), Layout(size))
    fields = {
        "version": _VERSION,
        "token": record.token,
        "zones": size.zones,
        "nodes": size.nodes,
        "pods": size.pods,
        "quota": size.quota,
        "families": list(size.families),
    }
    part = folder / f".{_RECORD}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            json.dump(fields, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / _RECORD)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be written: {error.strerror}") from error
    return record


def refuse_second(name: str, parent: Path = FOLDER) -> None:
    """Raises BadInputError where there is a lab of this name."""
    if (parent / name / _RECORD).exists():
        raise BadInputError(f"there is a lab {name} already: vpcrouter lab down removes it")


def load(name: str, parent: Path = FOLDER) -> Record | None:
    """The record of a lab that was begun; None if there is none. Raises BadInputError."""
    folder = parent / name
    try:
        fields = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if fields["version"] != _VERSION:
            raise ValueError(fields["version"])
        families = tuple(map(Family, fields["families"]))
        size = Size(fields["zones"], fields["nodes"], fields["pods"], fields["quota"], families)
        return Record(name, folder, str(fields["token"]), Layout(size))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{folder / _RECORD} is no record of a lab of this version: restart the machine, or "
            "remove what is named there by hand"
        ) from error


def end(name: str, parent: Path = FOLDER) -> None:
    """Forget a lab of which nothing is left: its folder goes. Raises UnavailableError."""
    folder = parent / name
    try:
        # The record last: until then the rest can be found.
        for path in sorted(folder.iterdir(), key=lambda one: one.name == _RECORD):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        folder.rmdir()
        if parent == FOLDER and not any(parent.iterdir()):
            parent.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be removed: {error.strerror}") from error
