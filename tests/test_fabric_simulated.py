"""The simulated VPC: strict as EC2 is, late as EC2 is, and never more than the quota."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.vpcs import Document, observe, vpc_document
from vpcrouter.fabric.bucket import TokenBucket
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.codes import Call, Code, Ec2Error, fabric_error
from vpcrouter.fabric.port import (
    FabricError,
    FabricUnavailableError,
    FullError,
    InstanceState,
    NetworkInterface,
    Observation,
    OutdatedError,
    RefusedError,
    RetryLaterError,
    Row,
    RowState,
    TableGoneError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.fabric.simulated import NoFaults, SimulatedFabric
from vpcrouter.fabric.simulated_vpc import Behaviour, SimulatedVpc
from vpcrouter.fabric.tables_file import FileStorage, MemoryStorage
from vpcrouter.model import Action, Step

POD = Prefix.parse("100.64.0.0/16")
STARTED = 1_000.0


def make(
    folder: Path, behaviour: Behaviour, document: Document | None = None
) -> tuple[SimulatedVpc, SimulatedClock]:
    clock = SimulatedClock(STARTED)
    start = observe(folder, document or vpc_document())
    return SimulatedVpc(start, MemoryStorage(), clock, behaviour), clock


def row(vpc: SimulatedVpc, destination: Prefix = POD, table: str = "rtb-a") -> Row | None:
    """What a read shows, unlike ``vpc.row``, which knows."""
    rows = next(t.rows for t in vpc.describe().tables if t.id == table)
    return next((row for row in rows if row.destination == destination), None)


def state(vpc: SimulatedVpc, destination: Prefix = POD) -> RowState:
    found = row(vpc, destination)
    assert found is not None
    return found.state


# Codes.


def code_of(error: pytest.ExceptionInfo[Ec2Error]) -> str:
    return error.value.code


@pytest.mark.parametrize(
    ("table", "cidr", "interface", "code"),
    [
        ("rtb-a", "0.0.0.0/0", "eni-a0", Code.ROUTE_EXISTS),
        ("rtb-a", "10.0.0.0/16", "eni-a0", Code.ROUTE_EXISTS),
        ("rtb-x", "100.64.0.0/16", "eni-a0", Code.TABLE_NOT_FOUND),
        ("rtb-a", "100.64.0.0/16", "eni-x", Code.INTERFACE_NOT_FOUND),
        ("rtb-a", "100.64.0.1/16", "eni-a0", Code.INVALID_PARAMETER),
        ("rtb-a", "100.64/16", "eni-a0", Code.INVALID_PARAMETER),
        ("rtb-a", "not a cidr", "eni-a0", Code.INVALID_PARAMETER),
        ("rtb-a", "10.0.0.0/24", "eni-a0", Code.INVALID_PARAMETER),
    ],
)
def test_create_is_refused_by_code(
    tmp_path: Path, table: str, cidr: str, interface: str, code: Code
) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    before = vpc.describe()
    with pytest.raises(Ec2Error) as error:
        vpc.create_route(table, cidr, interface)
    assert code_of(error) == code
    assert vpc.describe() == before


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.0.0/16", Code.INVALID_PARAMETER),
        ("172.30.0.0/16", Code.INVALID_PARAMETER),
        ("100.64.0.0/16", Code.ROUTE_NOT_FOUND),
        ("100.64.0.1/16", Code.INVALID_PARAMETER),
    ],
)
def test_delete_is_refused_by_code(tmp_path: Path, cidr: str, code: Code) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    with pytest.raises(Ec2Error) as error:
        vpc.delete_route("rtb-a", cidr)
    assert code_of(error) == code


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "172.30.0.0/16", "100.64.0.0/16"])
def test_replace_is_refused_by_code(tmp_path: Path, cidr: str) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    with pytest.raises(Ec2Error) as error:
        vpc.replace_route("rtb-a", cidr, "eni-a0")
    assert code_of(error) == Code.INVALID_PARAMETER


def test_an_interface_that_is_being_attached_is_in_no_state_to_be_a_next_hop(
    tmp_path: Path,
) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    interface = next(i for i in vpc.describe().interfaces if i.id == "eni-a0")
    vpc.put_interface(structs.replace(interface, settled=False))
    with pytest.raises(Ec2Error) as error:
        vpc.create_route("rtb-a", str(POD), "eni-a0")
    assert code_of(error) == Code.INCORRECT_STATE
    vpc.put_interface(interface)
    vpc.create_route("rtb-a", str(POD), "eni-a0")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.ROUTE_EXISTS, OutdatedError),
        (Code.ROUTE_NOT_FOUND, OutdatedError),
        (Code.ROUTE_LIMIT, FullError),
        (Code.TABLE_NOT_FOUND, TableGoneError),
        (Code.TABLE_NOT_FOUND_TOO, TableGoneError),
        (Code.INTERFACE_NOT_FOUND, RefusedError),
        (Code.INVALID_PARAMETER, RefusedError),
        (Code.INCORRECT_STATE, RetryLaterError),
        (Code.REQUEST_LIMIT, ThrottledError),
        (Code.THROTTLING, ThrottledError),
        (Code.UNAVAILABLE, FabricUnavailableError),
        (Code.INTERNAL_ERROR, UnknownOutcomeError),
        ("SomethingNew", RefusedError),
    ],
)
def test_every_code_is_classed_by_what_the_caller_does(code: str, kind: type[FabricError]) -> None:
    error = fabric_error(Call.CREATE, "rtb-a 100.64.0.0/16", Ec2Error(code, "because"))
    assert type(error) is kind
    assert error.code == code
    assert str(error).startswith("rtb-a 100.64.0.0/16: CreateRoute ")
    assert str(error).endswith(f"because ({code})")


def test_only_replacing_what_is_missing_is_outdated_by_an_invalid_parameter() -> None:
    missing = Ec2Error(Code.INVALID_PARAMETER, "There is no route defined for '1.0.0.0/8' in")
    assert isinstance(fabric_error(Call.REPLACE, "t", missing), OutdatedError)
    assert not isinstance(fabric_error(Call.CREATE, "t", missing), OutdatedError)


# Quota.


def test_a_customers_prefix_list_takes_its_maximum(tmp_path: Path) -> None:
    document = vpc_document()
    document["PrefixLists"].append(
        {"PrefixListId": "pl-own", "PrefixListName": "offices", "OwnerId": "1", "MaxEntries": 5}
    )
    document["RouteTables"][0]["Routes"].append(
        {"DestinationPrefixListId": "pl-own", "TransitGatewayId": "tgw-1", "Origin": "CreateRoute"}
    )
    vpc, _ = make(tmp_path, Behaviour(), document)
    vpc.create_route("rtb-a", "100.64.0.0/16", "eni-a0")
    with pytest.raises(Ec2Error) as error:
        vpc.create_route("rtb-a", "100.65.0.0/16", "eni-a0")
    assert code_of(error) == Code.ROUTE_LIMIT


def test_a_lowered_quota_leaves_rows_and_refuses_new_ones(tmp_path: Path) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    vpc.create_route("rtb-a", str(POD), "eni-a0")
    vpc.set_quota(Family.IPV4, 2)
    assert row(vpc) is not None
    vpc.replace_route("rtb-a", str(POD), "eni-a1")
    with pytest.raises(Ec2Error) as error:
        vpc.create_route("rtb-a", "100.65.0.0/16", "eni-a0")
    assert code_of(error) == Code.ROUTE_LIMIT
    vpc.create_route("rtb-a", "fd00::/48", "eni-a0")


def test_a_static_route_may_stand_beside_a_propagated_one(tmp_path: Path) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    vpc.create_route("rtb-a", "172.30.0.0/16", "eni-a0")
    rows = [r for r in vpc.describe().tables[0].rows if str(r.destination) == "172.30.0.0/16"]
    assert sorted(r.target for r in rows) == ["eni-a0", "vgw-1"]
    vpc.delete_route("rtb-a", "172.30.0.0/16")
    assert row(vpc, Prefix.parse("172.30.0.0/16")) is not None


# Late.


def test_a_read_lags_behind_changes(tmp_path: Path) -> None:
    vpc, clock = make(tmp_path, Behaviour(lag=30.0))
    vpc.create_route("rtb-a", str(POD), "eni-a0")
    clock.sleep(20)
    vpc.replace_route("rtb-a", str(POD), "eni-a1")
    assert row(vpc) is None
    clock.sleep(9.9)
    assert row(vpc) is None
    clock.sleep(0.2)
    assert row(vpc) == Row(POD, "eni-a0", to_interface=True)
    vpc.delete_route("rtb-a", str(POD))
    clock.sleep(20)
    assert row(vpc) == Row(POD, "eni-a1", to_interface=True)
    clock.sleep(10)
    assert row(vpc) is None


def test_calls_know_what_a_read_does_not_show_yet(tmp_path: Path) -> None:
    vpc, _ = make(tmp_path, Behaviour(lag=30.0))
    vpc.create_route("rtb-a", str(POD), "eni-a0")
    with pytest.raises(Ec2Error) as error:
        vpc.create_route("rtb-a", str(POD), "eni-a0")
    assert code_of(error) == Code.ROUTE_EXISTS


@pytest.mark.parametrize("end", [InstanceState.STOPPED, InstanceState.TERMINATED])
def test_a_blackhole_shows_late_and_goes_when_the_instance_runs_again(
    tmp_path: Path, end: InstanceState
) -> None:
    vpc, clock = make(tmp_path, Behaviour(blackhole_after=60.0))
    vpc.create_route("rtb-a", str(POD), "eni-a0")
    vpc.put_instance("i-a0", end)
    clock.sleep(59)
    assert state(vpc) is RowState.ACTIVE
    clock.sleep(1)
    assert state(vpc) is RowState.BLACKHOLE
    vpc.put_instance("i-a0", InstanceState.RUNNING)
    assert state(vpc) is RowState.ACTIVE


def test_a_deleted_interface_leaves_a_blackhole_late(tmp_path: Path) -> None:
    vpc, clock = make(tmp_path, Behaviour(blackhole_after=60.0))
    vpc.create_route("rtb-a", str(POD), "eni-a0")
    vpc.remove_interface("eni-a0")
    assert state(vpc) is RowState.ACTIVE
    clock.sleep(60)
    assert state(vpc) is RowState.BLACKHOLE
    assert vpc.describe().tables[0].counted(Family.IPV4) == 5
    vpc.delete_route("rtb-a", str(POD))
    assert row(vpc) is None


def test_what_was_gone_at_the_start_is_a_blackhole_at_once(tmp_path: Path) -> None:
    document = vpc_document()
    document["Reservations"][2]["Instances"][0]["State"]["Name"] = "stopped"  # of eni-a2
    vpc, _ = make(tmp_path, Behaviour(blackhole_after=60.0), document)
    assert state(vpc, Prefix.parse("10.99.0.0/16")) is RowState.BLACKHOLE


def test_an_interface_that_is_attached_to_nothing_is_a_blackhole(tmp_path: Path) -> None:
    vpc, _ = make(tmp_path, Behaviour(blackhole_after=60.0))
    vpc.create_route("rtb-a", str(POD), "eni-free")
    assert state(vpc) is RowState.BLACKHOLE


# Throttling.


def test_a_bucket_lets_through_its_size_and_then_its_rate() -> None:
    bucket = TokenBucket(50, 5.0, STARTED)
    assert all(bucket.take(STARTED) == 0 for _ in range(50))
    assert bucket.take(STARTED) == pytest.approx(0.2)
    now, sent = STARTED, 0
    while now < STARTED + 100:
        wait = bucket.take(now)
        now += wait
        sent += wait == 0
    assert sent == pytest.approx(500, abs=1)


def test_a_bucket_never_holds_more_than_its_size() -> None:
    bucket = TokenBucket(50, 5.0, STARTED)
    later = STARTED + 3_600
    assert all(bucket.take(later) == 0 for _ in range(50))
    assert bucket.take(later) > 0


def test_every_kind_of_call_has_a_bucket_of_its_own(tmp_path: Path) -> None:
    vpc, clock = make(tmp_path, Behaviour(bucket=2, refill=0.5))
    for _ in range(2):
        with pytest.raises(Ec2Error, match=Code.ROUTE_NOT_FOUND):
            vpc.delete_route("rtb-a", str(POD))
    with pytest.raises(Ec2Error) as error:
        vpc.delete_route("rtb-a", str(POD))
    assert code_of(error) == Code.REQUEST_LIMIT
    assert error.value.retry_after == pytest.approx(2.0)
    vpc.create_route("rtb-a", str(POD), "eni-a0")
    clock.sleep(error.value.retry_after)
    vpc.delete_route("rtb-a", str(POD))


# Faults.


class CrashError(BaseException):
    """The process ends here."""


@dataclass
class Fault(NoFaults):
    """Goes wrong once, before or after the effect."""

    before_effect: BaseException | None = None
    after_effect: BaseException | None = None
    on_read: BaseException | None = None

    def before_read(self) -> None:
        if self.on_read:
            raise self.on_read

    def before(self, table: str, step: Step) -> None:  # noqa: ARG002
        if self.before_effect:
            raise self.before_effect

    def after(self, table: str, step: Step) -> None:  # noqa: ARG002
        if self.after_effect:
            raise self.after_effect


CREATE = Step(Action.CREATE, POD, "eni-a0", None, "test")


@pytest.mark.parametrize(
    "error", [FabricUnavailableError("Unavailable", "down"), CrashError()], ids=repr
)
def test_a_fault_before_the_effect_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    with pytest.raises(type(error)):
        SimulatedFabric(vpc, Fault(before_effect=error)).apply("rtb-a", CREATE)
    assert row(vpc) is None


@pytest.mark.parametrize("error", [UnknownOutcomeError("", "lost"), CrashError()], ids=repr)
def test_a_fault_after_the_effect_loses_only_the_answer(
    tmp_path: Path, error: BaseException
) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    with pytest.raises(type(error)):
        SimulatedFabric(vpc, Fault(after_effect=error)).apply("rtb-a", CREATE)
    assert row(vpc) == Row(POD, "eni-a0", to_interface=True)


def test_a_read_can_fail(tmp_path: Path) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    with pytest.raises(FabricUnavailableError):
        SimulatedFabric(vpc, Fault(on_read=FabricUnavailableError("", "down"))).read()


# Whatever is called.

_DESTINATIONS = [
    *(Prefix(Family.IPV4, 0x64400000 + (n << 16), 16) for n in range(8)),
    *(Prefix(Family.IPV6, (0xFD00 << 112) + (n << 80), 48) for n in range(8)),
    *(
        Prefix.parse(text)
        for text in ("0.0.0.0/0", "10.0.0.0/16", "10.0.0.0/20", "10.0.3.0/24", "172.30.0.0/16")
    ),
]
_INTERFACES = ["eni-a0", "eni-a1", "eni-b0", "eni-free", "eni-none", "nat-1", "local"]

_STEPS = st.tuples(
    st.sampled_from(["rtb-a", "rtb-b", "rtb-none"]),
    st.builds(
        Step,
        st.sampled_from(list(Action)),
        st.sampled_from(_DESTINATIONS),
        st.sampled_from(_INTERFACES),
        st.sampled_from(_INTERFACES),
        st.just("test"),
    ),
)


def _missing(observation: Observation, start: Observation) -> list[Row]:
    """The rows that were there from the start and are not any more."""
    now = {table.id: set(table.rows) for table in observation.tables}
    return [row for table in start.tables for row in table.rows if row not in now[table.id]]


@given(st.lists(_STEPS, max_size=60), st.integers(2, 12))
@settings(max_examples=examples(test=100, prove=2_000))
def test_whatever_is_called_the_quota_and_foreign_rows_hold_and_a_restart_sees_the_same(
    calls: list[tuple[str, Step]], quota: int
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        document = vpc_document()
        document["Quotas"][0]["Value"] = quota
        start = observe(folder, document)
        storage = FileStorage(folder / "tables.json", start.vpc)
        vpc = SimulatedVpc(start, storage, SimulatedClock(), Behaviour())
        fabric = SimulatedFabric(vpc, NoFaults())
        at_start = {t.id: {f: t.counted(f) for f in Family} for t in start.tables}
        for table, step in calls:
            before = fabric.read()
            try:
                fabric.apply(table, step)
            except FabricError:
                assert fabric.read() == before
            seen = fabric.read()
            assert not _missing(seen, start)
            for after in seen.tables:
                for family in Family:
                    assert after.counted(family) <= max(quota, at_start[after.id][family])
        again = FileStorage(folder / "tables.json", start.vpc)
        restarted = SimulatedVpc(start, again, SimulatedClock(), Behaviour())
        assert restarted.describe() == vpc.describe()


# Another describe file.


def test_changes_stay_when_interfaces_and_foreign_rows_are_described_anew(tmp_path: Path) -> None:
    storage = MemoryStorage()
    first = SimulatedVpc(observe(tmp_path, vpc_document()), storage, SimulatedClock(), Behaviour())
    first.create_route("rtb-a", str(POD), "eni-a0")
    first.create_route("rtb-a", "100.65.0.0/16", "eni-a1")
    first.create_route("rtb-b", str(POD), "eni-a0")
    document = vpc_document()
    del document["RouteTables"][1]
    del document["Subnets"][1]
    document["NetworkInterfaces"] = [
        i for i in document["NetworkInterfaces"] if i["SubnetId"] != "subnet-b"
    ][1:]
    document["RouteTables"][0]["Routes"].append(
        {"DestinationCidrBlock": "100.65.0.0/16", "VpcPeeringConnectionId": "pcx-1"}
    )
    second = SimulatedVpc(observe(tmp_path, document), storage, SimulatedClock(), Behaviour())
    seen = second.describe()
    assert [table.id for table in seen.tables] == ["rtb-a"]
    assert row(second) == Row(POD, "eni-a0", to_interface=True, state=RowState.BLACKHOLE)
    taken = row(second, Prefix.parse("100.65.0.0/16"))
    assert taken is not None
    assert taken.target == "pcx-1"


def test_a_described_row_to_an_interface_can_be_taken_over_and_removed(tmp_path: Path) -> None:
    storage = MemoryStorage()
    start = observe(tmp_path, vpc_document())
    former = Prefix.parse("10.99.0.0/16")
    vpc = SimulatedVpc(start, storage, SimulatedClock(), Behaviour())
    fabric = SimulatedFabric(vpc, NoFaults())
    fabric.apply("rtb-a", Step(Action.REPLACE, former, "eni-a0", "eni-a2", "test"))
    fabric.apply("rtb-a", Step(Action.DELETE, former, None, "eni-a0", "test"))
    again = SimulatedVpc(start, storage, SimulatedClock(), Behaviour())
    assert row(again, former) is None
    assert row(again, former, "rtb-b") is not None
    again.create_route("rtb-a", str(former), "eni-a1")
    found = row(again, former)
    assert found is not None
    assert found.target == "eni-a1"


def test_interfaces_can_appear(tmp_path: Path) -> None:
    vpc, _ = make(tmp_path, Behaviour())
    vpc.put_instance("i-new", InstanceState.RUNNING)
    vpc.put_interface(
        NetworkInterface(
            "eni-new",
            "subnet-a",
            {Family.IPV4: ("10.0.0.99",)},
            instance="i-new",
            device_index=0,
            source_dest_check=True,
        )
    )
    vpc.create_route("rtb-a", str(POD), "eni-new")
    assert state(vpc) is RowState.ACTIVE
