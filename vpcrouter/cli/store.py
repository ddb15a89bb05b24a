"""``vpcrouter store``: looks after the store itself."""

from __future__ import annotations

from vpcrouter.cli.lazy import LazyGroup

command = LazyGroup(
    {
        "check": ("store_check", "Name everything in the store that contradicts itself."),
        "export": ("store_export", "Print the records of the store as JSON."),
        "import": ("store_import", "Put the records of an export into the store."),
        "backup": ("store_backup", "Copy the store while it is in use."),
    },
    "store",
    "Check, export, import and back up the store.",
    "\b\nExamples:\n"
    "  vpcrouter store check -f cluster.yaml\n"
    "  vpcrouter store backup -f cluster.yaml backup.db\n"
    "  vpcrouter store export -f cluster.yaml > store.json\n"
    "  vpcrouter store import -f cluster.yaml store.json --replace\n",
)
