"""The loop: what makes it look, what it does then, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ipam.errors import UnavailableError
from ipam.prefix import Prefix
from tests.sites import Site, events_of
from tests.test_cluster import CLUSTER, NAMES
from tests.vpcs import vpc_document
from vpcrouter.config import CEILING, Ceiling
from vpcrouter.fabric.port import InstanceState, TableGoneError, UnknownOutcomeError
from vpcrouter.fabric.simulated import NoFaults
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.model import Plan, Snapshot, Step
from vpcrouter.ownership import CHECKS
from vpcrouter.planner import plan
from vpcrouter.reconcile import Ended, Held, Lost, NodeListChanges, Timing, Urgency
from vpcrouter.reconcile.alarm import Alarm
from vpcrouter.service import Made, Switch

POD = "100.64.0.0/16"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, NAMES)


def settled(site: Site) -> bool:
    """Whether the tables are as a plan from what there is wants them."""
    view = site.cluster().planned()
    wanted = plan(view.snapshot, 0.0)
    return bool(view.snapshot.nodes) and not any(table.steps for table in wanted.tables)


def looks(site: Site) -> list[float]:
    return [second for second, event in events_of(site.log, Ended) if not event.halted]


def test_it_brings_a_cluster_to_where_the_plan_wants_it_and_then_rests(site: Site) -> None:
    site.run(site.loop(), 200)
    assert settled(site)
    assert not [i for i in site.vpc.describe().interfaces if i.id[-1] in "012" and _on(site, i.id)]
    # One look that made the steps and one right after it, then one a minute.
    assert [round(second) for second in looks(site)] == [0, 0, 60, 120, 180]


def _on(site: Site, interface: str) -> bool:
    return next(i.source_dest_check for i in site.vpc.describe().interfaces if i.id == interface)


def test_tables_are_changed_side_by_side(site: Site) -> None:
    site.run(site.loop(), 1)
    made = [event.table for _, event in events_of(site.log, Made)]
    assert made[:4] == ["rtb-a", "rtb-b", "rtb-a", "rtb-b"]


def test_a_failure_is_acted_on_at_once_and_a_change_once_it_is_quiet(site: Site) -> None:
    site.nodes(NAMES[:5])
    loop = site.loop()
    site.run(loop, 10)
    for second in range(20, 24):  # more is heard of all the time
        site.at[float(second)] = lambda: site.nodes(NAMES)
    site.at[40.0] = lambda: site.nodes(NAMES, "a0")
    site.run(loop, 40)
    seconds = [round(second, 1) for second in looks(site) if second > 11]
    assert 25 <= seconds[0] < 26  # two quiet seconds after the last change
    assert 40 <= min(second for second in seconds if second > 30) < 41
    assert settled(site)


def test_a_failure_cuts_through_a_long_pass(tmp_path: Path) -> None:
    site = Site(tmp_path, NAMES, behaviour=Behaviour(bucket=1, refill=0.2))
    loop = site.loop()
    site.at[10.0] = lambda: site.nodes(NAMES, "a0")
    site.run(loop, 300)
    halted = [second for second, event in events_of(site.log, Ended) if event.halted]
    assert halted
    assert 10 <= halted[0] < 11
    assert settled(site)
    assert all("eni-a0" not in rows.values() for rows in site.tables().values())


def test_what_others_change_is_put_right_within_a_minute(site: Site) -> None:
    loop = site.loop()
    site.run(loop, 130)  # until no read can be from before
    before = site.tables()
    destination, interface = next(iter(before["rtb-a"].items()))
    site.vpc.delete_route("rtb-a", destination)
    site.vpc.replace_route("rtb-b", destination, "eni-free")
    site.run(loop, 65)
    assert site.tables() == before
    site.vpc.delete_route("rtb-a", destination)
    site.vpc.create_route("rtb-a", destination, "eni-free")
    site.run(loop, 185)
    assert site.tables()["rtb-a"][destination] == interface


def test_a_check_that_somebody_switches_on_again_is_switched_off_again(site: Site) -> None:
    loop = site.loop()
    site.run(loop, 30)
    site.vpc.modify_source_dest_check("eni-a0", on=True)
    site.vpc.modify_source_dest_check("eni-free", on=True)
    site.run(loop, 65)
    assert not _on(site, "eni-a0")
    assert _on(site, "eni-free")


def test_a_check_is_switched_on_again_only_where_it_was_switched_off_here(tmp_path: Path) -> None:
    document = vpc_document()
    document["NetworkInterfaces"][1]["SourceDestCheck"] = False
    site = Site(tmp_path, NAMES, document)
    loop = site.loop()
    site.run(loop, 30)
    for name in ("i-a0", "i-a1"):
        site.vpc.put_instance(name, InstanceState.TERMINATED)
    site.nodes(NAMES[2:])
    site.run(loop, 100)
    assert _on(site, "eni-a0")
    assert not _on(site, "eni-a1")
    assert {item.key for item in site.store.range(CHECKS).items} == {
        f"{CHECKS}eni-{name}" for name in NAMES[2:]
    }


def test_no_entry_leads_to_a_node_before_its_check_is_off(site: Site) -> None:
    site.run(site.loop(), 5)
    order = [event for _, event in site.log if isinstance(event, Made | Switch)]
    off: set[str] = set()
    for event in order:
        if isinstance(event, Switch):
            off.add(event.interface)
        else:
            assert event.step.interface in off


# Shutting down.


def test_it_ends_between_two_steps_and_the_next_one_goes_on(tmp_path: Path) -> None:
    whole = Site(tmp_path, NAMES)
    whole.run(whole.loop(), 5)
    steps = len(list(events_of(whole.log, Made)))
    assert steps > 4
    for number in range(steps):
        folder = tmp_path / str(number)
        folder.mkdir()
        site = Site(folder, NAMES)
        made = stopped_after(site, number)
        assert number < made <= number + 2  # one call may be under way in each table
        intents = [r for r in site.cluster().records().values() if r.stage.value == "intent"]
        assert not intents
        site.run(site.loop(), 5)
        assert site.tables() == whole.tables()


def stopped_after(site: Site, number: int) -> int:
    """Stop it once more than so many steps are made; how many there were."""
    made: list[Made] = []
    loop = site.loop().run(lambda: len(made) > number)
    for event in loop:
        made.extend(one for one in [event] if isinstance(one, Made))
    return len(made)


# Nothing is changed while something is missing.


@pytest.mark.parametrize("content", ["", "{", '{"kind": "List"}', '{"kind": "Pod", "items": []}'])
def test_a_node_list_that_cannot_be_read_changes_nothing(site: Site, content: str) -> None:
    loop = site.loop()
    site.run(loop, 30)
    before = site.tables()
    (site.folder / "nodes.json").write_text(content)
    site.run(loop, 120)
    assert site.tables() == before
    lost = [event for _, event in events_of(site.log, Lost)]
    assert "nodes.json" in lost[0].problem
    assert [event.seconds for event in lost] == sorted(event.seconds for event in lost)
    site.nodes(NAMES, "a0")
    site.run(loop, 10)
    assert settled(site)


@pytest.mark.parametrize("left", [0, 2])
def test_a_node_list_that_has_shrunk_changes_nothing(tmp_path: Path, left: int) -> None:
    document = vpc_document()
    names = _many(document, 18)
    site = Site(tmp_path, names, document)
    loop = site.loop()
    site.run(loop, 30)
    before = site.tables()
    site.nodes(names[:left])
    site.run(loop, 120)
    assert site.tables() == before
    held = [event for _, event in events_of(site.log, Held)]
    assert f"lacks {18 - left} of 18 nodes" in held[0].problem
    site.nodes(names)
    site.run(loop, 5)
    assert site.tables() == before


@pytest.mark.parametrize(
    ("ceiling", "done"),
    [(CEILING, False), (Ceiling(share=0.0, few=0), False), (Ceiling(share=1.0, few=0), True)],
)
def test_what_would_remove_much_is_not_done(tmp_path: Path, ceiling: Ceiling, done: bool) -> None:
    document = vpc_document()
    names = _many(document, 18)
    document["Quotas"][0]["Value"] = 60.0
    site = Site(tmp_path, names, document)
    site.run(site.loop(), 100)
    before = site.tables()
    assert len(before["rtb-a"]) > 15

    def few(snapshot: Snapshot) -> Plan:
        small = [replace(t, budget=dict.fromkeys(t.budget, 3)) for t in snapshot.route_tables]
        return plan(replace(snapshot, route_tables=tuple(small)), 0.0)

    loop = site.loop(few, ceiling)
    site.run(loop, 100)
    assert (site.tables() != before) is done
    held = [event.problem for _, event in events_of(site.log, Held)]
    assert any("would be deleted" in problem for problem in held) is not done


def _many(document: dict[str, list[dict[str, object]]], count: int) -> list[str]:
    """That many nodes, in both subnets, instead of six."""
    document["NetworkInterfaces"] = document["NetworkInterfaces"][-1:]
    document["Reservations"] = []
    names = [f"{'ab'[number % 2]}{number // 2}" for number in range(count)]
    for name in names:
        third = {"a": 0, "b": 16}[name[0]]
        document["NetworkInterfaces"].append(
            {
                "NetworkInterfaceId": f"eni-{name}",
                "SubnetId": f"subnet-{name[0]}",
                "VpcId": "vpc-1",
                "PrivateIpAddress": f"10.0.{third}.{int(name[1:]) + 4}",
                "SourceDestCheck": True,
                "Attachment": {"InstanceId": f"i-{name}", "DeviceIndex": 0, "Status": "attached"},
            }
        )
        instance = {"InstanceId": f"i-{name}", "State": {"Name": "running"}}
        document["Reservations"].append({"Instances": [instance]})
    return names


class Broken(NoFaults):
    """Reads, or changes of one table or entry, that go wrong until they are mended."""

    def __init__(self) -> None:
        self.read: Exception | None = None
        self.change: Callable[[str, Step], Exception | None] = lambda _table, _step: None
        self.sent: list[tuple[str, Step]] = []

    def before_read(self) -> None:
        if self.read is not None:
            raise self.read

    def before(self, table: str, step: Step) -> None:
        self.sent.append((table, step))
        error = self.change(table, step)
        if error is not None:
            raise error


def test_a_cloud_that_does_not_answer_changes_nothing_and_is_asked_ever_less(
    tmp_path: Path,
) -> None:
    faults = Broken()
    site = Site(tmp_path, NAMES, faults=faults)
    loop = site.loop()
    site.run(loop, 30)
    before = site.tables()
    faults.read = UnavailableError("AWS does not answer")
    site.nodes(NAMES, "a0")
    site.run(loop, 600)
    assert site.tables() == before
    waits = [event.seconds for _, event in events_of(site.log, Lost)]
    assert waits[:5] == [5, 10, 20, 40, 60]
    faults.read = None
    site.run(loop, 65)
    assert settled(site)


def test_errors_are_kept_by_entry_and_table_and_stop_nothing_else(tmp_path: Path) -> None:
    faults = Broken()
    site = Site(tmp_path, NAMES, faults=faults)
    faults.change = lambda table, step: (
        TableGoneError("InvalidRouteTableID.NotFound", f"{table} {step.destination}: gone")
        if table == "rtb-b"
        else None
    )
    loop = site.loop()
    site.run(loop, 200)
    assert list(loop.failed) == [("rtb-b", None)]
    failure = loop.failed["rtb-b", None]
    assert (failure.code, failure.remedy) == (
        "InvalidRouteTableID.NotFound",
        "check which table the subnet uses",
    )
    assert site.tables()["rtb-a"]
    assert not site.tables()["rtb-b"]
    faults.change = lambda _table, _step: None
    site.run(loop, 65)
    assert loop.failed == {}
    assert settled(site)


def test_one_entry_in_doubt_holds_back_only_what_shares_addresses_with_it(tmp_path: Path) -> None:
    faults = Broken()
    site = Site(tmp_path, NAMES, faults=faults)
    view = site.cluster().planned()
    doubtful = plan(view.snapshot, 0.0).tables[0].steps[0].destination

    def lose(table: str, step: Step) -> Exception | None:
        if table == "rtb-a" and step.destination == doubtful:
            return UnknownOutcomeError("InternalError", "lost")
        return None

    faults.change = lose
    loop = site.loop()
    site.run(loop, 60)
    assert ("rtb-a", doubtful) in loop.failed
    others = {Prefix.parse(text) for text in site.tables()["rtb-b"]}
    made = {Prefix.parse(text) for text in site.tables()["rtb-a"]}
    assert made == {prefix for prefix in others if not prefix.overlaps(doubtful)}
    assert made
    faults.change = lambda _table, _step: None
    site.run(loop, 200)
    assert settled(site)


def test_somebody_who_works_against_it_is_not_fought_at_full_speed(tmp_path: Path) -> None:
    faults = Broken()
    site = Site(tmp_path, NAMES, faults=faults, behaviour=Behaviour(bucket=100_000))
    loop = site.loop()
    site.run(loop, 30)
    destination = next(iter(site.tables()["rtb-a"]))

    def undo(table: str, step: Step) -> None:
        if table == "rtb-a" and str(step.destination) == destination:
            site.vpc.replace_route(table, destination, "eni-free")

    faults.after = undo  # type: ignore[method-assign]
    site.vpc.replace_route("rtb-a", destination, "eni-free")
    faults.sent.clear()
    site.run(loop, 3600)
    assert 10 < len(faults.sent) < 120
    assert all(str(step.destination) == destination for _, step in faults.sent)


def test_two_clusters_in_one_table_do_not_see_each_other(tmp_path: Path) -> None:
    first = Site(tmp_path, [*NAMES[:2], *NAMES[3:5]])
    loop = first.loop()
    first.run(loop, 30)
    before = first.tables()
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    text = CLUSTER.replace("100.64.0.0/16", "100.80.0.0/16").replace(
        "cluster: test", "cluster: other"
    )
    second = Site(other_folder, [NAMES[2], NAMES[5]], text=text, clock=first.clock)
    second.vpc = first.vpc
    other_loop = second.loop()
    second.run(other_loop, 30)
    view = second.cluster().present()
    theirs = Prefix.parse(POD)
    for table in view.snapshot.route_tables:
        assert table.entries
        assert not any(theirs.contains(entry.destination) for entry in table.entries)
    assert first.tables() == before
    for instance in ("i-a2", "i-b2"):
        first.vpc.put_instance(instance, InstanceState.TERMINATED)
    second.nodes([])
    second.run(other_loop, 300)
    first.run(loop, 300)
    assert first.tables() == before
    assert loop.failed == {}


# When it looks.


def test_an_alarm_waits_for_quiet_but_not_for_ever() -> None:
    alarm = Alarm(Timing())
    assert not alarm.is_due(0.0)
    for second in range(10):
        alarm.ring(Urgency.CHANGE, float(second))
        alarm.ring(Urgency.NOTHING, float(second))
        assert not alarm.is_due(second + 0.9)
    assert alarm.is_due(10.0)
    alarm.clear()
    assert not alarm.is_due(20.0)
    alarm.ring(Urgency.FAILURE, 21.0)
    assert alarm.is_due(21.0)
    assert alarm.is_urgent


def test_failures_are_told_from_changes_in_a_node_list(site: Site) -> None:
    changes = NodeListChanges(site.folder / "nodes.json")
    assert changes.poll() is Urgency.NOTHING
    for broken, names, urgency in (
        (("a0",), NAMES, Urgency.FAILURE),
        ((), NAMES, Urgency.CHANGE),
        ((), NAMES[1:], Urgency.FAILURE),
        ((), NAMES, Urgency.CHANGE),
    ):
        site.nodes(names, *broken)
        assert changes.poll() is urgency
        assert changes.poll() is Urgency.NOTHING
    (site.folder / "nodes.json").write_text("{")
    assert changes.poll() is Urgency.CHANGE
    (site.folder / "nodes.json").unlink()
    assert changes.poll() is Urgency.CHANGE
