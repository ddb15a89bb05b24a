"""What goes wrong while a plan is applied stays with its entry or its table, and is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from ipam.errors import ConflictError, UnavailableError
from ipam.prefix import Family, Prefix
from tests.arena import PROMPT, Arena, Incident
from tests.tables import held
from vpcrouter.config import Ceiling
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.port import NetworkInterface, TableGoneError, ThrottledError
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Step, Subnet, snapshot
from vpcrouter.ownership import ROUTES, RouteRecord, Stage, route_key
from vpcrouter.service import Failed, Made, Removal, removals
from vpcrouter.service.memory import SECONDS, Memory

TREE = Prefix.parse("100.64.0.0/16")
LEAVES = [Prefix(TREE.family, TREE.value + 256 * number, 24) for number in range(40)]
COVER = Entry(TREE, "eni-0")


def leaf(number: int) -> Entry:
    return Entry(LEAVES[number], f"eni-{number}")


def cluster(*entries: Entry, limit: int = 60) -> Snapshot:
    """One subnet whose tables t1 and t2 hold these entries, a node and a block for each leaf."""
    nodes = [Node(f"n{number}", "s1", f"eni-{number}", {}) for number in range(len(LEAVES))]
    tables = [
        RouteTable(name, {Family.IPV4: limit}, {Family.IPV4: limit}, entries=tuple(entries))
        for name in ("t1", "t2")
    ]
    return snapshot(
        [Subnet("s1", "a", "t1", (TREE,)), Subnet("s2", "a", "t2", ())],
        nodes,
        [Block(prefix, node.name) for prefix, node in zip(LEAVES, nodes, strict=True)],
        tables,
    )


def arena(
    snap: Snapshot, *target: Entry, behaviour: Behaviour = PROMPT, other: Sequence[Entry] = ()
) -> Arena:
    """These tables, the target of t1, and that of t2 (the same unless said)."""
    return Arena(snap, {"t1": target, "t2": other or target}, behaviour)


def places(failed: Sequence[Failed]) -> list[tuple[str, str, str]]:
    return [(f.table, str(f.destination or ""), f.code) for f in failed]


def test_a_refused_entry_does_not_stop_the_others() -> None:
    vpc = arena(cluster(), COVER, leaf(1), leaf(2), leaf(3))
    vpc.vpc.remove_interface("eni-2")
    end = vpc.run()
    code = "InvalidNetworkInterfaceID.NotFound"
    assert places(end.failed) == [("t1", "100.64.2.0/24", code), ("t2", "100.64.2.0/24", code)]
    assert str(end.failed[0]) == (
        "CreateRoute refused: The networkInterface ID 'eni-2' does not exist "
        "(InvalidNetworkInterfaceID.NotFound): the node is going: run apply again once it is gone"
    )
    assert end.made == 6
    assert not end.is_settled
    assert route_key("t1", LEAVES[2]) not in {item.key for item in vpc.store.range(ROUTES).items}


def test_steps_that_rest_on_a_refused_one_are_not_sent() -> None:
    halves = [Entry(half, "eni-0") for half in TREE.halves()]
    vpc = arena(cluster(*halves), COVER)

    def no_interface(table: str, step: Step) -> None:
        if table == "t1" and step.destination == TREE:
            vpc.vpc.remove_interface("eni-0")

    vpc.refuse = no_interface
    end = vpc.run()
    texts = [str(failure) for failure in end.failed if failure.destination != TREE]
    assert all("not sent: 100.64" in text and "see to what failed" in text for text in texts)
    assert len(texts) == 4
    assert end.made == 0


def test_a_table_that_is_gone_does_not_stop_the_others() -> None:
    vpc = arena(cluster(), COVER, leaf(1))

    def refuse(table: str, step: Step) -> None:
        if table == "t1":
            place = f"{table} {step.destination}"
            raise TableGoneError("InvalidRouteTableID.NotFound", f"{place}: no such table")

    vpc.refuse = refuse
    end = vpc.run()
    assert places(end.failed) == [("t1", "", "InvalidRouteTableID.NotFound")]
    assert end.made == 2
    assert not vpc.rows("t1")


def test_a_row_that_somebody_else_makes_meanwhile_is_theirs() -> None:
    vpc = arena(cluster(), COVER, leaf(1), other=[COVER])

    def meddle(table: str, step: Step) -> None:
        if (table, step.destination) == ("t1", LEAVES[1]):
            vpc.refuse = lambda *_: None
            vpc.vpc.create_route("t1", str(LEAVES[1]), "eni-9")

    vpc.refuse = meddle
    end = vpc.run()
    assert vpc.rows("t1") == {TREE: "eni-0", LEAVES[1]: "eni-9"}
    assert {table.id: table.foreign for table in vpc.observe()} == {"t1": (LEAVES[1],), "t2": ()}
    assert end.made == 2
    assert ("t1", LEAVES[1]) not in vpc.records()


def test_a_row_of_ours_that_somebody_else_changes_meanwhile_is_put_right() -> None:
    vpc = arena(cluster(COVER), structs.replace(COVER, interface="eni-1"), other=[COVER])

    def meddle(table: str, step: Step) -> None:
        if table == "t1":
            vpc.refuse = lambda *_: None
            vpc.vpc.replace_route("t1", str(step.destination), "eni-9")

    vpc.refuse = meddle
    assert vpc.run().is_settled
    vpc.check_settled()


def test_a_table_that_fills_up_meanwhile_takes_no_more_creates_but_other_changes() -> None:
    target = [structs.replace(COVER, interface="eni-9"), leaf(1), leaf(2), leaf(3)]
    vpc = arena(cluster(COVER, leaf(4), limit=5), *target, other=[COVER])
    others = [Prefix.parse("10.98.0.0/16"), Prefix.parse("10.99.0.0/16")]

    def fill(table: str, _: Step) -> None:
        if table == "t1":
            vpc.refuse = lambda *_: None
            for prefix in others:
                vpc.vpc.create_route("t1", str(prefix), "eni-9")

    vpc.refuse = fill
    reports = vpc.reports(vpc.router())
    failed = [one for one in reports if isinstance(one, Failed)]
    assert [one.code for one in failed[:2]] == ["RouteLimitExceeded", ""]
    assert str(failed[1]) == "not created: the table is full: raise its quota"
    ours = {d: i for d, i in vpc.rows("t1").items() if d not in others}
    assert ours[TREE] == "eni-9"
    assert len(ours) == 3  # what its limit leaves is taken by the target's
    assert held(target).items() >= ours.items()


def test_throttling_is_waited_out() -> None:
    target = [COVER, *(leaf(number) for number in range(1, 31))]
    vpc = arena(cluster(), *target, behaviour=Behaviour(bucket=5, refill=5.0))
    assert vpc.run().is_settled
    vpc.check_settled()
    assert vpc.clock.now() == pytest.approx((2 * 31 - 5) / 5, rel=0.1)


def test_throttling_without_end_ends_the_run_and_leaves_no_intent() -> None:
    vpc = arena(cluster(), COVER, leaf(1))

    def refuse(table: str, step: Step) -> None:
        if step.destination == TREE:
            raise ThrottledError("RequestLimitExceeded", f"{table}: too many calls", 0.2)

    vpc.refuse = refuse
    with pytest.raises(UnavailableError, match="other tools use up the account's calls"):
        vpc.run()
    assert {record.stage for record in vpc.records().values()} == {Stage.DONE}
    vpc.refuse = lambda *_: None
    assert vpc.run().is_settled
    vpc.check_settled()


def test_a_store_that_fails_ends_the_run_and_the_next_one_goes_on() -> None:
    whole = arena(cluster(), COVER, leaf(1))
    whole.run()
    for moment in range(whole.crash.passed):
        vpc = arena(cluster(), COVER, leaf(1))
        vpc.crash = Incident(moment, lambda: UnavailableError("store: disk full"))
        with pytest.raises(UnavailableError):
            vpc.run()
        vpc.crash = Incident()
        assert vpc.run().is_settled
        vpc.check_settled()


def test_two_services_at_once_are_noticed() -> None:
    vpc = arena(cluster(), COVER, leaf(1))

    def second(table: str, step: Step) -> None:
        if table == "t2":
            vpc.refuse = lambda *_: None
            vpc.own(table, Entry(step.destination, "eni-7"))

    vpc.refuse = second
    with pytest.raises(ConflictError, match="let only one service change the tables"):
        vpc.run()


def test_a_pass_that_would_remove_much_asks_first() -> None:
    entries = [COVER, *(leaf(number) for number in range(1, 21))]
    asked: list[Removal] = []

    def answer(*, yes: bool) -> Arena:
        vpc = arena(cluster(*entries), COVER, other=entries)

        def confirm(much: Sequence[Removal]) -> bool:
            asked.extend(much)
            return yes

        end = vpc.run(confirm=confirm)
        assert end.is_settled == yes
        return vpc

    assert not answer(yes=False).sent
    assert [str(removal) for removal in asked] == ["t1: 20 of 21 entries would be deleted"]
    answer(yes=True).check_settled()


@pytest.mark.parametrize(
    ("ceiling", "refused"),
    [
        (Ceiling(share=0.5, few=20), False),
        (Ceiling(share=1.0, few=0), False),
        (Ceiling(share=0.9, few=19), True),
        (Ceiling(share=0.0, few=19), True),
        (Ceiling(share=0.0, few=20), False),
    ],
)
def test_how_much_may_go_without_asking_can_be_said(ceiling: Ceiling, refused: bool) -> None:
    entries = [COVER, *(leaf(number) for number in range(1, 21))]
    vpc = arena(cluster(*entries), COVER, other=entries)
    view = replace(vpc.snapshot, route_tables=tuple(vpc.observe()))
    assert bool(removals(view, vpc.plan(view), ceiling)) is refused


def test_filling_a_table_and_small_changes_ask_nothing() -> None:
    def never(much: Sequence[Removal]) -> bool:
        raise AssertionError(much)

    entries = [COVER, *(leaf(number) for number in range(1, 21))]
    assert arena(cluster(), *entries).run(confirm=never).is_settled
    assert arena(cluster(*entries), *entries[:11]).run(confirm=never).is_settled
    assert arena(cluster(*entries[:11]), COVER).run(confirm=never).is_settled


def test_intents_of_calls_that_were_never_sent_are_dropped() -> None:
    vpc = arena(cluster(COVER), COVER)
    for record in (
        RouteRecord("t1", LEAVES[1], "eni-1", None, Stage.INTENT),
        RouteRecord("t1", LEAVES[2], "eni-2", "eni-1", Stage.INTENT),
        RouteRecord("t1", LEAVES[3], None, "eni-3", Stage.INTENT),
        RouteRecord("t1", LEAVES[4], "eni-4", None, Stage.DONE),
        RouteRecord("t1", TREE, "eni-5", "eni-0", Stage.INTENT),
        RouteRecord("t2", TREE, None, "eni-0", Stage.INTENT),
    ):
        vpc.put(record)
    assert vpc.run().is_settled
    vpc.check_settled()


@pytest.mark.parametrize("nodes", [len(LEAVES), 0])
def test_what_an_old_read_does_not_show_is_kept_where_it_may_be_needed(nodes: int) -> None:
    snap = cluster()
    if not nodes:
        snap = snapshot(snap.subnets, [], [], snap.route_tables)
    vpc = arena(snap, behaviour=Behaviour(lag=30.0))
    vpc.vpc._interfaces["eni-0"] = NetworkInterface(
        "eni-0", "s1", {}, "i-n0", 0, source_dest_check=False
    )
    vpc.vpc.create_route("t1", str(TREE), "eni-0")
    vpc.own("t1", COVER)
    assert not vpc.observe()[0].entries
    assert vpc.run().made == 0
    assert vpc.rows("t1") == {TREE: "eni-0"}
    assert ("t1", TREE) in vpc.records()


def test_changes_are_remembered_for_as_long_as_a_read_may_be_older() -> None:
    clock = SimulatedClock()
    memory = Memory(clock)
    table = cluster(COVER, leaf(1)).route_tables[0]
    memory.note("t1", LEAVES[1], ["eni-1"], None)
    memory.note("t1", LEAVES[2], [None], "eni-2")
    memory.note("t1", LEAVES[3], [None], "eni-3")
    memory.note("t2", LEAVES[4], [None], "eni-4")
    theirs = replace(table, foreign=(LEAVES[3],))
    assert memory.correct([theirs])[0].entries == (COVER, leaf(2))
    shown = replace(table, entries=(COVER, leaf(2)))
    assert memory.correct([shown])[0].entries == (COVER, leaf(2))
    assert memory.correct([table])[0].entries == (COVER, leaf(2)), "an older read, after all"
    somebody = replace(table, entries=(COVER, Entry(LEAVES[2], "eni-9")))
    assert memory.correct([somebody])[0].entries == somebody.entries
    assert memory.correct([table])[0].entries == (COVER,)
    clock.sleep(SECONDS + 1)
    assert memory.correct([table])[0].entries == (COVER, leaf(1))


def test_a_row_that_stands_where_an_intent_was_left_is_not_ours_if_it_leads_elsewhere() -> None:
    vpc = arena(cluster(COVER), COVER)
    vpc.put(RouteRecord("t1", LEAVES[1], "eni-1", None, Stage.INTENT))
    vpc.vpc.create_route("t1", str(LEAVES[1]), "eni-9")
    vpc.run()
    assert vpc.rows("t1") == {TREE: "eni-0", LEAVES[1]: "eni-9"}
    assert ("t1", LEAVES[1]) not in vpc.records()


def test_steps_are_reported_as_they_are_made() -> None:
    vpc = arena(cluster(), COVER, leaf(1), other=[COVER])
    made = [one for one in vpc.reports(vpc.router()) if isinstance(one, Made)]
    assert [(one.table, str(one.step.destination), one.number) for one in made] == [
        ("t1", "100.64.1.0/24", 1),
        ("t2", "100.64.0.0/16", 2),
        ("t1", "100.64.0.0/16", 3),
    ]
