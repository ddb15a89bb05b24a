"""The fabric behind which a simulated VPC stands."""

from __future__ import annotations

from typing import Protocol

from vpcrouter.fabric.codes import Call, Ec2Error, fabric_error
from vpcrouter.fabric.guard import is_done
from vpcrouter.fabric.port import Observation
from vpcrouter.fabric.simulated_vpc import SimulatedVpc
from vpcrouter.model import Action, Step

_CALLS = {Action.CREATE: Call.CREATE, Action.REPLACE: Call.REPLACE, Action.DELETE: Call.DELETE}


class Faults(Protocol):
    """What goes wrong on the way: each method may raise what the caller is to see."""

    def before_read(self) -> None:
        """A read is about to be made."""
        ...

    def before(self, table: str, step: Step) -> None:
        """A change is about to be sent: raising means that it never arrives."""
        ...

    def after(self, table: str, step: Step) -> None:
        """A change has been made: raising means that its answer is lost."""
        ...


class NoFaults:
    """Nothing goes wrong."""

    def before_read(self) -> None:
        """Nothing."""

    def before(self, table: str, step: Step) -> None:
        """Nothing."""

    def after(self, table: str, step: Step) -> None:
        """Nothing."""


class SimulatedFabric:
    """The port over a simulated VPC; ``faults`` come in between."""

    def __init__(self, vpc: SimulatedVpc, faults: Faults) -> None:
        self._vpc = vpc
        self._faults = faults

    def read(self) -> Observation:
        """What is there, perhaps some time ago."""
        self._faults.before_read()
        return self._vpc.describe()

    def apply(self, table: str, step: Step) -> None:
        """Make one change."""
        self._faults.before(table, step)
        if not is_done(table, step, self._vpc.row(table, step.destination)):
            self._send(table, step)
        self._faults.after(table, step)

    def set_source_dest_check(self, interface: str, *, on: bool) -> None:
        """Switch the check of an interface."""
        try:
            self._vpc.modify_source_dest_check(interface, on=on)
        except Ec2Error as error:
            raise fabric_error(Call.MODIFY_INTERFACE, interface, error) from error

    def _send(self, table: str, step: Step) -> None:
        cidr = str(step.destination)
        call = _CALLS[step.action]
        try:
            if step.action is Action.DELETE:
                self._vpc.delete_route(table, cidr)
            elif step.action is Action.REPLACE:
                self._vpc.replace_route(table, cidr, step.interface or "")
            else:
                self._vpc.create_route(table, cidr, step.interface or "")
        except Ec2Error as error:
            raise fabric_error(call, f"{table} {cidr}", error) from error
