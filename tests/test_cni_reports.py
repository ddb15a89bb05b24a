"""What an agent reports is read as it was meant; what is no report is refused by its key."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.reports import Load, Report, dump_report, load_report
from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix

COUNTS = st.integers(0, 2**60)
BLOCKS = st.integers(0, 2**26 - 1).map(lambda n: Prefix(Family.IPV4, n << 6, 26))
REPORTS = st.builds(
    Report,
    COUNTS,
    st.lists(BLOCKS, max_size=3, unique=True).map(tuple),
    st.dictionaries(BLOCKS, st.builds(Load, COUNTS, COUNTS), max_size=3),
    COUNTS,
)


@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert load_report("/reports/n/i", dump_report(report)) == report


@pytest.mark.parametrize(
    "changed",
    [
        {"v": 2},
        {"revision": None},
        {"revision": "soon"},
        {"unrouted": 7},
        {"unrouted": ["10.64.0.1/26"]},
        {"blocks": []},
        {"blocks": {"10.64.0.0/26": {}}},
        {"seconds": []},
    ],
)
def test_what_is_no_report_is_refused(changed: dict[str, object]) -> None:
    fields = json.loads(dump_report(Report(7, (), {}, 60)))
    for value in (json.dumps({**fields, **changed}).encode(), b"", b"[]", b"\xff"):
        with pytest.raises(BadInputError, match="key /reports/n/i of the store holds no report"):
            load_report("/reports/n/i", value)
