"""Looks after pods that run: mends what others broke, and frees what pods without a link had."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from cni.addresses import AddressFile
from cni.datapath import Datapath
from cni.endpoints import Endpoint
from cni.inspection import PodLink, host_addresses, pod_links, way_in
from cni.pods import Pods
from cni.protocol import Mode
from cni.reports import Load, loads
from ipam.errors import VpcrouterError
from ipam.prefix import Prefix, format_address

log = logging.getLogger(__name__)


class Caretaker:
    """For one thread of an agent."""

    def __init__(self, addresses: AddressFile, pods: Pods, datapath: Datapath) -> None:
        self._addresses = addresses
        self._pods = pods
        self._datapath = datapath
        self._seen: frozenset[str] = frozenset()

    def look(self) -> None:
        """Once over all pods. What cannot be mended is said, and tried again the next time.

        Only a link that this process has seen can be found missing: an agent that was started in
        another network namespace sees none of them, and must not take that for their end.
        Interfaces of mode ipvlan are never seen from the host, and so never found missing.
        """
        self.avoid_host()
        endpoints = self._addresses.endpoints()
        present = pod_links()
        routes = self._datapath.routes()
        for endpoint in endpoints:
            try:
                self._care(endpoint, present, routes)
            except VpcrouterError as error:
                log.warning("%s: %s", endpoint.attachment, error)
        self._seen = frozenset(present)

    def avoid_host(self) -> None:
        """Keep pods from getting an address that the host has itself, of blocks to come too."""
        for family, value in self._addresses.avoid(host_addresses()):
            log.error(
                "%s is an address of this host and of a pod: take it from the host",
                format_address(family, value),
            )

    def _care(
        self,
        endpoint: Endpoint,
        present: Mapping[str, PodLink],
        routes: frozenset[tuple[Prefix, int | None]],
    ) -> None:
        if endpoint.mode is Mode.IPVLAN:
            self._mend(endpoint, way_in(), routes)
            return
        link = present.get(endpoint.link)
        if link is None:
            if endpoint.link in self._seen and self._pods.release_lost(endpoint):
                log.warning("%s has lost its link: its addresses are free", endpoint.attachment)
            return
        self._mend(endpoint, link.index, routes)

    def _mend(
        self,
        endpoint: Endpoint,
        index: int | None,
        routes: frozenset[tuple[Prefix, int | None]],
    ) -> None:
        """Its routes must be there, by the link with this index."""
        wanted = {(Prefix(f, value, f.width), index) for f, value in endpoint.addresses}
        if not wanted <= routes:
            log.warning("%s had lost its route: it is mended", endpoint.attachment)
            self._pods.mend(endpoint)


class Meter:
    """How many bytes went over pods' links since it was last read."""

    def __init__(self, addresses: AddressFile) -> None:
        self._addresses = addresses
        self._before: Mapping[str, int] = {}

    def read(self, blocks: Sequence[Prefix]) -> dict[Prefix, Load]:
        """The load of each block since the last time; a link that is new then counts whole."""
        now = {name: link.transferred for name, link in pod_links().items()}
        pods = [
            (e.addresses, max(0, now.get(e.link, 0) - self._before.get(e.link, 0)))
            for e in self._addresses.endpoints()
        ]
        self._before = now
        return loads(blocks, pods)
