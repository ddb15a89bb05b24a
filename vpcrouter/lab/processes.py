"""The processes of a lab: started with its token in their environment, ended by their ids.

An id alone may belong to somebody else by now: who is ended carries the token.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ipam.errors import UnavailableError
from vpcrouter.lab.record import TOKEN

_LOOKS = 5_000
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD
_PATIENCE = 10.0  # seconds for a process that was killed to be gone


def start(command: Sequence[str], token: str, log: Path, pid_file: Path) -> int:
    """Start a process that outlives this one; its id is in a file as well."""
    environment: Mapping[str, str] = {**os.environ, TOKEN: token}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        pid_file.write_text(f"{pid}\n", encoding="ascii")
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be started: {error.strerror}") from error
    return pid


def running(token: str, pid_file: Path) -> int | None:
    """The id of a process that was started so and still runs."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return pid if _carries(pid, token) else None


def all_of(token: str) -> Iterator[int]:
    """The ids of all processes of a lab."""
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        if pid != os.getpid() and _carries(pid, token):
            yield pid


def stop(pid: int, token: str, number: signal.Signals = signal.SIGKILL) -> None:
    """End a process of the lab, and wait until it is gone. Raises UnavailableError."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not _carries(pid, token):
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        if not select.select([descriptor], [], [], _PATIENCE)[0]:
            raise UnavailableError(f"process {pid} does not end: look what it waits for")
    finally:
        os.close(descriptor)
        # Where it is a child of ours, it is still listed until somebody asks how it ended.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _carries(pid: int, token: str) -> bool:
    """Whether a process runs, and has this token in its environment."""
    path = Path(f"/proc/{pid}/environ")
    for _ in range(_LOOKS):
        try:
            environment = path.read_bytes()
            if environment or not _has_environment(pid):
                return f"{TOKEN}={token}".encode() in environment.split(b"\0")
        except OSError:
            return False
        time.sleep(0.001)  # one that is just becoming another program shows none
    return False


def _has_environment(pid: int) -> bool:
    """Whether it is no process that has ended, nor the kernel's own, nor started without any."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = map(int, fields[47:49])  # of its environment; equal while it is written
    # Where its code starts is set after that (Linux, load_elf_binary): until then it is becoming
    # another program.
    is_ready = end > 0 and int(fields[23]) > 0
    has_ended = fields[0] in "ZX" or bool(int(fields[6]) & _KERNEL_THREAD)
    return not has_ended and (end > start or not is_ready)
