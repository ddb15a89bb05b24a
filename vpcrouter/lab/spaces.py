"""Named network namespaces: made, entered and removed without touching any other."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni.errors import CniError
from cni.namespaces import inside, opened
from ipam.errors import UnavailableError

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_HERE = "/proc/thread-self/ns/net"
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_libc = ctypes.CDLL(None, use_errno=True)


def need_root() -> None:
    """Raises UnavailableError for who may not make namespaces."""
    if os.geteuid() != 0:
        raise UnavailableError("the lab makes network namespaces: run it as root (sudo)")


def make(path: Path) -> None:
    """A new network namespace at a path, with its loopback up. Raises UnavailableError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with opened(_HERE) as before:
            _check(_libc.unshare(_CLONE_NEWNET))
            # From here on this thread is in the new namespace; `inside` brings it back.
            try:
                _check(_libc.mount(_HERE.encode(), bytes(path), b"none", _MS_BIND, None))
                _loopback_up()
            finally:
                _check(_libc.setns(before, _CLONE_NEWNET))
    except OSError as error:
        raise UnavailableError(
            f"network namespace {path} cannot be made: {error.strerror}"
        ) from error


def remove(path: Path) -> None:
    """Remove the namespace at a path, as far as there is one. Raises UnavailableError."""
    try:
        if _libc.umount2(bytes(path), _MNT_DETACH) != 0 and ctypes.get_errno() not in (
            errno.EINVAL,  # a crash came between file and mount
            errno.ENOENT,
        ):
            _check(-1)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"network namespace {path} cannot be removed: {error.strerror}"
        ) from error


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Run this thread in the namespace at a path. Raises UnavailableError where there is none."""
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(opened(str(path)))
        except CniError as error:
            raise UnavailableError(
                f"{path.name} has no network namespace: it is off, or the lab is incomplete"
            ) from error
        with inside(descriptor):
            yield


@contextmanager
def kernel(path: Path) -> Iterator[IPRoute]:
    """A connection to the kernel in the namespace at a path.

    Raises UnavailableError where there is no such namespace, or the kernel refuses what is asked.
    """
    with entered(path):
        connection = IPRoute()
    with connection:
        try:
            yield connection
        except NetlinkError as error:
            reason = os.strerror(error.code)
            raise UnavailableError(
                f"the kernel refuses a change of {path.name}: {reason}"
            ) from error


def switch(name: str, value: str) -> None:
    """Set a switch of the namespace that this thread is in; one that the kernel lacks is passed."""
    path = Path("/proc/sys/net") / name
    if path.exists():
        path.write_text(value, encoding="ascii")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
