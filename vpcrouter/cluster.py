"""One cluster: its file, store, fabric and node list put together, and looked at as a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from ipam.allocator import Allocator, Granted
from ipam.claim_records import ALIVE, NodeClaim, owner_of
from ipam.errors import BadInputError
from ipam.model import Claim, Network, Owner, State
from ipam.placement import Outcome, Refusal, join, next_blocks
from ipam.prefix import Family, Prefix
from ipam.releasing import without_owners
from ipam.room import ANY_ROOM, Room
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Store
from ipam.store.sqlite import SqliteStore
from ipam.topology_change import Consequence, consequences
from vpcrouter.assemble import TableSettings, assemble, lost_subnets, route_tables
from vpcrouter.config import ClusterFile, LinuxSource, SimulatedSource, load_cluster
from vpcrouter.fabric.aws.settings import AwsSource
from vpcrouter.fabric.clock import SimulatedClock, SystemClock
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import Clock, Expecting, Fabric, NetworkInterface, Observation
from vpcrouter.fabric.simulated import NoFaults, SimulatedFabric
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import FileStorage, MemoryStorage, TableStorage
from vpcrouter.inventory import read_nodes
from vpcrouter.matching import Inventory
from vpcrouter.measuring import Measuring
from vpcrouter.membership import Membership, claims_of, compare
from vpcrouter.model import RouteTable, Snapshot
from vpcrouter.ownership import CHECKS, ROUTES, RouteRecord, decode_routes
from vpcrouter.problems import Problem
from vpcrouter.reclaiming import Judged, Wanted, judge
from vpcrouter.sampling import take_samples
from vpcrouter.soft_limit import Budgets, softened, within, without_load
from vpcrouter.weights import Kind

REFUSED = "gets no addresses"
SHORT = "gets fewer addresses than it wants"
NOT_YET_LISTED = "the node is not in the node list: it is granted blocks once it is"


@dataclass(frozen=True, slots=True)
class View:
    """A cluster at one moment, as a plan is made from it.

    ``problems`` name what cannot be served though the rest can, ``notes`` what is odd and served
    nevertheless; ``warnings`` are whole lines about the cluster.
    """

    snapshot: Snapshot
    state: State
    observation: Observation
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    warnings: tuple[str, ...]


class Cluster:
    """A cluster and how to look at it. Not for several threads.

    ``file`` says what it is made of; ``store`` keeps addresses and which entries are ours;
    ``fabric`` is its VPC, and ``clock`` the time on which to wait for that.
    """

    def __init__(self, file: ClusterFile, store: Store, fabric: Fabric, clock: Clock) -> None:
        self.file = file
        self.store = store
        self.fabric = fabric
        self.clock = clock
        self._addresses = Addresses(store, file.cluster, file.networks)
        self._listed: frozenset[Owner] = frozenset()
        self._allocator = Allocator(store, self._addresses, self._admission)
        self._measuring = Measuring(store, Kind(file.planning.weights), file.planning.capacity)

    @classmethod
    def open(cls, path: Path) -> Cluster:
        """The cluster of a file. Reads only; neither store nor tables are made before a change.

        Raises BadInputError where a file is none, UnavailableError where one, or the cloud,
        cannot be read.
        """
        return cls._open(path, SimulatedClock())

    @classmethod
    def live(cls, path: Path) -> Cluster:
        """The same, where the time of a simulated VPC passes as it does outside."""
        return cls._open(path, SystemClock())

    @classmethod
    def _open(cls, path: Path, clock: Clock) -> Cluster:
        file = load_cluster(path)
        source = file.fabric.source
        store = SqliteStore(file.store)
        if isinstance(source, SimulatedSource):
            described = read_describe(source.describe, file.fabric.quota)
            tables = _tables(file.store, described.vpc)
            return cls._simulated(file, store, described, tables, clock)
        fabric, clock = _real(file, source)
        _check_networks(file.path, file.networks, fabric.read())
        return cls(file, store, fabric, clock)

    @classmethod
    def imagine(cls, path: Path) -> Cluster:
        """The cluster of a file as it would start, in memory: without its store and its tables.

        What is in the cloud is read once and simulated from then on.
        """
        file = load_cluster(path)
        source = file.fabric.source
        if isinstance(source, SimulatedSource):
            described = read_describe(source.describe, file.fabric.quota)
        else:
            described = _real(file, source)[0].read()
        return cls._simulated(file, MemoryStore(), described, MemoryStorage(), SimulatedClock())

    @classmethod
    def _simulated(
        cls,
        file: ClusterFile,
        store: Store,
        described: Observation,
        storage: TableStorage,
        clock: Clock,
    ) -> Cluster:
        _check_networks(file.path, file.networks, described)
        described = _with_checks_off(described, store)
        vpc = SimulatedVpc(described, storage, clock, Behaviour())
        return cls(file, store, SimulatedFabric(vpc, NoFaults()), clock)

    def present(self) -> View:
        """What there is now: nodes that have not joined yet have no blocks."""
        seen = self._look()
        return self._view(seen, seen.state, ())

    def planned(self) -> View:
        """What there would be once new nodes have joined and blocks of gone ones are released.

        Decided on a copy: nothing is written.
        """
        seen = self._look()
        gone = [(owner.name, owner.identity) for owner in seen.membership.gone]
        state = without_owners(seen.state, gone)
        # Each name claims once here: what is granted contradicts no other claim.
        claims = [claim for claim in seen.membership.claims if not state.grants(claim)]
        outcome = join(state, claims, self._budget(seen), self._room(seen, state, claims))
        view = self._view(seen, outcome.state, tuple(map(_refused, outcome.refused)))
        return self._with_coming(seen, view)

    def joined(self) -> View:
        """The same as ``planned``, decided in the store: new nodes own their blocks from now on.

        What agents claim beyond that is granted too, and what they give back is free.
        """
        seen = self._look()
        gone = [(owner.name, owner.identity) for owner in seen.membership.gone]
        state = self._addresses.end(gone) if gone else seen.state
        claims = [claim for claim in seen.membership.claims if not state.grants(claim)]
        room = self._room(seen, state, claims)
        outcome = self._addresses.join(seen.membership.claims, self._budget(seen), room)
        granted = self._grant(seen)
        refused = (*map(_refused, outcome.refused), *_short(seen, outcome, granted))
        view = self._with_coming(seen, self._view(seen, granted.state, refused))
        self._measuring.keep(view.state)
        warnings = take_samples(self.store, view.state)
        return replace(view, warnings=(*view.warnings, *warnings, *granted.unreadable.values()))

    def judged(self) -> tuple[Judged, ...]:
        """Everybody who owns addresses, and what is known about them."""
        inventory = self._inventory()
        observation = self._observe(inventory)
        leases = {owner_of(item.key) for item in self.store.range(ALIVE).items}
        return judge(observation, inventory, self._addresses.load(), leases)

    def take_back(self, wanted: Wanted) -> None:
        """Free the blocks of nodes that are gone; they may be given to others at once."""
        for owner, blocks in wanted.blocks.items():
            self._addresses.take_back(owner, blocks)
        if wanted.nodes:
            self._addresses.end([judged.identity for judged in wanted.nodes])

    def change_addresses(self, decide: Callable[[State], Outcome]) -> Outcome:
        """Change who owns what, as a pure function of the state decides, in the store."""
        return self._addresses.change(decide)

    def consequences(self, path: Path) -> tuple[Consequence, ...]:
        """What would follow if the networks of another cluster file came into force.

        Raises BadInputError where that is none, or is another cluster's.
        """
        file = load_cluster(path)
        if file.cluster != self.file.cluster:
            raise BadInputError(
                f"{path}: is of cluster {file.cluster}, and {self.file.path} of "
                f"{self.file.cluster}: name two files of one cluster"
            )
        seen = self._look()
        _check_networks(path, file.networks, seen.observation)
        claims = claims_of(seen.membership.members, file.networks)
        return consequences(seen.state, file.networks, claims)

    def route_tables(self) -> tuple[RouteTable, ...]:
        """The tables now, with what is ours in them."""
        return route_tables(self.fabric.read(), self.records(), self._settings)

    def records(self) -> Mapping[tuple[str, Prefix], RouteRecord]:
        """Which entries the store says are ours, by table and destination."""
        return decode_routes((item.key, item.value) for item in self.store.range(ROUTES).items)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    @property
    def _settings(self) -> TableSettings:
        present = {cidr.family for network in self.file.networks for cidr in network.cidrs}
        return TableSettings(
            families=tuple(family for family in Family if family in present),
            reserve=self.file.fabric.reserve,
            own_subnet_weight=self.file.planning.own_subnet_weight,
        )

    def _look(self) -> _Seen:
        inventory = self._inventory()
        observation = self._observe(inventory)
        # After the tables: what another process creates meanwhile is then known as ours.
        records = self.records()
        state = self._addresses.load()
        membership = compare(observation, inventory, state)
        return _Seen(observation, state, records, membership)

    def _inventory(self) -> Inventory:
        return replace(read_nodes(self.file.nodes), tag=self.file.fabric.node_tag)

    def _observe(self, inventory: Inventory) -> Observation:
        """The VPC, with every instance that the node list has if it is there."""
        if isinstance(self.fabric, Expecting):
            self.fabric.expect({n.instance for n in inventory.nodes if n.instance is not None})
        return self.fabric.read()

    def _budget(self, seen: _Seen) -> Mapping[Family, int]:
        """What every table can take, by family: placement divides the networks by it."""
        tables = route_tables(seen.observation, seen.records, self._settings)
        return without_load(tables, self._soft(seen, tables))

    def _soft(self, seen: _Seen, tables: Sequence[RouteTable]) -> Budgets:
        """What tables are to keep to while the load allows it."""
        limit = self.file.fabric.soft_limit
        return {} if limit is None else softened(tables, seen.observation.quota, limit)

    def _within_soft_limit(self, seen: _Seen, snapshot: Snapshot) -> Snapshot:
        soft = self._soft(seen, snapshot.route_tables)
        if not soft or not snapshot.nodes:
            return snapshot
        from vpcrouter.planner import plan  # takes long to import

        return within(snapshot, soft, self.file.planning.max_load, plan)

    def _grant(self, seen: _Seen) -> Granted:
        """Grant what nodes of the node list claim, as far as there is room."""
        self._listed = frozenset((c.node, c.identity) for c in seen.membership.claims)
        return self._allocator.run(self._budget(seen))

    def _admission(self, claim: NodeClaim) -> str:
        return "" if claim.owner in self._listed else NOT_YET_LISTED

    def _room(self, seen: _Seen, state: State, claims: Collection[Claim]) -> Room:
        """What the entries can take of new nodes, once the tables are as they would be planned.

        Nothing is said where no node is new, nor before the tables hold anything of ours.
        """
        tables = route_tables(seen.observation, seen.records, self._settings)
        if not claims or not any(table.entries for table in tables):
            return ANY_ROOM
        from vpcrouter.planner import decide  # takes long to import
        from vpcrouter.planner.headroom import headroom

        snapshot = self._view(seen, state, ()).snapshot
        slack = self.file.planning.slack
        return headroom(decide(snapshot, slack), snapshot, slack)

    def _with_coming(self, seen: _Seen, view: View) -> View:
        """Once nodes are gone, with the blocks to come: room for them is made while at it."""
        if not seen.membership.gone:
            return view
        subnets = {claim.subnet: claim.labels for claim in seen.membership.claims}
        coming = next_blocks(view.state, subnets, self._budget(seen))
        return replace(view, snapshot=replace(view.snapshot, coming=coming))

    def _view(self, seen: _Seen, state: State, refused: tuple[Problem, ...]) -> View:
        members = seen.membership.members
        measures, guesses = self._measuring.measures(members, state)
        snapshot = assemble(
            seen.observation, members, state, seen.records, self._settings, measures
        )
        return View(
            snapshot=self._within_soft_limit(seen, snapshot),
            state=state,
            observation=seen.observation,
            problems=tuple(sorted((*seen.membership.problems, *refused))),
            notes=(
                *seen.membership.notes,
                *lost_subnets(seen.observation, state),
                *guesses,
            ),
            warnings=seen.observation.warnings,
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    observation: Observation
    state: State
    records: Mapping[tuple[str, Prefix], RouteRecord]
    membership: Membership


def _real(file: ClusterFile, source: AwsSource | LinuxSource) -> tuple[Fabric, Clock]:
    """What carries packets, in real time."""
    if isinstance(source, AwsSource):
        return _aws(source, file.fabric.quota)
    return _linux(source, file.nodes), SystemClock()


def _linux(source: LinuxSource, nodes: Path) -> Fabric:
    """A router whose next hops are the nodes of the node list."""
    from vpcrouter.fabric.linux.fabric import LinuxFabric
    from vpcrouter.fabric.linux.rows import Cidrs, node_interfaces

    def interfaces(cidrs: Cidrs) -> tuple[NetworkInterface, ...]:
        listed = read_nodes(nodes).nodes
        return tuple(node_interfaces(((n.instance, n.addresses) for n in listed), cidrs))

    return LinuxFabric(source.router, interfaces)


def _aws(source: AwsSource, quota: int | None) -> tuple[Fabric, Clock]:
    """A VPC in the cloud, in real time. The SDK takes half a second to import."""
    from vpcrouter.fabric.aws.fabric import open_aws

    clock = SystemClock()
    return open_aws(source, quota, clock), clock


def _with_checks_off(described: Observation, store: Store) -> Observation:
    """A simulated VPC keeps no checks by itself: they are where the cluster last switched them."""
    off = {item.key.removeprefix(CHECKS) for item in store.range(CHECKS).items}
    interfaces = (
        structs.replace(i, source_dest_check=False) if i.id in off else i
        for i in described.interfaces
    )
    return replace(described, interfaces=tuple(interfaces)) if off else described


def _tables(store: Path, vpc: str) -> FileStorage:
    """The simulated tables live beside the store."""
    return FileStorage(store.with_name(store.name + ".tables.json"), vpc)


def _short(seen: _Seen, outcome: Outcome, granted: Granted) -> Iterator[Problem]:
    """Nodes that have addresses, and were refused what they want beyond that."""
    without = {refusal.node for refusal in outcome.refused}
    listed = {(claim.node, claim.identity) for claim in seen.membership.claims}
    for owner, reason in granted.refused.items():
        if owner in listed and owner[0] not in without:
            yield Problem(f"{SHORT}: {reason}", owner[0])


def _refused(refusal: Refusal) -> Problem:
    reason = refusal.reason.removeprefix(f"node {refusal.node}: ")
    return Problem(f"{REFUSED}: {reason}", refusal.node)


def _check_networks(path: Path, networks: Sequence[Network], vpc: Observation) -> None:
    """Raises BadInputError where a network shares addresses with the VPC's own ranges.

    EC2 refuses routes inside them. Around them they may be excluded from the network.
    """
    for network in networks:
        for cidr in network.cidrs:
            for local in vpc.local:
                excluded = any(prefix.contains(local) for prefix in network.exclude)
                if cidr.overlaps(local) and not (cidr.contains(local) and excluded):
                    raise BadInputError(
                        f"{path}: network {network.name}: {cidr} overlaps {local}, which is the "
                        f"VPC's own: choose another range, or exclude {local} from it"
                    )
