"""A lab as a whole: made, looked at, broken, healed and removed.

How route tables are changed is not decided here: ``apply`` is the caller's, and does what an
operator would do with the lab's cluster file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ipam.errors import BadInputError, UnavailableError, VpcrouterError
from vpcrouter.cluster import Cluster
from vpcrouter.lab import agents, machines, network, processes, record, spaces
from vpcrouter.lab.files import Health, write_cluster_file, write_node_list
from vpcrouter.lab.layout import ROUTER, Machine, Pod, Size
from vpcrouter.lab.pinger import Answer, Pair, Pinger, lost
from vpcrouter.lab.record import FOLDER, Record

Apply = Callable[[Path], None]
"""Plans and changes the route tables of a cluster file. Raises VpcrouterError where it cannot."""

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much in all."""

T = TypeVar("T")

AGENT, LINK, NODE, STORE = "agent", "link", "node", "store"
KINDS = (NODE, AGENT, STORE, LINK)

_AT_ONCE = 8
_PATIENCE = 30.0
_STUCK = 2.0  # seconds in which no pod starts, after which something is missing
_SHOWN = 100  # pings after which to show how far they are
_CATCH_UP = 5.0  # seconds for host routes to reflect what was granted
_PROBE = 0.5  # seconds that a node may take to answer


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as it should be: its addresses, and why nobody can reach it, if so."""

    pod: Pod
    addresses: tuple[str, ...]
    cut_off: str


def nothing_to_tell(what: str, done: int, total: int) -> None:
    """Tell nobody."""


class Lab:
    """One lab that was begun. Not for several threads."""

    def __init__(self, record_: Record, progress: Progress = nothing_to_tell) -> None:
        self.record = record_
        self._progress = progress

    @classmethod
    def find(cls, name: str, parent: Path = FOLDER, progress: Progress = nothing_to_tell) -> Lab:
        """The lab of a name. Raises BadInputError where there is none."""
        spaces.need_root()
        found = record.load(name, parent)
        if found is None:
            raise BadInputError(f"there is no lab {name}: vpcrouter lab up makes one")
        return cls(found, progress)

    @classmethod
    def begin(
        cls,
        name: str,
        size: Size,
        parent: Path = FOLDER,
        progress: Progress = nothing_to_tell,
    ) -> Lab:
        """A new lab, of which only the record is there. Raises BadInputError, UnavailableError."""
        spaces.need_root()
        return cls(record.begin(name, size, parent), progress)

    # Made.

    def build(self, apply: Apply) -> None:
        """Make everything: namespaces, links, agents, addresses, route tables, pods."""
        layout = self.record.layout
        write_cluster_file(self.record)
        everybody = frozenset(machine.name for machine in layout.machines)
        write_node_list(self.record, Health(everybody, everybody))
        spaces.make(self.record.space(ROUTER))
        network.make_router(self.record)
        for number, machine in enumerate(layout.machines):
            machines.create(self.record, machine)
            self._progress("namespaces", number + 1, len(layout.machines))
        apply(self.record.cluster_file)
        for machine in layout.machines:
            machines.start_agent(self.record, machine)
        self._at_once("agents", layout.machines, self._wait_for)
        self._start_pods(apply)
        self.apply(apply)

    # Looked at.

    def pods(self) -> list[PodState]:
        """All pods."""
        off, unplugged = self.record.broken(NODE), self.record.broken(LINK)

        def why(pod: Pod, addresses: Sequence[str]) -> str:
            if pod.machine.name in off:
                return f"node {pod.machine.name} is off"
            if pod.machine.name in unplugged:
                return f"the link of node {pod.machine.name} is cut"
            return "" if addresses else "it does not run"

        found = ((pod, machines.addresses(self.record, pod)) for pod in self.record.layout.pods)
        return [PodState(pod, addresses, why(pod, addresses)) for pod, addresses in found]

    def pairs(self, pods: Iterable[PodState]) -> list[Pair]:
        """Every pod to every address of every other pod."""
        listed = list(pods)
        return [
            Pair(source.pod.name, address)
            for target in listed
            for address in target.addresses
            for source in listed
            if source is not target
        ]

    def pinger(self, pods: Iterable[PodState]) -> Pinger:
        """Pings out of these pods."""
        return Pinger({one.pod.name: self.record.space(one.pod.name) for one in pods})

    def ping_all(self) -> list[Answer]:
        """Every pod that can be reached pings every other one."""
        pods = [one for one in self.pods() if not one.cut_off]
        pairs = self.pairs(pods)
        done = 0

        def count(_: Answer) -> None:
            nonlocal done
            done += 1
            if done % _SHOWN == 0 or done == len(pairs):
                self._progress("pings", done, len(pairs))

        with self.pinger(pods) as pinger:
            return pinger.ping(pairs, progress=count)

    def crossings(self) -> tuple[int, int]:
        """Pods' packets that crossed the VPC router, and those of them that did so again."""
        return network.counted(self.record)

    def health(self) -> Health:
        """Who answers a probe, and whose agent holds its lease.

        Raises UnavailableError where the store is away: nobody's health is made up then.
        """
        return Health(self.reached(), agents.alive(self.record))

    def reached(self) -> frozenset[str]:
        """Which nodes answer a probe from the router, on all their addresses."""
        return self._reached(self.record.layout.machines)

    # Changed.

    def apply(self, apply: Apply) -> Health:
        """Look at the nodes' health, and change the route tables accordingly.

        What agents claim is granted first, so that their neighbours know of it before anything is
        planned that makes them forward for it.
        """
        health = self.health()
        write_node_list(self.record, health)
        self._grant()
        able = frozenset(health.reached) & frozenset(health.served)
        health = replace(health, behind=agents.wait_for_routes(self.record, able, _CATCH_UP))
        if health.behind:
            write_node_list(self.record, health)
        apply(self.record.cluster_file)
        return health

    def break_(self, kind: str, name: str = "") -> None:
        """Break something: kill an agent, cut a link, turn a node off, take the store away.

        Raises BadInputError where there is no such thing or it is broken already.
        """
        if name in self.record.broken(kind):
            raise BadInputError(f"{kind} {name} is broken already".replace("  ", " "))
        if kind == STORE:
            self._take_store_away()
            return
        machine = self.record.layout.machine(name)
        if kind in (AGENT, LINK) and name in self.record.broken(NODE):
            raise BadInputError(f"node {name} is off: heal it first")
        self.record.note(kind, name)
        if kind == AGENT:
            machines.kill_agent(self.record, machine)
        elif kind == LINK:
            network.plug(self.record, machine, on=False)
        else:
            network.disconnect(self.record, machine)  # at once, before anything else of it
            machines.destroy(self.record, machine)
            machines.forget_pods(self.record, machine)
            for other in (AGENT, LINK):
                self.record.forget(other, name)

    def heal(self, kind: str, name: str = "") -> None:
        """Undo what was broken; a node is started anew, with its pods.

        Returns once it can be reached again. Raises BadInputError where it is not broken.
        """
        if name not in self.record.broken(kind):
            raise BadInputError(f"{kind} {name} is not broken".replace("  ", " "))
        if kind == STORE:
            self._bring_store_back()
            self.record.forget(STORE, "")
            return
        machine = self.record.layout.machine(name)
        if kind == AGENT:
            machines.start_agent(self.record, machine)
            machines.wait_until_serving(self.record, machine)
        elif kind == LINK:
            network.plug(self.record, machine, on=True)
            self._wait_until_reached(machine)
        else:
            self._start_anew(machine)
        self.record.forget(kind, name)

    def start_pod(self, pod: Pod) -> None:
        """Start a pod."""
        machines.start_pod(self.record, pod)

    def stop_pod(self, pod: Pod) -> None:
        """Stop a pod."""
        machines.stop_pod(self.record, pod)

    # How.

    def _start_anew(self, machine: Machine) -> None:
        machines.destroy(self.record, machine)  # whatever an interrupted start has left
        machines.forget_pods(self.record, machine)
        machines.note_restart(self.record, machine)
        machines.create(self.record, machine)
        machines.start_agent(self.record, machine)
        machines.wait_until_serving(self.record, machine)
        self._wait_until_reached(machine)
        for pod in self.record.layout.pods_of(machine):
            machines.start_pod(self.record, pod)

    def _reached(self, wanted: Sequence[Machine]) -> frozenset[str]:
        families = self.record.layout.size.families
        pairs = {m.name: [Pair(ROUTER, m.address(family)) for family in families] for m in wanted}
        with Pinger({ROUTER: self.record.space(ROUTER)}) as pinger:
            first = pinger.ping([pair for of_one in pairs.values() for pair in of_one], _PROBE)
            # Again: one lost packet is no dead node.
            again = pinger.ping(lost(first), _PROBE)
        answered = {answer.pair for answer in (*first, *again) if answer.seconds is not None}
        return frozenset(name for name, of_one in pairs.items() if answered.issuperset(of_one))

    def _wait_until_reached(self, machine: Machine) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._reached([machine]):
            if time.monotonic() > deadline:
                raise UnavailableError(f"node {machine.name} does not answer the router")

    def _wait_for(self, machine: Machine) -> None:
        machines.wait_until_serving(self.record, machine)

    def _start_pods(self, apply: Apply) -> None:
        """Start all pods. Where nodes run short of addresses, grant what their agents claim."""
        pods = self.record.layout.pods
        with _pool() as pool:
            left = {pool.submit(machines.start_pod, self.record, pod) for pod in pods}
            while left:
                started, left = wait(left, timeout=_STUCK, return_when=FIRST_COMPLETED)
                for one in started:
                    one.result()
                self._progress("pods", len(pods) - len(left), len(pods))
                if not started:
                    self.apply(apply)

    def _at_once(self, what: str, things: Sequence[T], make: Callable[[T], None]) -> None:
        with _pool() as pool:
            for number, _ in enumerate(pool.map(make, things)):
                self._progress(what, number + 1, len(things))

    def _grant(self) -> None:
        cluster = Cluster.open(self.record.cluster_file)
        try:
            cluster.joined()
        finally:
            cluster.close()

    @property
    def _thief(self) -> Path:
        return self.record.folder / "thief.pid"

    def _take_store_away(self) -> None:
        self.record.note(STORE, "")
        away = self.record.store.with_name(self.record.store.name + ".away")
        away.unlink(missing_ok=True)
        command = [sys.executable, "-m", "vpcrouter.lab.thief", str(self.record.store)]
        pid = processes.start(command, self.record.token, self.record.folder / "log", self._thief)
        deadline = time.monotonic() + _PATIENCE
        while not away.exists():
            if time.monotonic() > deadline:
                processes.stop(pid, self.record.token)
                raise UnavailableError(f"the lock of {self.record.store} was never free")
            time.sleep(0.01)

    def _bring_store_back(self) -> None:
        pid = processes.running(self.record.token, self._thief)
        if pid is not None:
            processes.stop(pid, self.record.token)


def refuse_second(name: str, parent: Path = FOLDER) -> None:
    """Raises BadInputError where there is a lab of this name."""
    spaces.need_root()
    record.refuse_second(name, parent)


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Some threads; where one fails, what has not begun is left."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def remove(name: str, parent: Path = FOLDER) -> bool:
    """Remove a lab with all that belongs to it, however far it came; whether there was one.

    Raises UnavailableError where something cannot be removed; then it is still on record.
    """
    spaces.need_root()
    found = record.load(name, parent)
    if found is None:
        record.end(name, parent)
        return False
    for pid in list(processes.all_of(found.token)):
        processes.stop(pid, found.token)
    failures: list[str] = []
    for space in found.layout.spaces():
        try:
            spaces.remove(found.space(space))
        except VpcrouterError as error:
            failures.append(str(error))
    if failures:
        raise UnavailableError(failures[0])
    record.end(name, parent)
    return True
