"""Debian's kernel, emulated, for what the kernel of this machine may lack.

It sees this machine's files, read only, with an own ``/tmp``, and ends with the program.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

_PACKAGE = "linux-image-amd64"
_PATIENCE = 1_800  # seconds; 50 of processor time, which a busy machine gives in half an hour
_CLOCK = "-icount shift=3"  # 8 ns an instruction
_HOUSE = Path(__file__).parents[1]


def kernel(folder: Path) -> Path:
    """The image of Debian's kernel, unpacked into this folder unless it is there."""
    (name,) = [
        word
        for line in _output("apt-cache", "depends", _PACKAGE).splitlines()
        if line.strip().startswith("Depends: linux-image-")
        for word in line.split()[1:]
    ]
    unpacked = folder / name
    if not unpacked.exists():
        part = folder / f".{name}"
        part.mkdir(exist_ok=True)
        _output("apt-get", "download", name, folder=part)
        (package,) = part.glob("*.deb")
        _output("dpkg", "-x", str(package), str(part))
        package.unlink()
        part.rename(unpacked)
    (image,) = (unpacked / "boot").glob("vmlinuz-*")
    return image


def run_emulated(image: Path, module: str) -> str:
    """Runs a module of this house as root under this kernel; gives what it and the kernel say.

    Without KVM, which is no better than no answer where machines are nested. Its time goes by the
    instructions that it has carried out: nothing in it is late because this machine is busy.
    """
    inside = f"cd {shlex.quote(str(_HOUSE))} && {shlex.quote(sys.executable)} -B -m {module}"
    programs = Path(sys.executable).parent
    command = [
        *(str(programs / "vng"), "--disable-kvm", "--run", str(image), "--user", "root"),
        *("--memory", "512M", "--cpus", "1", f"--qemu-opts={_CLOCK}", "--verbose"),
        *("--", "sh", "-c", inside),
    ]
    with subprocess.Popen(
        command,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as emulation:
        try:
            return emulation.communicate(timeout=_PATIENCE)[0]
        except subprocess.TimeoutExpired:
            os.killpg(emulation.pid, signal.SIGKILL)  # the machine is a grandchild
            return emulation.communicate()[0] + f"\nended after {_PATIENCE} s"


def _output(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout
