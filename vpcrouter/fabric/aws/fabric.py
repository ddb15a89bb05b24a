"""The fabric over EC2: reads by discovery, changes one row at a time, and only ours to change.

A call whose answer is lost is looked up: what shows has happened; what does not show proves
nothing, since reads lag, and is reported as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ipam.prefix import Family
from vpcrouter.fabric.aws.asking import unassumed
from vpcrouter.fabric.aws.clients import CREDENTIALS, Clients, connect, translated
from vpcrouter.fabric.aws.discovery import Discovery
from vpcrouter.fabric.aws.errors import LostAnswerError, NotSentError, RoleError
from vpcrouter.fabric.aws.events import QueueEvents
from vpcrouter.fabric.aws.quota import Quota
from vpcrouter.fabric.aws.rows import Rows
from vpcrouter.fabric.aws.settings import AwsSource
from vpcrouter.fabric.codes import Call, Ec2Error, fabric_error
from vpcrouter.fabric.guard import is_done
from vpcrouter.fabric.port import (
    Clock,
    Events,
    FabricUnavailableError,
    Heard,
    Observation,
    OutdatedError,
    Table,
    UnknownOutcomeError,
)
from vpcrouter.model import Action, Step

_CALLS = {Action.CREATE: Call.CREATE, Action.REPLACE: Call.REPLACE, Action.DELETE: Call.DELETE}
_CIDR = {Family.IPV4: "DestinationCidrBlock", Family.IPV6: "DestinationIpv6CidrBlock"}


_WOULD_SUCCEED = "DryRunOperation"
_NOWHERE = "198.51.100.0/24"
"""For documentation (RFC 5737): nobody routes it."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a call on a resource would be allowed; ``problem`` is empty where it would."""

    action: str
    resource: str
    problem: str


class AwsFabric:
    """One VPC of one region. Several threads may make changes, each in tables of its own."""

    def __init__(
        self,
        clients: Clients,
        vpc: str,
        quota: int | None,
        clock: Clock,
        queue: str | None = None,
    ) -> None:
        self._clients = clients
        self._queue = queue
        self._clock = clock
        self._rows = Rows(clock)
        self.discovery = Discovery(clients, vpc, quota, clock)

    def read(self) -> Observation:
        """What is there, as EC2 shows it."""
        seen = self.discovery.observe()
        for table in seen.tables:
            self._rows.look(table)
        return seen

    def expect(self, instances: Collection[str]) -> None:
        """Let the next read know of these instances, if they are there."""
        self.discovery.expect(instances)

    def hear(self, heard: Heard) -> None:
        """Let reads know of it, until one was made since."""
        self.discovery.hear(heard)

    def listen(self) -> Events | None:
        """Begin to take events out of the queue, if one was given."""
        if self._queue is None:
            return None
        return QueueEvents(self._clients.sqs(), self._queue, self._clock)

    def quota(self) -> Quota:
        """What a table takes, and how that is known."""
        return self.discovery.quota()

    def apply(self, table: str, step: Step) -> None:
        """Make one change."""
        if step.action is not Action.CREATE and self._is_done(table, step):
            return
        call = _CALLS[step.action]
        place = f"{table} {step.destination}"
        try:
            self._send(call, place, lambda: self._call(call, table, step))
        except OutdatedError:
            self._rows.forget(table)
            raise
        except UnknownOutcomeError:
            self._rows.forget(table)
            if not self._shows(table, step):
                raise
        self._rows.note(table, step.destination, step.previous_interface, step.interface)

    def permissions(self, tables: Sequence[str], interface: str) -> Iterator[Permission]:
        """Whether each call that changes something would be allowed; changes nothing (DryRun)."""
        ec2 = self._clients.ec2
        for table in tables:
            for call, method in (
                (Call.CREATE, ec2.create_route),
                (Call.REPLACE, ec2.replace_route),
            ):
                ask = partial(
                    method,
                    RouteTableId=table,
                    DestinationCidrBlock=_NOWHERE,
                    NetworkInterfaceId=interface,
                    DryRun=True,
                )
                yield self._permission(call, table, ask)
            delete = partial(
                ec2.delete_route, RouteTableId=table, DestinationCidrBlock=_NOWHERE, DryRun=True
            )
            yield self._permission(Call.DELETE, table, delete)
        modify = partial(
            ec2.modify_network_interface_attribute,
            NetworkInterfaceId=interface,
            SourceDestCheck={"Value": False},
            DryRun=True,
        )
        yield self._permission(Call.MODIFY_INTERFACE, interface, modify)

    def _permission(self, call: Call, resource: str, ask: Callable[[], object]) -> Permission:
        action = f"ec2:{call}"
        try:
            with translated():
                ask()
        except RoleError as error:
            raise unassumed(self.discovery.place, error) from error
        except Ec2Error as error:
            if error.code == _WOULD_SUCCEED:
                return Permission(action, resource, "")
            return Permission(action, resource, f"{error.message} ({error.code})")
        except (NotSentError, LostAnswerError) as error:
            raise FabricUnavailableError("", f"{action}: {error}: check network") from error
        return Permission(action, resource, "AWS has not treated it as a question")

    def set_source_dest_check(self, interface: str, *, on: bool) -> None:
        """Switch the check of an interface. Repeating it does no harm."""
        ec2 = self._clients.ec2
        self._send(
            Call.MODIFY_INTERFACE,
            interface,
            lambda: ec2.modify_network_interface_attribute(
                NetworkInterfaceId=interface, SourceDestCheck={"Value": on}
            ),
        )
        self.discovery.changed("NetworkInterfaces")

    def _is_done(self, table: str, step: Step) -> bool:
        if not self._rows.is_fresh(table):
            self._look(table)
        return is_done(table, step, self._rows.get(table, step.destination))

    def _look(self, table: str) -> None:
        self._rows.look(self.discovery.table(table) or Table(table, ()))

    def _shows(self, table: str, step: Step) -> bool:
        """Whether a change shows whose answer was lost. That a row does not show proves nothing."""
        if step.interface is None:
            return False
        try:
            self._look(table)
        except FabricUnavailableError:
            return False
        row = self._rows.get(table, step.destination)
        return row is not None and row.to_interface and row.target == step.interface

    def _call(self, call: Call, table: str, step: Step) -> object:
        ec2 = self._clients.ec2
        methods: dict[Call, Callable[..., object]] = {
            Call.CREATE: ec2.create_route,
            Call.REPLACE: ec2.replace_route,
            Call.DELETE: ec2.delete_route,
        }
        target = {} if step.interface is None else {"NetworkInterfaceId": step.interface}
        destination = {_CIDR[step.destination.family]: str(step.destination)}
        return methods[call](RouteTableId=table, **destination, **target)

    def _send(self, call: Call, place: str, send: Callable[[], object]) -> None:
        """Send one call that changes something. Raises a FabricError."""
        try:
            with translated():
                send()
        except RoleError as error:
            raise unassumed(place, error) from error
        except Ec2Error as error:
            if error.code in CREDENTIALS:
                text = f"{place}: {call} refused: {error.message}: check credentials and region"
                raise FabricUnavailableError(error.code, text) from error
            raise fabric_error(call, place, error) from error
        except NotSentError as error:
            text = f"{place}: {call} not sent: {error}: check network and credentials"
            raise FabricUnavailableError("", text) from error
        except LostAnswerError as error:
            text = f"{place}: {call} may have happened: {error}"
            raise UnknownOutcomeError("", text) from error


def open_aws(source: AwsSource, quota: int | None, clock: Clock) -> AwsFabric:
    """The fabric of a VPC. Raises BadInputError where a setting is none."""
    clients = connect(source.region, source.endpoint, source.role)
    return AwsFabric(clients, source.vpc, quota, clock, source.queue)
