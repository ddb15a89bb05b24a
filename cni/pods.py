"""Requests of runtimes carried out on this node: addresses and links together, or neither."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from cni.addresses import AddressFile
from cni.datapath import GATEWAYS, HOST_MAC, Datapath, Wiring
from cni.endpoints import Endpoint
from cni.errors import CniError, Code
from cni.inspection import faults, pod_links
from cni.ipvlan import WAY_IN, Ipvlan
from cni.protocol import (
    Attachment,
    Command,
    Mode,
    Request,
    answer_version,
    dump_error,
    dump_versions,
    parse_request,
)
from cni.results import Address, Interface, Result, Route, dump
from cni.turns import Turns
from cni.values import wrong
from ipam.errors import ExhaustedError, UnavailableError, VpcrouterError
from ipam.prefix import Family, Prefix, format_address

_ATTEMPTED_GC = "%d of the attachments to remove are still there: %s"


class Pods:
    """The pods of this node, as one thread sees them.

    Threads share ``addresses`` and ``turns``, by which requests for one attachment wait for each
    other. ``ipvlan`` links pods of that mode, ``datapath`` all others. ``mtu`` is that of the
    uplink, in bytes.
    """

    def __init__(
        self,
        addresses: AddressFile,
        datapath: Datapath,
        ipvlan: Ipvlan,
        turns: Turns[Attachment],
        mtu: int,
    ) -> None:
        self._addresses = addresses
        self._datapath = datapath
        self._ipvlan = ipvlan
        self._turns = turns
        self._mtu = mtu

    def answer(self, environment: Mapping[str, str], stdin: bytes) -> tuple[int, bytes]:
        """Exit status and standard output for a request, whatever it holds."""
        try:
            fields = self._carry_out(parse_request(environment, stdin))
        except VpcrouterError as error:
            version = answer_version(stdin)
            return 1, _encoded(dump_error(_code(error), str(error), version))
        return 0, _encoded(fields) if fields is not None else b""

    def _carry_out(self, request: Request) -> dict[str, object] | None:
        match request.command, request.attachment:
            case Command.ADD, Attachment() as attachment:
                return dump(self._add(request, attachment), request.version)
            case Command.DEL, Attachment() as attachment:
                self._delete(attachment, request.netns)
            case Command.CHECK, Attachment() as attachment:
                with self._turns.of(attachment):
                    self._check(request, attachment)
            case Command.GC, _:
                self._collect(request)
            case Command.STATUS, _:
                self._status(request)
            case _:
                return dump_versions(request.version)
        return None

    def _add(self, request: Request, attachment: Attachment) -> Result:
        if request.mode is Mode.IPVLAN:
            self._ipvlan.demand()
            if request.mac is not None:
                raise wrong("runtimeConfig.mac", "leave it out: mode: ipvlan has the uplink's")
        with self._turns.of(attachment), ExitStack() as undo:
            endpoint = self._addresses.assign(
                *(attachment, request.network, request.mac or "", request.wanted),
                *(request.namespace, request.pod, request.mode),
            )
            undo.callback(self._addresses.release, attachment)
            wiring = self._wiring(endpoint)
            if endpoint.mode is Mode.IPVLAN:
                self._ipvlan.attach(wiring, request.netns)
            else:
                self._datapath.attach(wiring, request.netns)
            undo.pop_all()
        result = _result(endpoint, wiring, request)
        return result if request.previous is None else result.after(request.previous)

    def _delete(self, attachment: Attachment, netns: str) -> None:
        """Traffic is cut before addresses begin to rest."""
        with self._turns.of(attachment):
            endpoint = self._addresses.find(attachment)
            if endpoint is not None:
                if endpoint.mode is Mode.IPVLAN:
                    self._ipvlan.cut(_plain(endpoint, self._mtu), netns)
                else:
                    self._datapath.cut(self._wiring(endpoint))
                self._addresses.release(attachment)

    def _check(self, request: Request, attachment: Attachment) -> None:
        endpoint = self._addresses.find(attachment)
        if endpoint is None:
            raise CniError(Code.DRIFT, f"{attachment} has no addresses here: start the pod anew")
        said = {(a.family, a.value) for a in request.previous.addresses} if request.previous else ()
        for family, value in endpoint.addresses:
            if (family, value) not in said:
                text = format_address(family, value)
                raise CniError(Code.DRIFT, f"{attachment} has {text}, which prevResult lacks")
        wiring = self._wiring(endpoint)
        if endpoint.mode is Mode.IPVLAN:
            wiring = replace(wiring, link=WAY_IN)
        found = faults(wiring, request.netns)
        if found:
            raise CniError(Code.DRIFT, f"{attachment}: {'; '.join(found)}: start the pod anew")

    def _collect(self, request: Request) -> None:
        """Remove what is not to be kept, all that can be; then say what could not."""
        problems = []
        for endpoint in self._addresses.endpoints():
            if endpoint.network != request.network or endpoint.attachment in request.valid:
                continue
            try:
                self._delete(endpoint.attachment, "")
            except VpcrouterError as error:
                problems.append(str(error))
        self.remove_left_over()
        if problems:
            raise CniError(Code.DATAPATH, _ATTEMPTED_GC % (len(problems), "; ".join(problems)))

    def remove_left_over(self) -> None:
        """Remove links of ours that belong to no endpoint: a crash may leave one."""
        present = pod_links()
        for link in present.keys() - {e.link for e in self._addresses.endpoints()}:
            self._datapath.detach(link)

    def release_lost(self, endpoint: Endpoint) -> bool:
        """Take back the addresses of an endpoint whose link is gone; False if it is there."""
        with self._turns.of(endpoint.attachment):
            if self._datapath.exists(endpoint.link):
                return False
            if self._addresses.find(endpoint.attachment) != endpoint:
                return False
            self._addresses.release(endpoint.attachment)
            return True

    def mend(self, endpoint: Endpoint) -> None:
        """Give a pod what it has lost on the host, if it is still there."""
        with self._turns.of(endpoint.attachment):
            if self._addresses.find(endpoint.attachment) == endpoint:
                if endpoint.mode is Mode.IPVLAN:
                    self._ipvlan.mend(self._wiring(endpoint))
                else:
                    self._datapath.mend(self._wiring(endpoint))

    def _status(self, request: Request) -> None:
        if request.mode is Mode.IPVLAN:
            try:
                self._ipvlan.demand()
            except CniError as error:
                raise CniError(Code.CANNOT_ADD, str(error)) from error
        free = self._addresses.free()
        if not free:
            raise CniError(Code.CANNOT_ADD, "this node has no blocks yet: run vpcrouter apply")
        for family, count in free.items():
            if not count:
                raise CniError(
                    Code.CANNOT_ADD, f"no {family} address is left: give this node another block"
                )

    def _wiring(self, endpoint: Endpoint) -> Wiring:
        wiring = _plain(endpoint, self._mtu)
        if endpoint.mode is Mode.IPVLAN:
            return replace(wiring, mac=self._ipvlan.mac())
        return wiring


def _plain(endpoint: Endpoint, mtu: int) -> Wiring:
    return Wiring(
        endpoint.link,
        endpoint.attachment.ifname,
        endpoint.mac,
        mtu,
        endpoint.addresses,
    )


def _result(endpoint: Endpoint, wiring: Wiring, request: Request) -> Result:
    """In mode ipvlan there is no link on the host and no gateway."""
    host: tuple[Interface, ...] = (Interface(wiring.link, HOST_MAC, mtu=wiring.mtu),)
    gateways: Mapping[Family, int] = GATEWAYS
    if endpoint.mode is Mode.IPVLAN:
        host, gateways = (), {}
    inside = Interface(wiring.ifname, wiring.mac, request.netns, wiring.mtu)
    addresses = tuple(
        Address(family, value, family.width, gateways.get(family), len(host))
        for family, value in endpoint.addresses
    )
    routes = tuple(
        Route(Prefix(family, 0, 0), gateways.get(family)) for family, _ in endpoint.addresses
    )
    return Result((*host, inside), addresses, routes, request.dns)


def _code(error: VpcrouterError) -> Code:
    if isinstance(error, CniError):
        return error.code
    if isinstance(error, ExhaustedError):
        return Code.TRY_LATER
    return Code.IO if isinstance(error, UnavailableError) else Code.DATAPATH


def _encoded(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"
