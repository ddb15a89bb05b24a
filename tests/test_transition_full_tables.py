"""A full table changes hitless too: in pairs, with little load on the way, or it says why not."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from ipam.prefix import Family, Prefix
from tests.tables import check_hitless, held, world_of
from vpcrouter.model import Action, Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.reachability import Ground, TableState
from vpcrouter.transition import Transition, transition

V4 = Family.IPV4


def p(text: str) -> Prefix:
    return Prefix.parse(text)


def entries(text: str) -> list[Entry]:
    """Entries as ``10.0.0.0/24 a, 10.0.0.0/26 b``."""
    return [Entry(p(one.split()[0]), one.split()[1]) for one in text.split(", ") if one]


NODES = [
    Node("a", "s1", "a", {}),
    Node("b", "s1", "b", {}),
    Node("own", "s1", "own", {}, forwards=False),
    Node("ill", "s1", "ill", {}, healthy=False),
    Node("c", "s2", "c", {}),
]
SUBNETS = [
    Subnet("s1", "z", "t1", (p("10.0.0.0/24"),)),
    Subnet("s2", "z", "t1", (p("10.0.1.0/24"),)),
]
BLOCKS = [
    Block(p("10.0.0.0/26"), "a"),
    Block(p("10.0.0.64/26"), "b"),
    Block(p("10.0.0.128/26"), "own"),
    Block(p("10.0.1.0/26"), "c"),
]


def change(present: str, target: str, limit: int, nodes: list[Node] | None = None) -> Transition:
    """The transition, checked by the slow model."""
    table = RouteTable("t1", {V4: limit}, {V4: limit}, entries=tuple(entries(present)))
    snap = snapshot(SUBNETS, nodes or NODES, BLOCKS, [table])
    wanted = entries(target)
    found = transition(snap, table, wanted)
    end = check_hitless(world_of(snap, table, wanted), table, found.steps)
    assert (end == held(wanted)) == (not found.blocked)
    return found


def steps(found: Transition) -> list[str]:
    return [
        " ".join(filter(None, (s.action, str(s.destination), s.interface))) for s in found.steps
    ]


def test_with_room_new_entries_come_before_old_ones_go() -> None:
    found = change(
        "10.0.0.0/24 ill, 10.0.0.0/26 b, 10.0.0.0/27 a",
        "10.0.0.0/24 a, 10.0.0.64/26 b, 10.0.0.64/27 a, 10.0.0.0/26 a",
        6,
    )
    assert steps(found) == [
        "replace 10.0.0.0/24 a",
        "create 10.0.0.64/27 a",
        "create 10.0.0.64/26 b",
        "replace 10.0.0.0/26 a",
        "delete 10.0.0.0/27",
    ]


def test_without_room_a_cover_takes_over_and_a_create_follows_each_delete() -> None:
    found = change(
        "10.0.0.0/24 a, 10.0.0.0/27 b, 10.0.0.64/27 b",
        "10.0.0.0/24 a, 10.0.0.0/26 a, 10.0.0.64/26 b",
        3,
    )
    assert [step.action for step in found.steps] == [
        Action.DELETE,
        Action.CREATE,
        Action.DELETE,
        Action.CREATE,
    ]


def test_what_serves_nothing_goes_first() -> None:
    found = change(
        "10.0.0.0/24 a, 10.0.0.64/26 b, 10.9.0.0/24 a, 10.0.0.0/27 gone",
        "10.0.0.0/24 a, 10.0.0.0/26 b, 10.0.0.128/26 own",
        4,
    )
    assert set(steps(found)[:2]) == {"delete 10.0.0.0/27", "delete 10.9.0.0/24"}
    assert steps(found)[-1] == "delete 10.0.0.64/26"
    assert len(found.steps) == 5


def test_a_cover_that_may_not_forward_is_replaced_first_where_the_target_does() -> None:
    found = change("10.0.0.0/24 own, 10.0.0.0/25 a", "10.0.0.0/24 b, 10.0.0.64/26 b", 2)
    assert steps(found) == [
        "replace 10.0.0.0/24 b",
        "delete 10.0.0.0/25",
        "create 10.0.0.64/26 b",
    ]


def test_another_node_takes_a_cover_over_for_a_while_as_a_last_resort() -> None:
    found = change(
        "10.0.0.0/24 own, 10.0.0.0/25 a",
        "10.0.0.0/24 own, 10.0.0.0/26 a, 10.0.0.64/26 b",
        3,
    )
    assert steps(found) == [
        "create 10.0.0.64/26 b",
        "replace 10.0.0.0/24 a",
        "delete 10.0.0.0/25",
        "create 10.0.0.0/26 a",
        "replace 10.0.0.0/24 own",
    ]
    assert found.steps[1].reason == "a takes over for a while, to make room with 10.0.0.0/25"


def test_the_last_room_is_kept_for_a_cover_without_which_nothing_can_go() -> None:
    found = change(
        "10.0.0.0/25 a, 10.0.0.128/25 a, 10.0.1.0/24 c",
        "10.0.0.0/24 a, 10.0.0.0/26 b, 10.0.1.0/24 c",
        4,
    )
    assert steps(found)[0] == "create 10.0.0.0/24 a"
    assert len(found.steps) == 4


def test_an_entry_of_the_target_goes_for_a_while_where_nothing_else_makes_room() -> None:
    found = change(
        "10.0.0.0/25 a, 10.0.0.128/25 a, 10.0.1.0/24 c, 10.0.1.0/26 c",
        "10.0.0.0/24 a, 10.0.1.0/24 c, 10.0.1.0/26 c",
        4,
    )
    assert steps(found) == [
        "delete 10.0.1.0/26",
        "create 10.0.0.0/24 a",
        "delete 10.0.0.0/25",
        "create 10.0.1.0/26 c",
        "delete 10.0.0.128/25",
    ]
    assert found.steps[0].reason == "for a while, to make room: its cover 10.0.1.0/24 takes over"


def test_over_its_limit_a_table_only_shrinks() -> None:
    found = change(
        "10.0.0.0/24 ill, 10.0.0.0/26 a, 10.0.0.64/26 b, 10.0.0.128/26 own, 10.0.0.0/27 b",
        "10.0.0.0/24 b, 10.0.0.128/27 own",
        3,
    )
    assert not found.blocked
    assert found.steps[0].action is Action.DELETE


def test_what_has_no_hitless_way_is_left_out_with_what_it_takes() -> None:
    found = change(
        "10.0.0.0/25 a, 10.0.0.128/25 a, 10.0.1.0/24 ill", "10.0.0.0/24 a, 10.0.1.0/24 c", 3
    )
    assert steps(found) == ["replace 10.0.1.0/24 c"]
    assert found.blocked[0] == (
        "t1: no hitless create of 10.0.0.0/24, the table is full (3 of 3 entries): "
        "raise the limit of ipv4 entries by 1"
    )
    assert [line.split(",")[0] for line in found.blocked] == [
        "t1: no hitless create of 10.0.0.0/24",
        "t1: no hitless delete of 10.0.0.0/25",
        "t1: no hitless delete of 10.0.0.128/25",
    ]


def test_a_target_that_serves_less_is_not_gone_to() -> None:
    found = change("10.0.0.0/24 a, 10.0.1.0/24 c", "10.0.1.0/24 c", 9)
    assert found.blocked == (
        "t1: no hitless delete of 10.0.0.0/24, 10.0.0.0-10.0.0.255 of subnet s1 would be "
        "unreachable instead of served: no limit would help: let the plan serve them",
    )
    assert not found.steps


@pytest.mark.parametrize(
    ("present", "target", "reasons"),
    [
        ("", "10.0.0.0/24 a", ["cover of subnet s1"]),
        ("10.0.0.0/24 a", "10.0.0.0/24 a, 10.0.0.128/26 own", ["own's own blocks"]),
        ("10.0.0.0/24 a", "10.0.0.0/24 a, 10.0.0.0/25 b", ["new group of 2 blocks through b"]),
        ("10.0.0.0/24 ill", "10.0.0.0/24 a", ["ill is not healthy"]),
        ("10.0.0.0/24 gone", "10.0.0.0/24 a", ["stale: interface gone is no node's"]),
        ("10.0.0.0/24 c", "10.0.0.0/24 a", ["c is not in subnet s1"]),
        ("10.0.0.0/24 own", "10.0.0.0/24 a", ["own does not forward"]),
        ("10.0.0.0/24 b", "10.0.0.0/24 a", ["a takes over from b"]),
        ("10.0.0.0/24 a, 10.0.0.0/26 b", "10.0.0.0/24 a", ["merged into its cover 10.0.0.0/24"]),
        ("10.0.0.0/24 a, 10.9.0.0/26 b", "10.0.0.0/24 a", ["no subnet has blocks there"]),
        (
            "10.0.0.0/24 a",
            "10.0.0.0/25 a, 10.0.0.128/25 a",
            [
                "new group of 2 blocks through a",
                "new group of 1 blocks through a",
                "more specific entries take over",
            ],
        ),
    ],
)
def test_every_step_says_why(present: str, target: str, reasons: list[str]) -> None:
    assert [step.reason for step in change(present, target, 9).steps] == reasons


def test_a_node_gives_before_it_takes() -> None:
    found = change(
        "10.0.0.0/25 a, 10.0.0.128/25 b",
        "10.0.0.0/25 b, 10.0.0.128/25 d",
        2,
        [*NODES, Node("d", "s1", "d", {})],
    )
    assert steps(found) == ["replace 10.0.0.128/25 d", "replace 10.0.0.0/25 b"]


def test_families_are_counted_apart() -> None:
    v6 = p("fd00::/64")
    table = RouteTable("t1", {V4: 1, Family.IPV6: 1}, {}, entries=tuple(entries("10.0.0.0/24 a")))
    snap = snapshot(
        [Subnet("s1", "z", "t1", (p("10.0.0.0/24"), v6))],
        [NODES[0], NODES[1]],
        [Block(p("10.0.0.0/26"), "a"), Block(p("fd00::/80"), "b")],
        [table],
    )
    wanted = [Entry(p("10.0.0.0/24"), "b"), Entry(v6, "a")]
    found = transition(snap, table, wanted)
    assert not found.blocked
    assert [step.action for step in found.steps] == [Action.REPLACE, Action.CREATE]


def test_a_destination_of_a_foreign_entry_is_never_touched() -> None:
    table = RouteTable("t1", {V4: 9}, {}, foreign=(p("10.0.0.0/24"),))
    snap = snapshot(SUBNETS, NODES, BLOCKS, [table])
    found = transition(snap, table, entries("10.0.0.0/24 a, 10.0.1.0/24 c"))
    assert steps(found) == ["create 10.0.1.0/24 c"]
    assert found.blocked == (
        "t1: 10.0.0.0/24 cannot be ours, it is the destination of a foreign entry: remove that",
    )


# Load on the way.


def grown(random: Random, count: int, size: int) -> tuple[Snapshot, RouteTable, list[Entry]]:
    """A full table of that size over so many nodes, and a quite different target."""
    tree = p("10.0.0.0/8")
    nodes = [Node(f"n{number}", "s1", f"n{number}", {}) for number in range(count)]
    leaves = [Prefix(V4, tree.value + 64 * number, 26) for number in range(count)]
    blocks = [Block(leaf, f"n{i}", random.random()) for i, leaf in enumerate(leaves)]

    def some() -> list[Entry]:
        found = {tree: random.choice(nodes).interface}
        while len(found) < size:
            cut = random.choice(leaves).ancestor(random.randint(14, 26))
            found[cut] = random.choice(nodes).interface
        return [Entry(*item) for item in found.items()]

    table = RouteTable("t1", {V4: size}, {V4: size}, entries=tuple(some()))
    return snapshot([Subnet("s1", "z", "t1", (tree,))], nodes, blocks, [table]), table, some()


def largest_load(ground: Ground, state: TableState) -> float:
    loads = [0.0] * len(ground.nodes)
    destinations, owners = state.destinations[V4], ground.owners[V4]
    for destination in destinations:
        node = ground.node(state.interface(destination))
        assert node is not None
        for first, last in destinations.piece(destination):
            rows = owners.rows(first, last)
            loads[node] += owners.weight(rows) - owners.weight_owned(rows, node)
    return max(loads)


def passing(snap: Snapshot, table: RouteTable, target: list[Entry]) -> float:
    """The largest load on the way over the larger of those before and after."""
    found = transition(snap, table, target)
    assert not found.blocked
    present, wanted = held(table.entries), held(target)
    different = [d for d in present | wanted if present.get(d) != wanted.get(d)]
    assert len(found.steps) == len(different)
    ground, state = Ground.physical(snap), TableState(table.entries, ())
    loads = [largest_load(ground, state)]
    for step in found.steps:
        state.apply(step)
        loads.append(largest_load(ground, state))
    return max(loads) / max(loads[0], loads[-1])


def test_the_load_on_the_way_is_hardly_more_than_before_and_after(seed: int) -> None:
    random = Random(seed)
    ratios = [passing(*grown(random, 300, 30)) for _ in range(12)]
    assert fmean(ratios) < 1.1
