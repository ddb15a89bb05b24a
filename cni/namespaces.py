"""Network namespaces of this machine: opened by path with care, and stepped into for a moment."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cni.errors import CniError, Code

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_HERE = Path("/proc/thread-self/ns/net")
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The network namespace at a path, as a file descriptor.

    Raises CniError where there is none: code 3 if the path is gone, 4 if it is something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise CniError(
            Code.CONTAINER, f"network namespace {path} is gone: start the pod anew"
        ) from error
    except OSError as error:
        raise CniError(
            Code.ENVIRONMENT, f"network namespace {path} cannot be opened ({error.strerror})"
        ) from error
    try:
        if not _is_network_namespace(descriptor):
            raise CniError(Code.ENVIRONMENT, f"{path} is no network namespace: check CNI_NETNS")
        yield descriptor
    finally:
        os.close(descriptor)


def _is_network_namespace(descriptor: int) -> bool:
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def own() -> int:
    """A file descriptor of the network namespace that this thread is in; the caller closes it."""
    return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)


def refuse_same(descriptor: int, host: int, path: str) -> None:
    """Raises CniError with code 8 where the namespace at a path is the host's."""
    if os.path.samestat(os.fstat(descriptor), os.fstat(host)):
        raise CniError(
            Code.NAMESPACE, f"{path} is the host's own network namespace: check CNI_NETNS"
        )


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """Run this thread in another network namespace; sockets that it opens there stay there."""
    before = own()
    try:
        enter(descriptor)
        try:
            yield
        finally:
            enter(before)
    finally:
        os.close(before)


def enter(descriptor: int) -> None:
    """Move this thread into a network namespace."""
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")
