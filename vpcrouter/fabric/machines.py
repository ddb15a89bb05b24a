"""The interfaces and instances of a VPC, as EC2's calls print them: of these there are many.

There are two readers. ``CarefulMachines`` goes object by object and says what is wrong with one;
``UsualMachines`` is for files in which all are as they should be, and takes a quarter of the time.
Both give the same values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from ipam.errors import BadInputError
from ipam.prefix import Family, canonical_address
from vpcrouter.fabric.port import InstanceState, NetworkInterface
from vpcrouter.jsonfile import JsonObject, UnlikeError, is_plain, parse_typed, printable

_SETTLED = (None, "", "attached", "detached")


class Machines(Protocol):
    """What was said about interfaces and instances."""

    def vpcs(self) -> set[str | None]:
        """The VPCs that any interface is in; None where one does not say."""
        ...

    def interfaces(self, vpc: str, subnets: Collection[str]) -> tuple[NetworkInterface, ...]:
        """Those of a VPC, or that name none, by id; each is in one of the subnets."""
        ...

    def instances(self) -> Mapping[str, InstanceState]:
        """The state of each instance."""
        ...

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """The tags of each instance that has any."""
        ...


# Object by object.


@dataclass(frozen=True, slots=True)
class CarefulMachines:
    """As ``file`` has them. All raise BadInputError."""

    file: JsonObject

    def vpcs(self) -> set[str | None]:
        """The VPCs that any interface is in."""
        return {o.optional_text("VpcId") for o in self.file.children("NetworkInterfaces")}

    def interfaces(self, vpc: str, subnets: Collection[str]) -> tuple[NetworkInterface, ...]:
        """Those of a VPC."""
        found: dict[str, NetworkInterface] = {}
        objects = self.file.children("NetworkInterfaces")
        for item in [o for o in objects if o.optional_text("VpcId") in (vpc, None)]:
            interface = _interface(item)
            if interface.id in found:
                raise item.error(f"{interface.id} is there twice")
            if interface.subnet not in subnets:
                name = interface.subnet
                raise item.error(f"{interface.id} is in {name}, which is not in Subnets")
            found[interface.id] = interface
        return tuple([found[name] for name in sorted(found)])

    def instances(self) -> Mapping[str, InstanceState]:
        """The state of each instance."""
        instances: dict[str, InstanceState] = {}
        for reservation in self.file.children("Reservations"):
            for item in reservation.children("Instances"):
                state = item.child("State")
                name = state.text("Name") if state else "missing"
                try:
                    instances[item.text("InstanceId")] = InstanceState(name)
                except ValueError as error:
                    known = ", ".join(InstanceState)
                    raise item.error(f"State is {name}: known are {known}") from error
        return instances

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """The tags of each instance that has any."""
        return {
            item.text("InstanceId"): {t.text("Key"): t.optional_text("Value") or "" for t in tags}
            for reservation in self.file.children("Reservations")
            for item in reservation.children("Instances")
            if (tags := item.children("Tags"))
        }


def _interface(item: JsonObject) -> NetworkInterface:
    attachment = item.child("Attachment")
    status = attachment.optional_text("Status") if attachment else None
    index = attachment.whole_number("DeviceIndex") if attachment else None
    return NetworkInterface(
        id=item.text("NetworkInterfaceId"),
        subnet=item.text("SubnetId"),
        addresses=_addresses(item),
        instance=attachment.optional_text("InstanceId") if attachment else None,
        device_index=index or 0,
        source_dest_check=item.flag("SourceDestCheck", absent=True),
        settled=status in _SETTLED,
    )


def _addresses(item: JsonObject) -> Mapping[Family, tuple[str, ...]]:
    texts = [item.optional_text("PrivateIpAddress")]
    texts += [o.optional_text("PrivateIpAddress") for o in item.children("PrivateIpAddresses")]
    texts += [o.optional_text("Ipv6Address") for o in item.children("Ipv6Addresses")]
    try:
        return _by_family(text for text in texts if text)
    except BadInputError as error:
        raise item.error(str(error)) from error


def _by_family(texts: Iterable[str]) -> Mapping[Family, tuple[str, ...]]:
    """Addresses in canonical text, each once, in their order. Raises BadInputError."""
    found: dict[Family, tuple[str, ...]] = {}
    for text in texts:
        family, address = canonical_address(text)
        before = found.get(family, ())
        if address not in before:
            found[family] = (*before, address)
    return found


# By types. A text that must be there may not be empty; elsewhere an empty one is as good as none.

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Attachment(msgspec.Struct, rename="pascal", gc=False):
    instance_id: str | None = None
    device_index: Annotated[int, msgspec.Meta(ge=0)] | None = None
    status: str | None = None


class _PrivateAddress(msgspec.Struct, rename="pascal", gc=False):
    private_ip_address: str | None = None


class _Ipv6Address(msgspec.Struct, rename="pascal", gc=False):
    ipv6_address: str | None = None


class _Interface(msgspec.Struct, rename="pascal", gc=False):
    network_interface_id: _Text
    subnet_id: _Text
    vpc_id: str | None = None
    attachment: _Attachment | None = None
    private_ip_address: str | None = None
    private_ip_addresses: list[_PrivateAddress] | None = None
    ipv6_addresses: list[_Ipv6Address] | None = None
    source_dest_check: bool | None = None


class _State(msgspec.Struct, rename="pascal", gc=False):
    name: InstanceState


class _Tag(msgspec.Struct, rename="pascal", gc=False):
    key: _Text
    value: str | None = None


class _Instance(msgspec.Struct, rename="pascal", gc=False):
    instance_id: _Text
    state: _State
    tags: list[_Tag] | None = None


class _Reservation(msgspec.Struct, rename="pascal", gc=False):
    instances: list[_Instance] | None = None


class _Described(msgspec.Struct, rename="pascal", gc=False):
    network_interfaces: list[_Interface] | None = None
    reservations: list[_Reservation] | None = None
    vpcs: Any = None
    subnets: Any = None
    route_tables: Any = None
    prefix_lists: Any = None
    quotas: Any = None
    next_token: Any = None
    next_token_of_ec2: Any = msgspec.field(default=None, name="nextToken")


_DESCRIBED = msgspec.json.Decoder(_Described)
_NO_ATTACHMENT = _Attachment()


@dataclass(frozen=True, slots=True)
class UsualMachines:
    """As they were decoded by their types, all texts printable. All raise UnlikeError."""

    described: _Described

    def vpcs(self) -> set[str | None]:
        """The VPCs that any interface is in."""
        return {i.vpc_id or None for i in self._interfaces}

    def interfaces(self, vpc: str, subnets: Collection[str]) -> tuple[NetworkInterface, ...]:
        """Those of a VPC."""
        mine = [i for i in self._interfaces if not i.vpc_id or i.vpc_id == vpc]
        found = sorted(map(_usual_interface, mine), key=attrgetter("id"))
        twice = any(one.id == other.id for one, other in pairwise(found))
        if twice or not {item.subnet_id for item in mine} <= set(subnets):
            raise UnlikeError
        return tuple(found)

    def instances(self) -> Mapping[str, InstanceState]:
        """The state of each instance."""
        return {item.instance_id: item.state.name for item in self._instances()}

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """The tags of each instance that has any."""
        return {
            item.instance_id: {t.key: t.value or "" for t in item.tags}
            for item in self._instances()
            if item.tags
        }

    @property
    def _interfaces(self) -> list[_Interface]:
        return self.described.network_interfaces or []

    def _instances(self) -> list[_Instance]:
        reservations = self.described.reservations or ()
        return [item for reservation in reservations for item in reservation.instances or ()]


def usual_machines(path: Path, content: bytes) -> tuple[JsonObject, UsualMachines]:
    """A file without its interfaces and instances, and those. Raises UnlikeError."""
    described = parse_typed(_DESCRIBED, content)
    if not is_plain(content):
        _check_printable(described)
    rest: dict[str, object] = {
        "Vpcs": described.vpcs,
        "Subnets": described.subnets,
        "RouteTables": described.route_tables,
        "PrefixLists": described.prefix_lists,
        "Quotas": described.quotas,
        "NextToken": described.next_token,
        "nextToken": described.next_token_of_ec2,
    }
    return JsonObject(path, "", rest), UsualMachines(described)


def _check_printable(described: _Described) -> None:
    for item in described.network_interfaces or ():
        attachment = item.attachment or _NO_ATTACHMENT
        texts = [item.network_interface_id, item.subnet_id, item.vpc_id]
        texts += (attachment.instance_id, attachment.status)
        printable("".join(filter(None, (*texts, *_texts_of_addresses(item)))))
    for reservation in described.reservations or ():
        for instance in reservation.instances or ():
            pairs = [(tag.key, tag.value) for tag in instance.tags or ()]
            texts = [instance.instance_id, *chain.from_iterable(pairs)]
            printable("".join(filter(None, texts)))


def _usual_interface(item: _Interface) -> NetworkInterface:
    attachment = item.attachment or _NO_ATTACHMENT
    return NetworkInterface(
        id=item.network_interface_id,
        subnet=item.subnet_id,
        addresses=_usual_addresses(item),
        instance=attachment.instance_id or None,
        device_index=attachment.device_index or 0,
        source_dest_check=item.source_dest_check is not False,
        settled=attachment.status in _SETTLED,
    )


def _usual_addresses(item: _Interface) -> Mapping[Family, tuple[str, ...]]:
    try:
        return _by_family([text for text in _texts_of_addresses(item) if text])
    except BadInputError as error:
        raise UnlikeError from error


def _texts_of_addresses(item: _Interface) -> list[str | None]:
    texts = [item.private_ip_address]
    if item.private_ip_addresses:
        texts += [other.private_ip_address for other in item.private_ip_addresses]
    if item.ipv6_addresses:
        texts += [other.ipv6_address for other in item.ipv6_addresses]
    return texts
