"""Cluster files in a folder of their own, to be broken by tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vpcrouter.example import SMALL, Example, write_example

Document = dict[str, Any]


class Files:
    """The files of one made-up cluster: a dozen nodes in three zones unless told otherwise."""

    def __init__(self, folder: Path, example: Example = SMALL) -> None:
        self.folder = folder
        self.cluster = write_example(folder, example)
        self.store = folder / "store" / "cluster.db"
        self.append(f"store: {self.store}\n")

    def append(self, text: str) -> None:
        """Add lines to the cluster file."""
        self.cluster.write_text(self.cluster.read_text() + text)

    def replace(self, old: str, new: str) -> None:
        """Change some text of the cluster file."""
        text = self.cluster.read_text()
        assert old in text
        self.cluster.write_text(text.replace(old, new))

    def edit_nodes(self, edit: Callable[[list[Document]], object]) -> None:
        """Change the node list's items."""
        self._edit("nodes.json", lambda document: edit(document["items"]))

    def edit_vpc(self, edit: Callable[[Document], object]) -> None:
        """Change what describes the VPC."""
        self._edit("aws.json", edit)

    def _edit(self, name: str, edit: Callable[[Document], object]) -> None:
        file = self.folder / name
        document = json.loads(file.read_text())
        edit(document)
        file.write_text(json.dumps(document))
