"""The file of simulated tables on real disks that are full or read-only, mounted out of sight."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ipam.prefix import Prefix
from vpcrouter.fabric.tables_file import FileStorage

pytestmark = pytest.mark.usefixtures("root")

# Run in a mount namespace of its own: fills the folder's file until it is refused, and says what
# it was told and what is still there.
_FILL = """
import sys
from pathlib import Path
from ipam.prefix import Family, Prefix
from vpcrouter.fabric.port import FabricUnavailableError
from vpcrouter.fabric.tables_file import FileStorage

path = Path(sys.argv[1])
kept = dict(FileStorage(path, "vpc-1").load())
try:
    for number in range(2_000):
        row = Prefix(Family.IPV4, 0x64400000 + (number << 6), 26)
        rows = {"rtb-a": {**kept.get("rtb-a", {}), row: "eni-a0"}}
        storage = FileStorage(path, "vpc-1")
        with storage.exclusive():
            storage.save(rows)
        kept = rows
except FabricUnavailableError as error:
    print(error)
assert FileStorage(path, "vpc-1").load() == kept, "a refused change shows, or another is lost"
print(len(kept["rtb-a"]), sorted(p.name for p in path.parent.iterdir()))
"""


def _in_namespace(mount: str, path: Path) -> list[str]:
    command = f'{mount} && exec "$0" -c "$1" "$2"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, sys.executable, _FILL, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_full_disk_refuses_a_change_and_keeps_what_was_there(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=32k tables '{tmp_path}'"
    message, left = _in_namespace(mount, tmp_path / "tables.json")
    assert f"{tmp_path / 'tables.json'}: " in message
    assert "No space left on device" in message
    assert int(left.split()[0]) > 10
    assert left.endswith("['tables.json', 'tables.json.lock']")


def test_a_read_only_disk_can_be_read_and_refuses_changes(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    storage = FileStorage(path, "vpc-1")
    with storage.exclusive():
        storage.save({"rtb-a": {Prefix.parse("100.64.0.0/16"): "eni-a0"}})
    before = path.read_bytes()
    mount = f"mount --bind '{tmp_path}' '{tmp_path}' && mount -o remount,ro,bind '{tmp_path}'"
    message, left = _in_namespace(mount, path)
    assert f"{path}: the simulated route tables cannot be locked: Read-only file system" in message
    assert left.startswith("1 ")
    assert path.read_bytes() == before
