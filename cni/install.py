"""Files by which a runtime finds the plugin: the program that it runs, and its configuration."""

from __future__ import annotations

import contextlib
import json
import os
import py_compile
import sys
from collections.abc import Sequence
from pathlib import Path

from cni.plugin import TYPE
from cni.protocol import Mode
from ipam.errors import UnavailableError

CONFIGURATION = "10-vpcrouter.conflist"

_NEEDS: dict[str, dict[str, object]] = {
    "portmap": {"capabilities": {"portMappings": True}, "snat": True},
    "bandwidth": {"capabilities": {"bandwidth": True}},
}

_COMPILED = ("__init__.py", "offline.py", "plugin.py", "versions.py")

# Without `site` the interpreter starts in half the time.
_PROGRAM = """#!{interpreter} -IS
import sys
sys.path.insert(0, {folder!r})
from cni.plugin import main
main({socket!r})
"""


def install_program(folder: Path, socket: Path) -> None:
    """Put the plugin into a runtime's folder of plugins.

    It is compiled once, here: to do so at every start would double the time that it takes.
    """
    with contextlib.suppress(
        OSError
    ):  # where the package cannot be written, it is compiled already
        for name in _COMPILED:
            py_compile.compile(str(Path(__file__).with_name(name)), doraise=True)
    text = _PROGRAM.format(
        interpreter=os.path.realpath(sys.executable),
        folder=str(Path(__file__).resolve().parents[1]),
        socket=str(socket),
    )
    _write(folder / TYPE, text, 0o755)


def install_configuration(folder: Path, network: str, chain: Sequence[str], mode: Mode) -> None:
    """Tell a runtime that pods of this network can be started; leaves a right one alone.

    ``chain`` are the plugins after ours: portmap and bandwidth, or others that need no setting.
    """
    ours: dict[str, object] = {"type": TYPE, "capabilities": {"ips": True, "mac": True}}
    if mode is Mode.IPVLAN:
        # A runtime must not ask for a hardware address: all have the uplink's.
        ours |= {"mode": mode.value, "capabilities": {"ips": True}}
    others = [{"type": name, **_NEEDS.get(name, {})} for name in chain]
    fields = {"cniVersion": "1.0.0", "name": network, "plugins": [ours, *others]}
    text = json.dumps(fields, indent=2) + "\n"
    path = folder / CONFIGURATION
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        _write(path, text, 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.chmod(mode)
        part.replace(path)
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be written ({error.strerror}): make its folder writable"
        ) from error
