"""Errors as kubelet gets them: a code of the CNI specification and one line for the operator."""

from __future__ import annotations

from enum import IntEnum

from ipam.errors import VpcrouterError


class Code(IntEnum):
    """Error codes: below 100 those of the CNI specification 1.1.0, from 100 on our own."""

    VERSION = 1
    FIELD = 2
    CONTAINER = 3
    ENVIRONMENT = 4
    IO = 5
    DECODE = 6
    CONFIG = 7
    NAMESPACE = 8
    TRY_LATER = 11
    CANNOT_ADD = 50
    DATAPATH = 100
    DRIFT = 101
    EXISTS = 102


class CniError(VpcrouterError):
    """A request that cannot be carried out; nothing of it has been left behind."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
