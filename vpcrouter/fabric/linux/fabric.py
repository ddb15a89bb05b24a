"""The fabric over a Linux router: each subnet's route table is a table of its kernel.

A node is a next hop by its address in the subnet, so the node list says who there is. Entries carry
a protocol number of ours; which of those belong to this cluster, the recorded intents say. The
kernel has no limit for a table: it is kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ipam.prefix import Family, Prefix
from vpcrouter.fabric.codes import Call, Code, Ec2Error, fabric_error
from vpcrouter.fabric.guard import is_done
from vpcrouter.fabric.linux.kernel import Hop, Kernel, KernelLink, KernelRoute
from vpcrouter.fabric.linux.rows import (
    Cidrs,
    missing_rules,
    names_by_address,
    of_table,
    overridden,
    row,
    subnet_cidrs,
)
from vpcrouter.fabric.linux.settings import RouterSettings
from vpcrouter.fabric.port import NetworkInterface, Observation, Table, VpcSubnet
from vpcrouter.model import Action, Step

Interfaces = Callable[[Cidrs], Sequence[NetworkInterface]]
"""Who can be a next hop, given the subnets."""

_CALLS = {Action.CREATE: Call.CREATE, Action.REPLACE: Call.REPLACE, Action.DELETE: Call.DELETE}


class LinuxFabric:
    """One router. Not for several threads."""

    def __init__(self, settings: RouterSettings, interfaces: Interfaces) -> None:
        self._settings = settings
        self._interfaces = interfaces
        self._kernel = Kernel(settings.namespace)
        self._known: tuple[NetworkInterface, ...] = ()

    def read(self) -> Observation:
        """What the kernel has, and who can be a next hop."""
        subnets = self._settings.subnets
        cidrs = subnet_cidrs(subnets, self._kernel.links())
        interfaces = self._known = tuple(self._interfaces(cidrs))
        names = names_by_address(interfaces)
        routes = self._kernel.routes()
        rules = {family: self._kernel.rules(family) for family in Family}
        tables = sorted({(subnet.table, subnet.number) for subnet in subnets})
        return Observation(
            vpc=self._settings.name,
            local=self._local(cidrs),
            subnets=tuple(VpcSubnet(s.id, s.zone, cidrs[s.id], s.table) for s in subnets),
            tables=tuple(
                Table(table, tuple(row(route, names) for route in of_table(routes, number)))
                for table, number in tables
            ),
            interfaces=interfaces,
            instances={},
            quota=dict.fromkeys(Family, self._settings.limit),
            warnings=(*missing_rules(rules, subnets, cidrs), *overridden(routes, subnets)),
            quota_source="from the cluster file",
        )

    def apply(self, table: str, step: Step) -> None:
        """Make one change."""
        try:
            self._apply(table, step)
        except Ec2Error as error:
            place = f"{table} {step.destination}"
            raise fabric_error(_CALLS[step.action], place, error) from error

    def set_source_dest_check(self, interface: str, *, on: bool) -> None:
        """Nothing to do: a Linux router knows no such check, and refuses to switch one on."""
        cidrs = subnet_cidrs(self._settings.subnets, self._kernel.links())
        try:
            if interface not in {found.id for found in self._interfaces_for(interface, cidrs)}:
                raise _no_interface(interface)
            if on:
                text = "a Linux router has no source/destination check"
                raise Ec2Error(Code.INVALID_PARAMETER, text)
        except Ec2Error as error:
            raise fabric_error(Call.MODIFY_INTERFACE, interface, error) from error

    def _apply(self, table: str, step: Step) -> None:
        number = self._number(table)
        links = self._kernel.links()
        cidrs = subnet_cidrs(self._settings.subnets, links)
        interfaces = self._interfaces_for(step.interface, cidrs)
        routes = of_table(self._kernel.routes(number), number)
        there = next((route for route in routes if route.destination == step.destination), None)
        names = names_by_address(interfaces)
        if is_done(table, step, None if there is None else row(there, names)):
            return
        if step.action is Action.CREATE:
            hop = self._hop(step, interfaces, links)
            self._check_destination(step.destination, cidrs)
            self._check_room(table, routes, step.destination, there)
            self._kernel.create(number, step.destination, hop)
        elif step.action is Action.REPLACE:
            hop = self._hop(step, interfaces, links)
            if there is None:
                text = f"no route defined for {step.destination}"
                raise Ec2Error(Code.INVALID_PARAMETER, text)
            self._kernel.replace(number, step.destination, hop)
        elif there is None:
            raise Ec2Error(Code.ROUTE_NOT_FOUND, f"{step.destination} has no route")
        else:
            self._kernel.delete(number, step.destination, there.target)

    def _interfaces_for(self, wanted: str | None, cidrs: Cidrs) -> tuple[NetworkInterface, ...]:
        """Those of the last read; looked up anew only where a wanted one is not among them.

        The list of nodes is long, and every step needs it.
        """
        known = {interface.id for interface in self._known}
        if not known or (wanted is not None and wanted not in known):
            self._known = tuple(self._interfaces(cidrs))
        return self._known

    # The checks, by the codes that EC2 has for them.

    def _number(self, table: str) -> int:
        for subnet in self._settings.subnets:
            if subnet.table == table:
                return subnet.number
        raise Ec2Error(Code.TABLE_NOT_FOUND, "no subnet of the cluster file uses this table")

    def _hop(
        self, step: Step, interfaces: Sequence[NetworkInterface], links: Mapping[str, KernelLink]
    ) -> Hop:
        found = next((one for one in interfaces if one.id == step.interface), None)
        if found is None:
            raise _no_interface(str(step.interface))
        family = step.destination.family
        addresses = found.addresses.get(family, ())
        if not addresses:
            raise Ec2Error(Code.INVALID_PARAMETER, f"{found.id} has no {family} address")
        towards = next(s.interface for s in self._settings.subnets if s.id == found.subnet)
        return Hop(addresses[0], links[towards].index)

    def _check_destination(self, destination: Prefix, cidrs: Cidrs) -> None:
        if destination.value & (destination.size - 1):
            raise Ec2Error(Code.INVALID_PARAMETER, f"{destination} has host bits set")
        own = {prefix for prefixes in cidrs.values() for prefix in prefixes}
        for local in self._local(cidrs):
            if local.contains(destination) and local != destination and destination not in own:
                raise Ec2Error(
                    Code.INVALID_PARAMETER,
                    f"{destination} is more specific than {local}, where the machines are",
                )

    def _check_room(
        self,
        table: str,
        routes: Sequence[KernelRoute],
        destination: Prefix,
        there: KernelRoute | None,
    ) -> None:
        if there is not None:
            raise Ec2Error(Code.ROUTE_EXISTS, f"{destination} has a route already")
        taken = sum(route.destination.family is destination.family for route in routes)
        if taken >= self._settings.limit:
            raise Ec2Error(
                Code.ROUTE_LIMIT,
                f"{table} holds {taken} routes of {self._settings.limit} for {destination.family}",
            )

    def _local(self, cidrs: Cidrs) -> tuple[Prefix, ...]:
        if self._settings.local:
            return self._settings.local
        return tuple(sorted({prefix for prefixes in cidrs.values() for prefix in prefixes}))


def _no_interface(name: str) -> Ec2Error:
    return Ec2Error(Code.INTERFACE_NOT_FOUND, f"no node has the address {name}")
