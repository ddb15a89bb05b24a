"""What blocks weigh and nodes carry: worked by hand, and unmoved by noise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.errors import BadInputError
from ipam.prefix import Prefix
from tests.counts import examples
from vpcrouter.bandwidth import BASELINE_MEGABITS
from vpcrouter.capacity import NOT_ONE_KNOWN, UNKNOWN_TYPE, capacities
from vpcrouter.reports import Use, decode_report
from vpcrouter.weights import (
    BAND,
    FLOOR,
    NO_CLASS,
    Owner,
    Reported,
    Steady,
    Unit,
    Weights,
    by_class,
    decode_steady,
    encode_steady,
    measured,
    steadied,
)


def block(number: int) -> Prefix:
    return Prefix.parse(f"100.64.{number}.0/26")


def owner(number: int, pods: int | None = 110, blocks: Sequence[Prefix] = ()) -> Owner:
    return Owner(f"n{number}", f"i-{number}", pods, tuple(blocks) or (block(number),))


def reported(uses: Mapping[int, Use], revision: int) -> dict[tuple[str, str], Reported]:
    """Node i says this of its block i."""
    return {(f"n{i}", f"i-{i}"): Reported({block(i): use}, revision) for i, use in uses.items()}


def megabits(weight: float, pods: float = 1.0) -> Use:
    return Use(pods, weight * 1e6 / 8)


def test_a_class_weighs_by_the_pods_that_it_takes() -> None:
    six = Prefix.parse("fd00::/80")
    owners = [
        owner(1, 110),
        owner(2, 220, [block(2), block(3), six]),
        owner(4, None),
    ]
    found = by_class(owners)
    assert found.of == {block(1): 1.0, block(2): 1.0, block(3): 1.0, six: 2.0, block(4): 1.5}
    assert [(note.name, note.reason) for note in found.notes] == [("n4", NO_CLASS)]


def test_without_any_class_all_nodes_weigh_alike() -> None:
    found = by_class([owner(1, None), owner(2, None)])
    assert (found.of, found.notes) == ({block(1): 1.0, block(2): 1.0}, ())


def test_bytes_count_before_pods_and_pods_before_classes() -> None:
    owners = [owner(1), owner(2), owner(3, 220)]
    of_bytes = measured(owners, reported({1: megabits(8), 2: megabits(2)}, 5), {})
    # Nodes 1 and 2 make 10 where their classes make 2: a class of 2 is 10.
    assert of_bytes.of == {block(1): 8.0, block(2): 2.0, block(3): 10.0}
    of_pods = measured(owners, reported({1: Use(30, 0), 2: Use(10, 0)}, 5), {})
    assert of_pods.of == {block(1): 30.0, block(2): 10.0, block(3): 40.0}
    assert measured(owners, {}, {}).of == by_class(owners).of
    assert measured(owners, reported({1: Use(0, 0)}, 5), {}).of == by_class(owners).of


def test_what_is_idle_keeps_a_share_of_its_class() -> None:
    found = measured([owner(1), owner(2)], reported({1: megabits(10), 2: megabits(0)}, 5), {})
    assert found.of == {block(1): 10.0, block(2): FLOOR * 5.0}


def test_a_report_counts_for_its_node_and_its_identity_only() -> None:
    reports = {("n1", "i-other"): Reported({block(1): megabits(9)}, 5)}
    assert measured([owner(1)], reports, {}).of == {block(1): 1.0}
    reports = {("n1", "i-1"): Reported({block(2): megabits(9), block(1): megabits(3)}, 5)}
    assert measured([owner(1), owner(2)], reports, {}).of == {block(1): 3.0, block(2): 3.0}


def test_a_report_counts_once_and_further_ones_by_a_sixtieth() -> None:
    owners = [owner(1)]
    first = measured(owners, reported({1: megabits(10)}, 5), {})
    again = measured(owners, reported({1: megabits(10)}, 5), first.steady)
    assert again == first
    burst = measured(owners, reported({1: megabits(130)}, 6), first.steady)
    assert burst.steady[block(1)] == Steady(10.0, 12.0, 6, Unit.MEGABITS)
    lasting = burst
    for revision in range(7, 200):
        lasting = measured(owners, reported({1: megabits(130)}, revision), lasting.steady)
    assert 130 / BAND <= lasting.of[block(1)] <= 130


def test_what_is_not_reported_any_more_keeps_its_weight() -> None:
    first = measured([owner(1), owner(2)], reported({1: megabits(10)}, 5), {})
    assert measured([owner(1), owner(2)], {}, first.steady).of == first.of


def test_units_are_not_mixed() -> None:
    owners = [owner(1), owner(2)]
    pods = measured(owners, reported({1: Use(30, 0), 2: Use(30, 0)}, 5), {})
    both = measured(owners, reported({1: megabits(2), 2: megabits(3)}, 6), pods.steady)
    assert both.of == {block(1): 2.0, block(2): 3.0}
    quiet = measured(owners, reported({1: Use(30, 0), 2: Use(30, 0)}, 7), both.steady)
    assert quiet.of == both.of


rates = st.floats(0.01, 1e5)


@given(st.lists(rates, min_size=1, max_size=8), st.data())
@settings(max_examples=examples(test=100, prove=5_000))
def test_noise_changes_no_weight(levels: list[float], data: st.DataObject) -> None:
    """Ten per cent around any level, from the first report on, reported or estimated."""
    owners = [
        owner(i, data.draw(st.sampled_from([None, 50, 110, 250]))) for i in range(len(levels))
    ]
    telling = data.draw(st.sets(st.sampled_from(range(len(levels))), min_size=1))
    noise = st.floats(0.9, 1.1)
    now: Weights | None = None
    for revision in range(1, 6):
        uses = {i: megabits(levels[i] * data.draw(noise)) for i in telling}
        then = measured(owners, reported(uses, revision), now.steady if now else {})
        assert now is None or then.of == now.of
        now = then


@given(rates, rates)
def test_a_weight_in_use_stays_within_its_band(used: float, wanted: float) -> None:
    found = steadied(used, wanted)
    assert found in (used, wanted)
    assert found / BAND * (1 - 1e-9) <= wanted <= found * BAND * (1 + 1e-9)
    assert steadied(found, wanted) == found
    assert steadied(0.0, wanted) == wanted


@given(st.dictionaries(st.integers(0, 9), st.tuples(rates, rates, st.integers(0, 99))))
def test_what_is_kept_is_read_again(values: dict[int, tuple[float, float, int]]) -> None:
    kept = {block(i): Steady(*value, Unit.PODS) for i, value in values.items()}
    assert decode_steady("k", encode_steady(kept)) == kept


REPORT = {"v": 1, "seconds": 60, "blocks": {"100.64.1.0/26": {"pods": 3, "bytes": 600}}}


def test_a_report_is_read_as_agents_write_it() -> None:
    assert decode_report("k", json.dumps(REPORT).encode()) == {block(1): Use(3.0, 10.0)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"v": 2},
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": "60"},
        {"blocks": []},
        {"blocks": {"100.64.1.1/26": {"pods": 1, "bytes": 1}}},
        {"blocks": {"100.64.1.0/26": {"pods": -1, "bytes": 1}}},
        {"blocks": {"100.64.1.0/26": {"pods": 1, "bytes": 1e30}}},
        {"blocks": {"100.64.1.0/26": {"pods": True, "bytes": 1}}},
        {"blocks": {"100.64.1.0/26": {"pods": 1}}},
    ],
)
def test_what_is_no_report_is_refused_by_its_key(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="/reports/n1/i-1: is no report"):
        decode_report("/reports/n1/i-1", json.dumps({**REPORT, **wrong}).encode())


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"null", b"{", b'{"v": 1}', b"[" * 100_000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadInputError):
        decode_report("k", text)
    with pytest.raises(BadInputError):
        decode_steady("k", text)


def test_capacities_are_the_published_ones_in_gbits() -> None:
    found = capacities({"a": "m5.8xlarge", "b": "p3dn.24xlarge", "c": "c5.metal"})
    assert (found.of, found.notes) == ({"a": 10.0, "b": 100.0, "c": 25.0}, ())


def test_an_unknown_type_counts_as_the_median_and_is_named() -> None:
    found = capacities({"a": "m5.large", "b": "x99.huge", "c": "m5.8xlarge", "d": None})
    assert isclose(found.of["b"], (0.75 + 10) / 2)
    assert found.of["d"] == found.of["b"]
    assert [(n.name, n.reason) for n in found.notes] == [("b", UNKNOWN_TYPE), ("d", UNKNOWN_TYPE)]
    alone = capacities({"b": "x99.huge"})
    assert (alone.of, alone.notes[0].reason) == ({"b": 1.0}, NOT_ONE_KNOWN)


def test_larger_sizes_of_a_family_carry_no_less() -> None:
    order = ["nano", "micro", "small", "medium", "large", "xlarge"]
    for name, megabits_ in BASELINE_MEGABITS.items():
        family, _, size = name.partition(".")
        assert 0 < megabits_ <= 200_000
        if size in order and family[0] in "mcrt":
            rank = order.index(size)
            for smaller in order[:rank]:
                assert BASELINE_MEGABITS.get(f"{family}.{smaller}", 0) <= megabits_
    assert len(BASELINE_MEGABITS) > 600
