"""What every fabric promises, whatever stands behind the port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from ipam.prefix import Family, Prefix
from tests.aws import served
from tests.routers import router
from tests.vpcs import COUNTED_IPV4, COUNTED_IPV6, QUOTA, observe, vpc_document, write_document
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.port import (
    Clock,
    Fabric,
    FullError,
    Origin,
    OutdatedError,
    RefusedError,
    Row,
    RowState,
    Table,
    TableGoneError,
    ThrottledError,
)
from vpcrouter.fabric.simulated import NoFaults, SimulatedFabric
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import FileStorage, MemoryStorage
from vpcrouter.model import Action, Step

POD = Prefix.parse("100.64.0.0/16")
POD6 = Prefix.parse("fd00::/48")


@dataclass
class Rig:
    """A fabric over the VPC of ``vpc_document``, with the clock that it waits on."""

    fabric: Fabric
    clock: Clock

    def apply(self, step: Step, table: str = "rtb-a") -> None:
        """Apply, waiting where the fabric says so."""
        while True:
            try:
                return self.fabric.apply(table, step)
            except ThrottledError as error:
                self.clock.sleep(error.after)

    def table(self, name: str = "rtb-a") -> Table:
        return next(table for table in self.fabric.read().tables if table.id == name)

    def rows(self, name: str = "rtb-a") -> dict[object, Row]:
        return {row.destination: row for row in self.table(name).rows}


def _in_memory(folder: Path) -> Rig:
    clock = SimulatedClock()
    vpc = SimulatedVpc(observe(folder, vpc_document()), MemoryStorage(), clock, Behaviour())
    return Rig(SimulatedFabric(vpc, NoFaults()), clock)


def _in_file(folder: Path) -> Rig:
    clock = SimulatedClock()
    storage = FileStorage(folder / "state" / "tables.json", "vpc-1")
    vpc = SimulatedVpc(observe(folder, vpc_document()), storage, clock, Behaviour())
    return Rig(SimulatedFabric(vpc, NoFaults()), clock)


@contextmanager
def _over_http(folder: Path) -> Iterator[Rig]:
    with served(write_document(folder, vpc_document())) as aws:
        yield Rig(aws.fabric(), aws.clock)


@contextmanager
def _in_a_kernel(_folder: Path) -> Iterator[Rig]:
    with router() as linux:
        yield Rig(linux.fabric, SimulatedClock())


# Clouds throttle, and check addresses; a router of one's own does neither.
CLOUDS: dict[str, Callable[[Path], AbstractContextManager[Rig]]] = {
    "simulated in memory": lambda folder: nullcontext(_in_memory(folder)),
    "simulated in a file": lambda folder: nullcontext(_in_file(folder)),
    "AWS, served": _over_http,
}
LINUX = "Linux"
IMPLEMENTATIONS = {**CLOUDS, LINUX: _in_a_kernel}

of_clouds = pytest.mark.parametrize("rig", list(CLOUDS), indirect=True)


@pytest.fixture(params=list(IMPLEMENTATIONS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == LINUX:
        request.getfixturevalue("root")
    with IMPLEMENTATIONS[request.param](tmp_path) as built:
        yield built


def create(destination: Prefix, interface: str) -> Step:
    return Step(Action.CREATE, destination, interface, None, "test")


def replace(destination: Prefix, interface: str, previous: str) -> Step:
    return Step(Action.REPLACE, destination, interface, previous, "test")


def delete(destination: Prefix, previous: str) -> Step:
    return Step(Action.DELETE, destination, None, previous, "test")


def test_reads_what_is_there(rig: Rig) -> None:
    seen = rig.fabric.read()
    assert seen.vpc == "vpc-1"
    assert [(s.id, s.zone, s.table) for s in seen.subnets] == [
        ("subnet-a", "eu-central-1a", "rtb-a"),
        ("subnet-b", "eu-central-1b", "rtb-b"),
    ]
    assert [table.id for table in seen.tables] == ["rtb-a", "rtb-b"]
    assert seen.quota == {Family.IPV4: QUOTA, Family.IPV6: QUOTA}
    assert rig.table().counted(Family.IPV4) == COUNTED_IPV4
    assert rig.table().counted(Family.IPV6) == COUNTED_IPV6
    assert {i.id: i.instance for i in seen.interfaces}["eni-a0"] == "i-a0"


@pytest.mark.parametrize("destination", [POD, POD6])
def test_create_replace_and_delete_change_one_row_only(rig: Rig, destination: Prefix) -> None:
    before = rig.rows()
    rig.apply(create(destination, "eni-a0"))
    made = Row(destination, "eni-a0", to_interface=True)
    assert rig.rows() == {**before, destination: made}
    assert (made.origin, made.state) == (Origin.STATIC, RowState.ACTIVE)
    rig.apply(replace(destination, "eni-b1", "eni-a0"))
    assert rig.rows() == {**before, destination: Row(destination, "eni-b1", to_interface=True)}
    rig.apply(delete(destination, "eni-b1"))
    assert rig.rows() == before


def test_tables_are_apart(rig: Rig) -> None:
    other = rig.rows("rtb-b")
    rig.apply(create(POD, "eni-a0"))
    assert rig.rows("rtb-b") == other


def test_creating_what_is_there_is_outdated(rig: Rig) -> None:
    rig.apply(create(POD, "eni-a0"))
    for interface in ("eni-a0", "eni-a1"):
        with pytest.raises(OutdatedError, match=r"rtb-a 100\.64\.0\.0/16.*RouteAlreadyExists"):
            rig.apply(create(POD, interface))
    assert rig.rows()[POD].target == "eni-a0"


def test_replacing_or_deleting_what_is_missing_is_outdated(rig: Rig) -> None:
    before = rig.rows()
    with pytest.raises(OutdatedError, match="InvalidParameterValue"):
        rig.apply(replace(POD, "eni-a1", "eni-a0"))
    with pytest.raises(OutdatedError, match=r"InvalidRoute\.NotFound"):
        rig.apply(delete(POD, "eni-a0"))
    assert rig.rows() == before


def test_a_row_that_leads_elsewhere_than_assumed_is_not_touched(rig: Rig) -> None:
    rig.apply(create(POD, "eni-a0"))
    with pytest.raises(OutdatedError, match="eni-a0"):
        rig.apply(replace(POD, "eni-a2", "eni-a1"))
    with pytest.raises(OutdatedError, match="eni-a0"):
        rig.apply(delete(POD, "eni-a1"))
    assert rig.rows()[POD].target == "eni-a0"


def test_replacing_by_what_is_there_already_is_done(rig: Rig) -> None:
    rig.apply(create(POD, "eni-a1"))
    rig.apply(replace(POD, "eni-a1", "eni-a0"))
    assert rig.rows()[POD].target == "eni-a1"


@pytest.mark.parametrize("destination", ["0.0.0.0/0", "10.0.0.0/16", "172.30.0.0/16"])
def test_rows_that_lead_to_no_interface_are_never_touched(rig: Rig, destination: str) -> None:
    before = rig.rows()
    prefix = Prefix.parse(destination)
    with pytest.raises(RefusedError):
        rig.apply(replace(prefix, "eni-a1", before[prefix].target))
    with pytest.raises(RefusedError):
        rig.apply(delete(prefix, before[prefix].target))
    assert rig.rows() == before


def test_a_table_takes_its_quota_and_no_more_in_each_family(rig: Rig) -> None:
    def fill(base: Prefix, count: int) -> list[Prefix]:
        step = base.size // 256
        rows = [Prefix(base.family, base.value + n * step, base.length + 8) for n in range(count)]
        for row in rows:
            rig.apply(create(row, "eni-a0"))
        return rows

    fill(POD, QUOTA - COUNTED_IPV4)
    one_more = Prefix.parse("100.65.0.0/16")
    with pytest.raises(FullError, match="RouteLimitExceeded"):
        rig.apply(create(one_more, "eni-a0"))
    rows = fill(POD6, QUOTA - COUNTED_IPV6)
    with pytest.raises(FullError):
        rig.apply(create(Prefix.parse("fd01::/48"), "eni-a0"))
    assert [rig.table().counted(family) for family in Family] == [QUOTA, QUOTA]
    rig.apply(replace(rows[0], "eni-a1", "eni-a0"))
    rig.apply(delete(rows[0], "eni-a1"))
    with pytest.raises(FullError):
        rig.apply(create(one_more, "eni-a0"))
    rig.apply(create(rows[0], "eni-a0"))


def test_a_table_that_is_not_there_is_gone(rig: Rig) -> None:
    for step in (create(POD, "eni-a0"), replace(POD, "eni-a0", "eni-a1"), delete(POD, "eni-a0")):
        with pytest.raises(TableGoneError, match=r"InvalidRouteTableID\.NotFound"):
            rig.apply(step, "rtb-none")


def test_an_interface_that_is_not_there_is_refused(rig: Rig) -> None:
    with pytest.raises(RefusedError, match=r"InvalidNetworkInterfaceID\.NotFound") as caught:
        rig.apply(create(POD, "eni-none"))
    assert not isinstance(caught.value, OutdatedError)
    rig.apply(create(POD, "eni-a0"))
    with pytest.raises(RefusedError, match=r"InvalidNetworkInterfaceID\.NotFound"):
        rig.apply(replace(POD, "eni-none", "eni-a0"))
    assert rig.rows()[POD].target == "eni-a0"


@pytest.mark.parametrize("destination", ["10.0.3.0/24", "10.0.0.0/17", "2001:db8:0:1::/64"])
def test_what_is_more_specific_than_the_vpc_is_refused(rig: Rig, destination: str) -> None:
    with pytest.raises(RefusedError, match="InvalidParameterValue"):
        rig.apply(create(Prefix.parse(destination), "eni-a0"))


@pytest.mark.parametrize("destination", ["10.0.16.0/20", "10.0.0.0/15"])
def test_exactly_a_subnet_or_wider_than_the_vpc_is_taken(rig: Rig, destination: str) -> None:
    prefix = Prefix.parse(destination)
    rig.apply(create(prefix, "eni-a0"))
    assert rig.rows()[prefix].target == "eni-a0"


def test_a_prefix_with_host_bits_is_refused(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="InvalidParameterValue"):
        rig.apply(create(Prefix(Family.IPV4, POD.value + 1, 16), "eni-a0"))


@of_clouds
def test_too_many_calls_are_throttled_and_say_when_to_go_on(rig: Rig) -> None:
    def send() -> None:
        with pytest.raises(OutdatedError):
            rig.fabric.apply("rtb-a", delete(POD, "eni-a0"))

    def send_many() -> None:
        for _ in range(100):
            send()

    with pytest.raises(ThrottledError, match="RequestLimitExceeded") as caught:
        send_many()
    rig.clock.sleep(caught.value.after)
    send()


@of_clouds
def test_the_source_destination_check_is_switched_and_shows(rig: Rig) -> None:
    def checked() -> dict[str, bool]:
        return {i.id: i.source_dest_check for i in rig.fabric.read().interfaces}

    before = checked()
    for on in (False, True):
        for _ in range(2):
            rig.fabric.set_source_dest_check("eni-a1", on=on)
        assert checked() == {**before, "eni-a1": on}


def test_the_check_of_an_interface_that_is_not_there_is_refused(rig: Rig) -> None:
    with pytest.raises(RefusedError, match=r"InvalidNetworkInterfaceID\.NotFound"):
        rig.fabric.set_source_dest_check("eni-none", on=False)
