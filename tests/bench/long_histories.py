"""A cluster that lives through thousands of joins and leaves, fast: placed and planned, no checks.

What ``vpcrouter simulate`` checks after every step is left out here, and blocks are kept as sorted
columns that change with each event, so that ten thousand plans take minutes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from ipam.model import Claim, Network, State, state
from ipam.placement import join, leave, next_blocks
from ipam.prefix import Family, Prefix
from ipam.room import ANY_ROOM
from ipam.topology import Labels
from vpcrouter.model import BlockColumns, Entry, Node, RouteTable, Snapshot, Subnet
from vpcrouter.planner import plan
from vpcrouter.planner.headroom import headroom

V4 = Family.IPV4
_BITS = 26


@dataclass(frozen=True, slots=True)
class Setting:
    """What a history starts from: nodes by subnet, the budget of every table, the network."""

    sizes: Mapping[str, int]
    budget: int
    cidr: str
    node_length: int
    tables: int = 1

    @property
    def nodes(self) -> int:
        """How many nodes there are at the start."""
        return sum(self.sizes.values())


SMALL = Setting({"a": 774, "b": 461, "c": 288}, 44, "100.64.0.0/10", 24)
LARGE = Setting({"a": 9_000, "b": 7_000, "c": 4_000}, 500, "10.0.0.0/8", 26)


@dataclass(frozen=True, slots=True)
class Moment:
    """What planning has made of a cluster after ``events`` further events.

    ``forced`` changes are those that no plan could do without: entries whose next hop has left.
    ``shared`` is whether every group has more than one node: whether a node that joins could not
    get an entry of its own.
    """

    joins: int
    leaves: int
    changes: int
    forced: int
    max_load: float
    least: float
    lower_bound: float
    ideal: int
    shared: bool


class Cluster:
    """The cluster; ``weigh`` says what a new node's block weighs."""

    def __init__(self, setting: Setting, seed: int, weigh: Callable[[Random], float]) -> None:
        self._setting = setting
        self._random = Random(seed)
        self._weigh = weigh
        self._homes = [s for s, count in setting.sizes.items() for _ in range(count)]
        pods = Network(
            "pods",
            (Prefix.parse(setting.cidr),),
            block={V4: _BITS},
            node={V4: setting.node_length},
        )
        self.state: State = state("bench", [pods])
        self._names: list[str] = []
        self._nodes: dict[str, Node] = {}
        self._rows: list[int] = []  # addresses of blocks, sorted
        self._owners: list[str] = []  # by row
        self._weights: list[float] = []  # by row
        limit = {V4: setting.budget}
        self.tables = tuple(
            RouteTable(f"t{number}", limit, limit) for number in range(setting.tables)
        )
        self._join(self._homes)

    def join(self) -> None:
        """One more node, in a subnet by the sizes that they had at the start."""
        self._join([self._random.choice(self._homes)])

    def leave(self) -> None:
        """Any node goes."""
        position = self._random.randrange(len(self._names))
        self._names[position], self._names[-1] = self._names[-1], self._names[position]
        name = self._names.pop()
        for block in self.state.blocks(name):
            row = bisect_left(self._rows, block.value)
            del self._rows[row], self._owners[row], self._weights[row]
        del self._nodes[name]
        self.state = leave(self.state, [name])

    def one_event(self) -> bool:
        """A join or a leave, one as likely as the other; whether it was a join."""
        joins = self._random.random() < 0.5
        if joins:
            self.join()
        else:
            self.leave()
        return joins

    def snapshot(self) -> Snapshot:
        """What a plan is made from."""
        nodes = tuple(self._nodes.values())  # by name: names count up
        index = {name: position for position, name in enumerate(self._nodes)}
        size = len(self._rows)
        columns = BlockColumns(
            V4,
            array("Q", bytes(8 * size)),
            array("Q", self._rows),
            array("B", bytes([_BITS]) * size),
            array("I", [index[name] for name in self._owners]),
            array("d", self._weights),
        )
        table = self.tables[0].id
        subnets = tuple(
            Subnet(name, name, table, self.state.prefixes(name)) for name in self._setting.sizes
        )
        blocks = {Family.IPV4: columns, Family.IPV6: BlockColumns.empty(Family.IPV6)}
        return Snapshot(subnets, nodes, blocks, self.tables)

    def settle(self, slack: float, joins: int, leaves: int) -> Moment:
        """Plan and take the plan's entries for the tables'; once nodes have left, with room."""
        forced = sum(
            entry.interface.removeprefix("eni-") not in self._nodes
            for table in self.tables
            for entry in table.entries
        )
        snapshot = self.snapshot()
        if leaves:
            homes: dict[str, Labels] = dict.fromkeys(self._setting.sizes, ())
            coming = next_blocks(self.state, homes, {V4: self._setting.budget})
            snapshot = replace(snapshot, coming=coming)
        made = plan(snapshot, slack)
        self._room = headroom(made, snapshot, slack)
        changes = sum(len(table.steps) for table in made.tables)
        self.tables = tuple(
            replace(table, entries=tuple(Entry(e.destination, e.interface) for e in new.entries))
            for table, new in zip(self.tables, made.tables, strict=True)
        )
        proofs = [table.proof[V4] for table in made.tables]
        return Moment(
            joins=joins,
            leaves=leaves,
            changes=changes,
            forced=forced,
            max_load=max(table.max_load for table in made.tables),
            least=max(proof.least_load for proof in proofs),
            lower_bound=max(proof.lower_bound for proof in proofs),
            ideal=ideal_load(self.sizes().values(), self._setting.budget),
            shared=self._all_shared(),
        )

    def sizes(self) -> dict[str, int]:
        """How many nodes each subnet has."""
        found = dict.fromkeys(self._setting.sizes, 0)
        for node in self._nodes.values():
            found[node.subnet] += 1
        return found

    def _all_shared(self) -> bool:
        return all(
            self.state.space(share.id, group).measure(group)[0] > 1
            for share in self.state.subnets.values()
            for group in share.groups
        )

    def _join(self, homes: Sequence[str]) -> None:
        start = self._joined
        claims = [Claim(f"n{start + number:07}", home, "id") for number, home in enumerate(homes)]
        self._joined += len(claims)
        outcome = join(self.state, claims, {V4: self._setting.budget}, self._room)
        assert not outcome.refused, outcome.refused[0].reason
        self.state = outcome.state
        given = (block for claim in claims for block in self.state.blocks(claim.node))
        self._room = self._room.without(given)
        for claim in claims:
            self._names.append(claim.node)
            node = Node(claim.node, claim.subnet, f"eni-{claim.node}", {})
            self._nodes[claim.node] = node
            weight = self._weigh(self._random)
            for block in self.state.blocks(claim.node):
                row = bisect_left(self._rows, block.value)
                self._rows.insert(row, block.value)
                self._owners.insert(row, claim.node)
                self._weights.insert(row, weight)

    _joined = 0
    _room = ANY_ROOM


def history(cluster: Cluster, events: int, every: int, slack: float) -> Iterator[Moment]:
    """The moments of a history that is planned for after each ``every`` events."""
    cluster.settle(slack, 0, 0)
    for _ in range(events // every):
        joins = sum(cluster.one_event() for _ in range(every))
        yield cluster.settle(slack, joins, every - joins)


def ideal_load(sizes: Iterable[int], budget: int) -> int:
    """The least L with which ceil(n / (L + 1)) groups for each subnet fit the budget.

    One of the L + 1 nodes of a group forwards, and its own block does not count.
    """
    sizes = list(sizes)
    low, high = 0, max(sizes, default=0)
    while low < high:
        middle = (low + high) // 2
        if sum(-(-size // (middle + 1)) for size in sizes) <= budget:
            high = middle
        else:
            low = middle + 1
    return low


def alike(_: Random) -> float:
    """Every block weighs 1."""
    return 1.0


def zipf(exponent: float, ranks: int) -> Callable[[Random], float]:
    """Weights by a random rank, rank to the power of the exponent below the first one's 1,000."""

    def weigh(random: Random) -> float:
        return 1_000.0 / float(random.randint(1, ranks) ** exponent)

    return weigh
