"""Follows the store in a thread of its own and keeps the node's network as the cluster wants it.

With the store away everything stays as it is. What was last known of the own blocks is kept by
``addresses`` on the node's disk.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cni import surroundings
from cni.host import Host, Uplink
from cni.hostroutes import wanted_routes
from cni.surroundings import Surroundings, agent_key, dump_uplinks
from cni.transit import ruleset
from ipam.errors import BadInputError, UnavailableError, VpcrouterError
from ipam.prefix import Prefix
from ipam.store.port import Compare, Put, Store

_PAUSE = 1.0  # seconds, between attempts and between looks at the store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """A node by name and by instance id or UID."""

    node: str
    identity: str


class Follower(threading.Thread):
    """Runs until ``stop``. ``blocks`` is None until the store has said what the node owns."""

    def __init__(self, connect: Callable[[], Store], who: Identity, uplink_name: str) -> None:
        super().__init__(name="follower", daemon=True)
        self.blocks: tuple[Prefix, ...] | None = None
        self._connect = connect
        self._who = who
        self._uplink_name = uplink_name
        self._stopping = threading.Event()
        self._rules = ""
        self._said: set[str] = set()

    def stop(self) -> None:
        """End soon; what the node's network is stays."""
        self._stopping.set()

    def run(self) -> None:
        """Look, act, wait for changes; from the start where something fails."""
        with Host() as host:
            while not self._stopping.is_set():
                try:
                    self._follow(host)
                except VpcrouterError as error:
                    self._say(str(error))
                    self._stopping.wait(_PAUSE)

    def _follow(self, host: Host) -> None:
        store = self._connect()
        try:
            while not self._stopping.is_set():
                found = store.range("/")
                seen = surroundings.read(
                    ((item.key, item.value) for item in found.items),
                    self._who.node,
                    self._who.identity,
                )
                uplink = host.uplink(self._uplink_name)
                if seen is None:
                    self._say(f"node {self._who.node} is not in the store: run vpcrouter apply")
                else:
                    self._act(host, uplink, seen)
                    self._register(store, uplink)
                watch = store.watch("/", found.revision)
                try:
                    watch.next(_PAUSE)
                finally:
                    watch.close()
        finally:
            store.close()

    def _act(self, host: Host, uplink: Uplink, seen: Surroundings) -> None:
        """First what keeps packets from looping, then what makes others send us any."""
        host.allow_forwarding(uplink)
        host.keep_split_horizon()
        rules = ruleset(uplink.name, seen.networks, seen.blocks)
        if rules != self._rules:
            _load(rules)
            self._rules = rules
        host.refuse_unassigned(seen.blocks)
        foreign = host.put_routes(wanted_routes(seen.neighbours, seen.uplinks), uplink)
        if foreign:
            listed = ", ".join(map(str, foreign))
            self._say(f"foreign routes stand in the way of host routes to {listed}: remove them")
        for problem in seen.problems:
            self._say(problem)
        self.blocks = seen.blocks

    def _register(self, store: Store, uplink: Uplink) -> None:
        key = agent_key(self._who.node)
        value = dump_uplinks(self._who.identity, uplink.addresses)
        present = store.get(key)
        if present is None or present.value != value:
            revision = 0 if present is None else present.mod_revision
            store.txn([Compare(key, revision)], [Put(key, value)])

    def _say(self, message: str) -> None:
        """Once, not every second; the same words again only after a restart."""
        if message not in self._said:
            self._said.add(message)
            log.warning("%s", message)


def _load(rules: str) -> None:
    try:
        done = subprocess.run(
            ("nft", "-f", "-"),  # noqa: S607 - where it is differs
            input=rules,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BadInputError("nft is missing: install the package nftables") from error
    if done.returncode:
        reason = done.stderr.partition("\n")[0]
        raise UnavailableError(f"rules for transit cannot be loaded ({reason}): check nftables")
