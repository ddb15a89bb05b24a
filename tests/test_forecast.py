"""Forecasts: growth against known growths, what may be concluded, and where samples come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError, UnavailableError
from ipam.model import Claim, Network, State, state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from ipam.store.memory import MemoryStore
from ipam.store.port import Put
from ipam.store.sqlite import SqliteStore
from tests.clusters import Files
from tests.commands import Runner, is_one_line
from tests.counts import examples
from tests.test_cli import imported
from tests.view_states import states
from vpcrouter.samples import (
    INTERVAL,
    KEPT,
    SAMPLES,
    appended,
    decode_series,
    encode_series,
    history,
    is_due,
    sample_key,
)
from vpcrouter.sampling import take_samples
from vpcrouter.views.forecast import (
    DAY,
    LEAST_SAMPLES,
    Forecast,
    Growth,
    Sample,
    Verdict,
    forecasts,
    forecasts_at,
    foreseen,
    growth,
    outlook,
    place_of,
)
from vpcrouter.views.tree import Kind, trees

V4 = Family.IPV4


# Growth

SLOPES = st.integers(-1_000, 1_000)


@st.composite
def moments(draw: st.DrawFn, least: int = LEAST_SAMPLES) -> list[float]:
    """Distinct times over at least a day, in order."""
    hours: set[int] = draw(st.sets(st.integers(0, 2_000), min_size=least, max_size=25))
    assume(max(hours) - min(hours) >= 24)
    return [1.7e9 + 3_600.0 * hour for hour in sorted(hours)]


@given(moments(), SLOPES, st.integers(0, 10**6))
def test_even_growth_is_found_exactly(times: list[float], slope: int, start: int) -> None:
    found = growth(times, [start + slope * (time - times[0]) / DAY for time in times])
    assert found is not None
    for value in (found.per_day, found.least, found.most):
        assert value == pytest.approx(slope, abs=1e-6)


@given(moments(least=10), SLOPES, st.data())
def test_a_few_wrong_samples_change_nothing(
    times: list[float], slope: int, data: st.DataObject
) -> None:
    """As long as most pairs are good: up to a quarter of the samples may be anything."""
    counts = [1e6 + slope * (time - times[0]) / DAY for time in times]
    wrong = data.draw(st.sets(st.sampled_from(range(len(times))), max_size=len(times) // 5))
    for position in wrong:
        counts[position] = data.draw(st.integers(0, 10**9))
    found = growth(times, counts)
    assert found is not None
    assert found.per_day == pytest.approx(slope, abs=1e-3)


@given(moments(), st.data())
def test_the_growth_lies_in_its_range_and_turns_with_the_counts(
    times: list[float], data: st.DataObject
) -> None:
    size = len(times)
    counts = data.draw(st.lists(st.integers(0, 10**6), min_size=size, max_size=size))
    found = growth(times, counts)
    assert found is not None
    assert found.least <= found.per_day <= found.most
    turned = growth(times, [-count for count in counts])
    assert turned is not None
    assert turned.per_day == pytest.approx(-found.per_day)


def test_more_scatter_makes_the_range_wider() -> None:
    times = [DAY * day for day in range(30)]
    ranges = []
    for scatter in (0, 5, 50):
        found = growth(times, [10 * day + scatter * (day * 7 % 11 - 5) for day in range(30)])
        assert found is not None
        assert found.per_day == pytest.approx(10, abs=3)
        ranges.append(found.most - found.least)
    assert ranges[0] < ranges[1] < ranges[2]


@pytest.mark.parametrize("hours", [[], [0], [0, 24, 48], [0, 1, 2, 3, 4, 5, 6, 7], [0] * 30])
def test_too_few_samples_or_too_short_a_time_say_nothing(hours: list[int]) -> None:
    assert growth([3_600.0 * hour for hour in hours], list(range(len(hours)))) is None


# Conclusions


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.01, 1e4))
def test_twice_the_room_lasts_twice_as_long(left: int, more: int, rate: float) -> None:
    grows = Growth(rate, rate / 2, rate * 2)
    one, other = outlook(left, grows), outlook(left + more, grows)
    assert one.days is not None
    assert other.days is not None
    assert other.days / one.days == pytest.approx((left + more) / left)
    assert one.earliest is not None
    assert one.latest is not None
    assert one.earliest < one.days < one.latest


@pytest.mark.parametrize(
    ("left", "grows", "verdict"),
    [
        (0, None, Verdict.FULL),
        (0, Growth(-1, -1, -1), Verdict.FULL),
        (5, None, Verdict.TOO_FEW_SAMPLES),
        (5, Growth(0, -1, 1), Verdict.NO_GROWTH),
        (5, Growth(-2, -3, 1), Verdict.NO_GROWTH),
        (5, Growth(2, 1, 3), Verdict.RUNS_OUT),
        (5, Growth(2, -1, 3), Verdict.RUNS_OUT),
    ],
)
def test_what_is_not_known_is_not_guessed(
    left: int, grows: Growth | None, verdict: Verdict
) -> None:
    found = outlook(left, grows)
    assert found.verdict is verdict
    assert (found.days is None) == (verdict not in (Verdict.FULL, Verdict.RUNS_OUT))
    if verdict is Verdict.RUNS_OUT and grows is not None and grows.least < 0:
        assert found.latest is None


@settings(max_examples=examples(test=25, prove=3_000))
@given(states(), st.floats(0, 1e6))
def test_a_given_growth_is_shared_as_nodes_are(now: State, rate: float) -> None:
    found = trees(now, {})
    for tree in found:
        total = sum(other.nodes for other in found if other.family is tree.family)
        rows = [
            one
            for one in forecasts_at(found, rate)
            if one.branch.kind is Kind.SUBNET
            and one.branch.network == tree.network
            and one.branch.family is tree.family
        ]
        for one in rows:
            assert one.nodes is not None
            wanted = rate * one.branch.nodes / total if total else 0.0
            assert one.nodes.per_day == pytest.approx(wanted)


@settings(max_examples=examples(test=25, prove=3_000))
@given(states())
def test_what_runs_out_first_comes_first_and_no_history_is_no_growth(now: State) -> None:
    found = trees(now, {})
    every = forecasts_at(found, 3.0)
    days = [one.prefixes_last.days for one in every]
    known = [day for day in days if day is not None]
    assert known == sorted(known)
    assert days[: len(known)] == known
    for one in forecasts(found, {}):
        assert one.nodes is None
        assert one.blocks_last.verdict in (
            *(Verdict.TOO_FEW_SAMPLES, Verdict.FULL, Verdict.CLOSED),
        )


# Samples in the store


def small(nodes: int, name: str = "pods") -> State:
    pods = Network(name, (Prefix.parse("10.0.0.0/20"),), block={V4: 26}, node={V4: 24})
    claims = [Claim(f"n{number}", "a/b c", "i") for number in range(nodes)]
    return join(state("test", [pods]), claims, {V4: 4}).state


SERIES = st.lists(
    st.builds(Sample, st.floats(0, 4e9), st.integers(0, 10**6), st.integers(0, 10**9)), max_size=20
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(TEXT, st.sampled_from(Family), st.lists(TEXT, max_size=4), SERIES)
def test_a_series_is_read_as_it_was_written(
    network: str, family: Family, path: list[str], series: list[Sample]
) -> None:
    place = (network, family, tuple(path))
    assert decode_series(sample_key(place), encode_series(series)) == (place, tuple(series))


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("pods/ipv4", b"", BadInputError),
        ("pods/ipv4", b"[]", BadInputError),
        ("pods/ipv4", b"[" * 100_000, BadInputError),
        ("pods/ipv4", b'{"version":1}', BadInputError),
        ("pods/ipv4", b'{"version":1,"samples":[[1,2]]}', BadInputError),
        ("pods/ipv4", b'{"version":1,"samples":[[1,-2,3]]}', BadInputError),
        ("pods/ipv4", b'{"version":1,"samples":[[NaN,2,3]]}', BadInputError),
        ("pods/ipv4", b'{"version":1,"samples":[[1,Infinity,3]]}', BadInputError),
        ("pods/ipv4", b'{"version":1,"samples":[[1e999,2,3]]}', BadInputError),
        ("pods/ipv5", b'{"version":1,"samples":[]}', BadInputError),
        ("pods", b'{"version":1,"samples":[]}', BadInputError),
        ("pods/ipv4", b'{"version":2,"samples":{}}', UnavailableError),
    ],
)
def test_what_is_no_series_is_refused(key: str, value: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="pods"):
        decode_series(SAMPLES + key, value)


@given(st.lists(st.floats(0, 1e9), max_size=300), st.floats(0, 1e9))
def test_a_series_stays_short_in_order_and_free_of_the_future(
    times: list[float], now: float
) -> None:
    series: tuple[Sample, ...] = ()
    for time in [*times, now]:
        series = appended(series, Sample(time, 1, 1))
        assert len(series) <= KEPT
        assert list(series) == sorted(series)
        assert series[-1].time == time
    assert not is_due([series], now)
    assert is_due([series], now + INTERVAL + 1.0)


def test_samples_are_taken_every_six_hours_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for hour in range(25):
        monkeypatch.setattr("vpcrouter.sampling.time.time", lambda hour=hour: 1e9 + 3_600.0 * hour)
        assert take_samples(store, small(1 + hour // 6)) == ()
    known = history((item.key, item.value) for item in store.range(SAMPLES).items)
    found = trees(small(5), {})
    assert set(known) == {place_of(branch) for branch in foreseen(found)}
    assert [sample.nodes for sample in known["pods", V4, ()]] == [1, 2, 3, 4, 5]
    for one in forecasts(found, known):
        assert one.nodes is not None
        assert one.nodes.per_day == pytest.approx(4.0)
        assert one.prefixes_last.verdict is Verdict.RUNS_OUT
        assert one.prefixes_last.days == pytest.approx(one.branch.free.node_prefixes / 4)


def test_a_clock_that_goes_back_does_not_stop_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for now in (1e9, 9e9, 1e9 + INTERVAL, 1e9 + 2 * INTERVAL):
        monkeypatch.setattr("vpcrouter.sampling.time.time", lambda now=now: now)
        take_samples(store, small(1))
    known = history((item.key, item.value) for item in store.range(SAMPLES).items)
    times = [sample.time for sample in known["pods", V4, ()]]
    assert times == [1e9, 1e9 + INTERVAL, 1e9 + 2 * INTERVAL]


def test_a_store_that_fails_or_holds_something_else_is_a_warning() -> None:
    store = MemoryStore()
    store.txn([], [Put(SAMPLES + "pods/ipv4", b"?")])
    (warning,) = take_samples(store, small(1))
    assert "pods/ipv4" in warning
    assert store.get(SAMPLES + "pods/ipv4") is not None


# The command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def files(command: Runner, tmp_path: Path) -> Files:
    made = Files(tmp_path)
    assert command("apply", "--yes", "-f", made.cluster).code == 0
    return made


def rows(command: Runner, files: Files, *options: str) -> list[dict[str, object]]:
    ended = command("ipam", "forecast", "-f", files.cluster, "-o", "json", *options)
    assert (ended.code, ended.err) == (0, "")
    found: list[dict[str, object]] = json.loads(ended.out)["forecast"]
    return found


def test_after_the_first_apply_there_are_too_few_samples_to_tell(
    command: Runner, files: Files
) -> None:
    found = rows(command, files)
    assert {row["kind"] for row in found} == {"network", "subnet"}
    assert {row["samples"] for row in found} == {1}
    assert {row["blocks_last"]["verdict"] for row in found} == {"too few samples"}  # type: ignore[index]
    shown = command("ipam", "forecast", "-f", files.cluster)
    assert "too few samples" in shown.out
    assert "--rate" in shown.out


def test_growth_can_be_given_instead(command: Runner, files: Files) -> None:
    network = next(row for row in rows(command, files, "--rate", "10") if row["kind"] == "network")
    assert network["node_prefixes_last"] == {
        "verdict": "runs out",
        "days": (16_384 - 12) / 10,
        "earliest_days": (16_384 - 12) / 10,
        "latest_days": (16_384 - 12) / 10,
    }
    shown = command("ipam", "forecast", "-f", files.cluster, "--rate", "10", "-o", "wide")
    assert "1,637 days" in shown.out
    none = rows(command, files, "--rate", "0")
    assert {row["blocks_last"]["verdict"] for row in none} == {"no growth"}  # type: ignore[index]


def test_samples_of_a_store_make_a_forecast(
    command: Runner, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 2e9
    monkeypatch.setattr("vpcrouter.cli.ipam_forecast.time.time", lambda: now)
    series = [Sample(now - (20 - day) * DAY, 100 * day, 200 * day) for day in range(20)]
    series.append(Sample(now + DAY, 0, 0))
    store = SqliteStore(files.store)
    store.txn([], [Put(sample_key(("pods", V4, ())), encode_series(series))])
    store.close()
    network = next(row for row in rows(command, files) if row["kind"] == "network")
    assert network["samples"] == 20
    assert network["nodes_per_day"] == {"median": 100, "least": 100, "most": 100}
    assert network["blocks_last"]["days"] == pytest.approx((65_536 - 12) / 200)  # type: ignore[index]
    few = next(row for row in rows(command, files, "--since", "3") if row["kind"] == "network")
    assert (few["samples"], few["nodes_per_day"]) == (2, None) or few["samples"] == 3
    shown = command("ipam", "forecast", "-f", files.cluster)
    assert "164 days" in shown.out


def test_a_store_with_samples_contradicts_nothing(command: Runner, files: Files) -> None:
    ended = command("store", "check", "-f", files.cluster)
    assert (ended.code, ended.err) == (0, "")


def test_one_subnet_or_network_can_be_asked_for(command: Runner, files: Files) -> None:
    every = rows(command, files)
    subnet = next(str(row["subnet"]) for row in every if row["kind"] == "subnet")
    assert {row["subnet"] for row in rows(command, files, "--subnet", subnet)} == {subnet}
    assert rows(command, files, "--network", "pods") == every
    assert rows(command, files, "--family", "ipv6") == []


@pytest.mark.parametrize(
    "options",
    [
        ["--since", "3", "--rate", "1"],
        ["--since", "0"],
        ["--since", "nan"],
        ["--rate", "-1"],
        ["--rate", "inf"],
        ["--subnet", "nowhere"],
        ["--network", "nets"],
    ],
)
def test_what_makes_no_sense_is_one_line(command: Runner, files: Files, options: list[str]) -> None:
    ended = command("ipam", "forecast", "-f", files.cluster, *options)
    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)


def test_a_forecast_imports_no_numpy(files: Files) -> None:
    modules = imported("ipam", "forecast", "-f", files.cluster)
    assert not modules & {"numpy", "boto3", "pyroute2", "rich"}


def test_a_closed_range_is_said_to_be_closed() -> None:
    now = small(2)
    closed = replace(now, networks=tuple(replace(n, closed=n.cidrs) for n in now.networks))
    every: list[Forecast] = forecasts_at(trees(closed, {}), 5.0)
    assert {one.blocks_last.verdict for one in every} == {Verdict.CLOSED}
