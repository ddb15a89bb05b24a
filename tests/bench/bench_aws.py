"""How many calls AWS gets, how long its rates make them last, how soon a failure is acted on."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ipam.store.memory import MemoryStore
from tests.aws import Served, served
from tests.bench.figures import Figure
from tests.conftest import DATA
from vpcrouter.cluster import Cluster
from vpcrouter.config import ClusterFile, load_cluster
from vpcrouter.example import Example, write_example
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.clock import SystemClock
from vpcrouter.model import Plan, Snapshot
from vpcrouter.planner import plan
from vpcrouter.reconcile import Ended, Loop, NodeListChanges, Timing
from vpcrouter.service import (
    InlineWorkers,
    Made,
    Means,
    SharedPace,
    ThreadWorkers,
)

REGION = "eu-central-1"
LARGE = Example("large", (1_700, 1_700, 1_600), 500)


def figures() -> Iterator[Figure]:
    """The openb cluster where its data is there, then a made-up one of 5,000 nodes."""
    if (DATA / "openb").is_dir():
        yield from _first_plan()
    else:
        print(f"left out: {DATA / 'openb'} is missing (VPCROUTER_DATA names its parent)")
    with tempfile.TemporaryDirectory() as folder:
        write_example(Path(folder), LARGE)
        with served(Path(folder) / "aws.json") as aws:
            yield from _large(Path(folder), aws)


def _first_plan() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name, served(DATA / "openb" / "aws.json") as aws:
        file = _file(Path(name), "vpc-0cafe", DATA.resolve() / "openb" / "nodes.json")
        cluster = Cluster(file, MemoryStore(), aws.fabric("vpc-0cafe"), aws.clock)
        with _loop(cluster, _simulated(cluster, aws)) as loop:
            _settle(loop)
        calls = Counter(aws.disturbed.calls)
        routes = sum(calls[f"{action}Route"] for action in ("Create", "Replace", "Delete"))
        yield Figure("openb at quota 50, first plan: route calls", routes, "calls", 150)
        checks = calls["ModifyNetworkInterfaceAttribute"]
        yield Figure("openb, first plan: check calls", checks, "calls")
        allowed = (max(routes, checks) - 50) / 5
        yield Figure("openb: time over what buckets allow", aws.clock.now() / allowed, "", 1.2)


def _large(folder: Path, aws: Served) -> Iterator[Figure]:
    file = _file(folder, "vpc-0de40", folder / "nodes.json")
    store = MemoryStore()
    fabric = aws.fabric("vpc-0de40")
    fabric.read()
    yield Figure("5,000 nodes in three tables: discovery", len(aws.disturbed.calls), "calls", 120)
    cluster = Cluster(file, store, fabric, aws.clock)
    with _loop(cluster, _simulated(cluster, aws)) as loop:
        _settle(loop)
        aws.disturbed.calls.clear()
        began = aws.clock.now()
        for _ in loop.run(lambda: aws.clock.now() - began >= 600.0):
            pass
    describes = sum(call.startswith("Describe") for call in aws.disturbed.calls)
    yield Figure("5,000 nodes, steady state: describe calls", describes / 10, "a minute", 10)
    yield from _failure(file, store, aws)


def _failure(file: ClusterFile, store: MemoryStore, aws: Served) -> Iterator[Figure]:
    """The forwarder with most entries fails, in real time, with real threads.

    A service that runs has made calls before: the second one that fails is measured.
    """
    clock = SystemClock()
    fabric = AwsFabric(aws.clients(REGION), "vpc-0de40", None, clock)
    cluster = Cluster(file, store, fabric, clock)
    decided = [0.0]

    def planned(snapshot: Snapshot) -> Plan:
        made = plan(snapshot, 0.05)
        decided.append(time.monotonic())
        return made

    means = Means(ThreadWorkers(), SharedPace(store, time.time), clock)
    with _loop(cluster, means, planned) as loop:
        for measured in (False, True):
            view = cluster.present()
            held = Counter(e.interface for t in view.snapshot.route_tables for e in t.entries)
            interface, count = held.most_common(1)[0]
            _fail(file.nodes, next(n.name for n in view.snapshot.nodes if n.interface == interface))
            before = len(aws.disturbed.calls)
            aws.disturbed.times.clear()
            decided.clear()
            made = _settle(loop)
            sent = Counter(aws.disturbed.calls[before:])
            routes = sum(sent[f"{action}Route"] for action in ("Create", "Replace", "Delete"))
            first = min(aws.disturbed.times[call] for call in sent if call.endswith("Route"))
            assert made == routes
            if measured:
                name = "a failed forwarder: calls over entries that it held"
                yield Figure(name, routes / count, "", 1)
                name = "a failed forwarder: from decision to first call"
                yield Figure(name, 1000 * (first - decided[0]), "ms", 50)


def _fail(nodes: Path, name: str) -> None:
    text = nodes.read_text()
    start = text.index(f'"{name}"')
    ready = text.index('"Ready"', start)
    end = text.index("True", ready)
    nodes.write_text(f"{text[:end]}Unknown{text[end + 4 :]}")


def _file(folder: Path, vpc: str, nodes: Path) -> ClusterFile:
    path = folder / "aws-cluster.yaml"
    path.write_text(
        "version: 1\ncluster: bench\nnetworks: [{name: pods, cidrs: [100.64.0.0/10]}]\n"
        f"fabric: {{kind: aws, region: {REGION}, vpc: {vpc}}}\n"
        f"nodes: {{kubernetes: {nodes}}}\n"
    )
    return load_cluster(path)


def _simulated(cluster: Cluster, aws: Served) -> Means:
    return Means(InlineWorkers(aws.clock), SharedPace(cluster.store, aws.clock.now), aws.clock)


def _usual(snapshot: Snapshot) -> Plan:
    return plan(snapshot, 0.05)


@contextmanager
def _loop(
    cluster: Cluster, means: Means, planned: Callable[[Snapshot], Plan] = _usual
) -> Iterator[Loop]:
    with closing(means.workers):
        yield Loop(cluster, means, planned, NodeListChanges(cluster.file.nodes), Timing())


def _settle(loop: Loop) -> int:
    """Run until all is as planned; how many steps that took."""
    made = 0
    for event in loop.run(lambda: False):
        made += isinstance(event, Made)
        if isinstance(event, Ended) and event.is_settled and event.passed.made == 0:
            break
    return made
