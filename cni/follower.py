"""Follows the store in a thread of its own and keeps the node's network as the cluster wants it.

With the store away everything stays as it is. What was last known is kept on the node's disk, by
``addresses`` of the own blocks, by ``last_known`` of all else: a new start begins with that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cni.feed import Feed
from cni.firewall import Firewall
from cni.holdings import Holdings
from cni.host import Host, Uplink
from cni.hostroutes import wanted_routes
from cni.last_known import LastKnown, LastKnownFile
from cni.reports import Load, Report, dump_report
from cni.surroundings import Surroundings, View, agent_key, dump_uplinks, report_key
from cni.transit import Rules
from ipam.errors import VpcrouterError
from ipam.prefix import Prefix
from ipam.store.port import Compare, Put, Store

_PAUSE = 0.25  # seconds between looks at the store, at most
_CHECK = 10.0  # seconds between looks at what others have changed without its being told
_SOONEST = 1.0  # seconds from one look to the next, where it is told that they do
_REPORT = 60  # seconds between reports of how much blocks are used
_AGAIN = 1.0  # seconds until the next attempt
_KEEP = 2.0  # seconds between writing down what is known, at least

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """A node by name and by instance id or UID."""

    node: str
    identity: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How the node's network is to be: see ``transit.Rules`` for ``kept``."""

    uplink: str
    kept: tuple[Prefix, ...] | None


@dataclass(slots=True)
class Standing:
    """How the follower gets on, for whoever wants to know: written by its thread alone.

    ``heard`` is when the store last answered, by the monotonic clock; 0: never. ``stale`` are host
    routes that were put back from the disk, until the store says what they should be.
    """

    heard: float = 0.0
    revision: int = 0
    routes: int = 0
    stale: int = 0
    unrouted: int = 0
    failures: int = 0


class Follower(threading.Thread):
    """Runs until ``stop``.

    ``connect`` opens the store, ``hold`` what deals with the node's blocks over it, None where
    nobody takes addresses from them here. ``measure`` says how much the blocks are used, ``disk``
    is where what is known outlasts a restart. ``begun`` is set once that is in force again.
    """

    def __init__(
        self,
        connect: Callable[[], Store],
        hold: Callable[[Store], Holdings] | None,
        measure: Callable[[Sequence[Prefix]], dict[Prefix, Load]],
        who: Identity,
        settings: Settings,
        disk: LastKnownFile,
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self.standing = Standing()
        self.begun = threading.Event()
        self._connect = connect
        self._hold = hold
        self._measure = measure
        self._who = who
        self._settings = settings
        self._disk = disk
        self._stopping = threading.Event()
        self._firewall = Firewall()
        self._said: set[str] = set()
        self._checked = self._reported = float("-inf")
        self._disturbed = False
        self._seen: Surroundings | None = None
        self._known: LastKnown | None = None
        self._kept: LastKnown | None = None
        self._kept_at = float("-inf")
        self._loads: dict[Prefix, Load] = {}
        self._unrouted: tuple[Prefix, ...] = ()
        self._told: tuple[Prefix, ...] = ()

    def stop(self) -> None:
        """End soon; what the node's network is stays."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Put back what was known, look, act, wait for changes; from the start where that fails.

        The outermost loop: whatever is wrong in here, the node must not stop following.
        """
        while not self._stopping.is_set():
            try:
                with Host() as host:
                    self._try(host)
            except Exception:
                log.exception("following the store was interrupted")
                self.standing.failures += 1
                self._stopping.wait(_AGAIN)

    def _try(self, host: Host) -> None:
        if self._seen is None:
            self._put_back(host)
        self.begun.set()
        while not self._stopping.is_set():
            try:
                self._follow(host)
            except VpcrouterError as error:
                self.standing.failures += 1
                self._say(str(error))
                self._keep(host)
                self._stopping.wait(_AGAIN)

    def _keep(self, host: Host) -> None:
        """With the store away: what others change is still set right."""
        if not self._must_check(host):
            return
        if self._seen is None:
            self._note_check()
            self._put_back(host)
            return
        try:
            self._act(host, host.uplink(self._settings.uplink), self._seen)
        except VpcrouterError as error:
            self._say(str(error))

    def _must_check(self, host: Host) -> bool:
        """Whether it is time to look at what others may have changed.

        At once where the kernel tells of it; but who fights with us is not to keep us busy.
        """
        self._disturbed = host.disturbed() or self._disturbed
        return time.monotonic() >= self._checked + (_SOONEST if self._disturbed else _CHECK)

    def _note_check(self) -> None:
        self._checked = time.monotonic()
        self._disturbed = False

    def _put_back(self, host: Host) -> None:
        """What was known before this start: what is missing of it is added, nothing is removed."""
        try:
            known = self._disk.read()
            if known is None:
                return
            self._kept = known
            uplink = host.uplink(self._settings.uplink)
            host.keep_split_horizon()
            host.refuse(known.blocks)
            self._firewall.restore(
                Rules(uplink.name, known.ranges, known.blocks, self._settings.kept)
            )
            added, problems = host.put_back(known.routes, uplink)
            host.allow_forwarding(uplink)
            self.standing.stale = max(self.standing.stale, added)
        except VpcrouterError as error:
            self._say(str(error))
            return
        for problem in problems:
            self._say(problem)
        if added:
            self._say(
                f"{added} host routes are put back as they were known by store revision "
                f"{known.revision}, until the store says what they should be"
            )

    def _follow(self, host: Host) -> None:
        store = self._connect()
        try:
            view = View(self._who.node, self._who.identity)
            feed = Feed(store, view)
            holdings = self._hold(store) if self._hold is not None else None
            feed.read()
            changed = True
            while not self._stopping.is_set():
                self.standing.heard = time.monotonic()
                if changed or self._must_check(host):
                    self._pass(host, store, view, feed)
                self._write_down()
                if holdings is not None:
                    self._settle(holdings, view, changed)
                changed = feed.wait(_PAUSE)
        finally:
            store.close()

    def _pass(self, host: Host, store: Store, view: View, feed: Feed) -> None:
        uplink = host.uplink(self._settings.uplink)
        seen = view.look()
        if seen is None:
            self._say(
                f"node {self._who.node} ({self._who.identity}) is not in the store: run vpcrouter "
                "apply"
            )
            self._keep(host)
            return
        is_new = seen != self._seen
        if is_new or self._must_check(host):
            self._act(host, uplink, seen)
            key = agent_key(seen.subnet, self._who.node)
            self._write(store, key, self._uplinks(uplink))
            self._tell(store, seen, feed.revision, is_new or self._unrouted != self._told)
            self._seen = seen
            routes = wanted_routes(seen.neighbours, seen.uplinks)
            self._known = LastKnown(feed.revision, seen.ranges, seen.blocks, routes)

    def _write_down(self) -> None:
        """Keep what is known for the next start, unless that was done a moment ago."""
        known, now = self._known, time.monotonic()
        if known is None or known is self._kept or now < self._kept_at + _KEEP:
            return
        try:
            if _differ(known, self._kept):
                self._kept_at = now
                self._disk.write(known)
            self._kept = known
        except VpcrouterError as error:
            self._say(str(error))

    def _settle(self, holdings: Holdings, view: View, changed: bool) -> None:
        """What fails here must not keep the routes from following."""
        try:
            holdings.keep_alive()
            holdings.settle(view.networks(), changed)
        except VpcrouterError as error:
            self._say(str(error))
        if holdings.refused:
            self._say(f"no further blocks are granted: {holdings.refused}")

    def _act(self, host: Host, uplink: Uplink, seen: Surroundings) -> None:
        """First what keeps packets from looping, then what makes others send us any."""
        routes = wanted_routes(seen.neighbours, seen.uplinks)
        rules = Rules(uplink.name, seen.ranges, seen.blocks, self._settings.kept)
        host.refuse(seen.blocks)
        if self._seen is None or self._must_check(host):
            self._note_check()
            host.keep_split_horizon()
            self._firewall.check(rules)
            problems = host.check(routes, seen.blocks, uplink)
            host.allow_forwarding(uplink)
        else:
            self._firewall.load(rules)
            problems = host.follow(routes, seen.blocks, uplink)
        for problem in (*problems, *seen.problems):
            self._say(problem)
        self.standing.routes = len(routes)
        self.standing.stale = 0
        self._unrouted = tuple(sorted({*seen.unrouted, *host.missing(routes)}))
        self.standing.unrouted = len(self._unrouted)

    def _uplinks(self, uplink: Uplink) -> bytes:
        return dump_uplinks(self._who.identity, uplink.addresses)

    def _tell(self, store: Store, seen: Surroundings, revision: int, is_new: bool) -> None:
        """Report what the routes reflect after every change, and loads once a minute.

        What changes elsewhere in the cluster is no reason: reports would be as many as its square.
        """
        now = time.monotonic()
        if now >= self._reported + _REPORT:
            self._reported = now
            self._loads = self._measure(seen.blocks)
            is_new = True
        if is_new:
            self.standing.revision = revision
            report = Report(revision, self._unrouted, self._loads, _REPORT)
            self._write(store, report_key(self._who.node, self._who.identity), dump_report(report))
            self._told = self._unrouted

    def _write(self, store: Store, key: str, value: bytes) -> None:
        present = store.get(key)
        if present is None or present.value != value:
            revision = 0 if present is None else present.mod_revision
            store.txn([Compare(key, revision)], [Put(key, value)])

    def _say(self, message: str) -> None:
        """Once, not every second; the same words again only after a restart."""
        if message not in self._said:
            self._said.add(message)
            log.warning("%s", message)


def _differ(known: LastKnown, kept: LastKnown | None) -> bool:
    """Whether they say different things, be it by different revisions or not."""
    return kept is None or replace(known, revision=kept.revision) != kept
