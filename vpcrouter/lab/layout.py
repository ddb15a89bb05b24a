"""What a lab consists of, by name, before any of it is made. Pure.

Zones are named a, b and so on, nodes a1, a2, pods a1-p1. Each zone is one subnet, with a bridge and
a route table of the router.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, format_address

MACHINES = {Family.IPV4: Prefix.parse("10.77.0.0/16"), Family.IPV6: Prefix.parse("fd77::/48")}
PODS = {Family.IPV4: Prefix.parse("100.64.0.0/14"), Family.IPV6: Prefix.parse("fd64::/48")}
BLOCKS = {Family.IPV4: 26, Family.IPV6: 80}
NODES = {Family.IPV4: 24, Family.IPV6: 64}
"""Prefix lengths of blocks and of node prefixes, as in the cluster file."""

ROUTER = "router"
_ZONES = "abcdefghijklmnopqrstuvwxyz"
_MOST_NODES = 200
_MOST_PODS = 100
_FIRST_NODE = 10
_FIRST_TABLE = 101


@dataclass(frozen=True, slots=True)
class Size:
    """How large a lab is: nodes of each zone, pods of each node, and what a table takes."""

    zones: int
    nodes: int
    pods: int
    quota: int
    families: tuple[Family, ...] = (Family.IPV4,)

    def __post_init__(self) -> None:
        for what, value, most in (
            ("zones", self.zones, len(_ZONES)),
            ("nodes", self.nodes, _MOST_NODES),
            ("pods", self.pods, _MOST_PODS),
        ):
            if not 1 <= value <= most:
                raise BadInputError(f"--{what} {value}: a lab has 1 to {most}")


@dataclass(frozen=True, slots=True, order=True)
class Zone:
    """A zone by its position."""

    position: int

    @property
    def name(self) -> str:
        """Its letter; also the id of its subnet."""
        return _ZONES[self.position]

    @property
    def bridge(self) -> str:
        """The router's interface in it."""
        return f"br-{self.name}"

    @property
    def table(self) -> int:
        """The number of its route table."""
        return _FIRST_TABLE + self.position

    @property
    def gateway_mac(self) -> str:
        """The hardware address of the router in it."""
        return f"02:00:77:01:{self.position:02x}:00"

    def prefix(self, family: Family) -> Prefix:
        """The addresses of its machines."""
        if family is Family.IPV4:
            return Prefix(family, MACHINES[family].value + (self.position << 8), 24)
        return Prefix(family, MACHINES[family].value + (self.position << 64), 64)

    def gateway(self, family: Family) -> str:
        """The router's address in it."""
        return format_address(family, self.prefix(family).value + 1)


@dataclass(frozen=True, slots=True, order=True)
class Machine:
    """A node by its zone and its number there, from 1 on."""

    zone: Zone
    number: int

    @property
    def name(self) -> str:
        """Also the name of the router's port that it hangs on."""
        return f"{self.zone.name}{self.number}"

    @property
    def uid(self) -> str:
        """What tells it from another machine of its name."""
        return f"uid-{self.name}"

    @property
    def mac(self) -> str:
        """The hardware address of its uplink: the same after it was started anew."""
        return f"02:00:77:00:{self.zone.position:02x}:{self.number:02x}"

    def address(self, family: Family) -> str:
        """Its address on the uplink."""
        return format_address(family, self.zone.prefix(family).value + _FIRST_NODE + self.number)


@dataclass(frozen=True, slots=True, order=True)
class Pod:
    """A pod by its node and its number there, from 1 on."""

    machine: Machine
    number: int

    @property
    def name(self) -> str:
        """Also its container's id."""
        return f"{self.machine.name}-p{self.number}"


@dataclass(frozen=True, slots=True)
class Layout:
    """All parts of a lab of one size."""

    size: Size

    @property
    def zones(self) -> tuple[Zone, ...]:
        """In order."""
        return tuple(map(Zone, range(self.size.zones)))

    @property
    def machines(self) -> tuple[Machine, ...]:
        """In order of zones."""
        return tuple(
            Machine(zone, number) for zone in self.zones for number in range(1, self.size.nodes + 1)
        )

    @property
    def pods(self) -> tuple[Pod, ...]:
        """In order of machines."""
        return tuple(pod for machine in self.machines for pod in self.pods_of(machine))

    def pods_of(self, machine: Machine) -> tuple[Pod, ...]:
        """The pods of one node."""
        return tuple(Pod(machine, number) for number in range(1, self.size.pods + 1))

    def spaces(self) -> Iterator[str]:
        """The names of all network namespaces."""
        yield ROUTER
        yield from (machine.name for machine in self.machines)
        yield from (pod.name for pod in self.pods)

    def machine(self, name: str) -> Machine:
        """The node of a name. Raises BadInputError where there is none."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        last = self.machines[-1].name
        raise BadInputError(f"the lab has no node {name!r}: its nodes are a1 to {last}")

    def pod(self, name: str) -> Pod:
        """The pod of a name. Raises BadInputError where there is none."""
        for pod in self.pods:
            if pod.name == name:
                return pod
        last = self.pods[-1].name
        raise BadInputError(f"the lab has no pod {name!r}: its pods are a1-p1 to {last}")
