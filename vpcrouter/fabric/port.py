"""The port to a VPC: what is there (Observation), and one change at a time (apply).

Everything that comes from a cloud is turned into these values at the edge; nothing behind this
port shows through it. Errors are classed by what the caller does about them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from msgspec import Struct

from ipam.errors import UnavailableError, VpcrouterError
from ipam.prefix import Family, Prefix
from vpcrouter.model import Step


class Origin(StrEnum):
    """Where a row of a route table comes from."""

    LOCAL = "local"  # the VPC's own: made with the table, cannot be removed
    STATIC = "static"  # made by a call, ours or somebody else's
    PROPAGATED = "propagated"  # by a virtual private gateway: has a quota of its own


class RowState(StrEnum):
    """Whether the next hop of a row is there. A hung instance is active."""

    ACTIVE = "active"
    BLACKHOLE = "blackhole"


@dataclass(frozen=True, slots=True)
class PrefixList:
    """A destination that stands for several prefixes of one family.

    ``weight`` is the number of entries it counts for; ``prefixes`` its contents as far as known.
    """

    id: str
    name: str
    family: Family
    weight: int
    prefixes: tuple[Prefix, ...] = ()

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a route table, whoever made it.

    ``target`` is the id of its next hop (an interface, a gateway, ``local``); ``to_interface``
    says that this is a network interface.
    """

    destination: Prefix | PrefixList
    target: str
    to_interface: bool
    origin: Origin = Origin.STATIC
    state: RowState = RowState.ACTIVE

    @property
    def family(self) -> Family:
        """The family whose quota it counts against."""
        return self.destination.family

    @property
    def weight(self) -> int:
        """How many entries of the quota it takes: local ones count, propagated ones do not."""
        if self.origin is Origin.PROPAGATED:
            return 0
        return self.destination.weight if isinstance(self.destination, PrefixList) else 1


@dataclass(frozen=True, slots=True)
class Table:
    """A route table with all its rows."""

    id: str
    rows: tuple[Row, ...]

    def counted(self, family: Family) -> int:
        """How many entries of its quota are taken."""
        return sum(row.weight for row in self.rows if row.family is family)


@dataclass(frozen=True, slots=True)
class VpcSubnet:
    """A subnet of the VPC; ``table`` is the one it uses, also where only the main one is left."""

    id: str
    zone: str
    cidrs: tuple[Prefix, ...]
    table: str


class NetworkInterface(Struct, frozen=True, gc=False):
    """A network interface; ``addresses`` of each family with the primary one first.

    ``instance`` is what it is attached to (None: nothing), ``device_index`` 0 for the primary
    interface. ``settled`` is False while it is being attached or detached.
    """

    id: str
    subnet: str
    addresses: Mapping[Family, tuple[str, ...]]
    instance: str | None
    device_index: int
    source_dest_check: bool
    settled: bool = True


class InstanceState(StrEnum):
    """What the cloud says about an instance; the values are EC2's."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"

    @property
    def is_gone(self) -> bool:
        """Whether it will never run again."""
        return self in (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)


@dataclass(frozen=True, slots=True)
class Observation:
    """A VPC as it was read once; may lag behind what was changed.

    ``local`` are its own CIDRs, ``quota`` the entries that each table takes per family.
    ``instances`` has only those that were reported. ``warnings`` say what had to be assumed,
    ``quota_source`` where the quota is from ("applied to the account"). ``leaving`` are instances
    that the cloud is about to take away; ``tags`` are those of each instance that has any.
    """

    vpc: str
    local: tuple[Prefix, ...]
    subnets: tuple[VpcSubnet, ...]
    tables: tuple[Table, ...]
    interfaces: tuple[NetworkInterface, ...]
    instances: Mapping[str, InstanceState]
    quota: Mapping[Family, int]
    warnings: tuple[str, ...] = ()
    quota_source: str = ""
    leaving: frozenset[str] = frozenset()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Fabric(Protocol):
    """A VPC whose route tables can be read and changed, one entry per call."""

    def read(self) -> Observation:
        """What is there. May lag behind ``apply``: what is missing proves nothing.

        Raises UnavailableError or RetryLaterError.
        """
        ...

    def apply(self, table: str, step: Step) -> None:
        """Make one change; returns only once it is known to have happened.

        A replace or delete is made only where the row's next hop is the step's
        ``previous_interface`` (a replace whose row has the wanted next hop is done already);
        rows to anything but a network interface are never touched. Raises a FabricError.
        """
        ...

    def set_source_dest_check(self, interface: str, *, on: bool) -> None:
        """Let the cloud drop what is sent by or to others than this interface, or not.

        Returns only once it is known to have happened. Raises a FabricError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """An instance is in a state by now; None: the cloud is about to take it away."""

    instance: str
    state: InstanceState | None

    @property
    def is_failure(self) -> bool:
        """Whether it can no longer be used, or soon not any more."""
        return self.state not in (InstanceState.PENDING, InstanceState.RUNNING)


class Events(Protocol):
    """Hears of instances. ``problem`` says why it does not, where it does not."""

    problem: str

    def take(self) -> Sequence[Heard]:
        """What was heard since this was asked last."""
        ...

    def close(self) -> None:
        """Hear nothing more."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A fabric that may hear of what happens to instances before it reads it."""

    def listen(self) -> Events | None:
        """Begin to hear; None where nothing was given to hear from."""
        ...

    def hear(self, heard: Heard) -> None:
        """Let reads know, until one was made since."""
        ...


@runtime_checkable
class Expecting(Protocol):
    """A fabric that does not look at everything each time it is read."""

    def expect(self, instances: Collection[str]) -> None:
        """Let the next read know of these instances, if they are there.

        Raises UnavailableError.
        """
        ...


class Clock(Protocol):
    """Seconds of some timeline, and waiting on it."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed."""
        ...


class FabricError(VpcrouterError):
    """The root of what ``apply`` raises; ``code`` is the cloud's own name for it, if it has one."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})" if code else message)
        self.code = code


class RefusedError(FabricError):
    """Refused without effect and would be again: report this entry, go on with the others."""


class OutdatedError(RefusedError):
    """Refused without effect, since the table is not what was assumed: read and plan again."""


class FullError(RefusedError):
    """Refused without effect, since the table is at its quota: no creates until it shrinks."""


class TableGoneError(RefusedError):
    """Refused without effect, since there is no such table: leave this table out."""


class RetryLaterError(FabricError):
    """Refused without effect for now: repeat the call after ``after`` seconds."""

    def __init__(self, code: str, message: str, after: float) -> None:
        super().__init__(code, message)
        self.after = after


class ThrottledError(RetryLaterError):
    """Too many calls: repeat this one after ``after`` seconds, and send no other before."""


class FabricUnavailableError(FabricError, UnavailableError):
    """The cloud cannot be asked now; nothing was changed."""


class UnknownOutcomeError(FabricError):
    """The answer was lost: the change may have happened. Read before repeating it."""
