"""The store's records of our entries: read as written, refused where nobody wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.errors import UnavailableError
from ipam.prefix import Prefix
from tests.generators import prefixes
from vpcrouter.ownership import (
    RouteRecord,
    Stage,
    decode_route,
    decode_routes,
    encode_route,
    route_key,
)

_INTERFACES = st.none() | st.sampled_from(["eni-1", "eni-2"])


@given(
    st.builds(
        RouteRecord,
        st.sampled_from(["rtb-1", "rtb-2"]),
        prefixes(),
        _INTERFACES,
        _INTERFACES,
        st.sampled_from(Stage),
        st.lists(st.sampled_from(["eni-3", "eni-4"]), unique=True).map(tuple),
    )
)
def test_a_record_is_read_as_it_was_written(record: RouteRecord) -> None:
    key = route_key(record.table, record.destination)
    value = encode_route(record)
    assert decode_route(key, value) == record
    assert decode_routes([(key, value)]) == {(record.table, record.destination): record}


def test_the_key_names_table_and_destination() -> None:
    assert route_key("rtb-1", Prefix.parse("100.64.0.0/16")) == "/routes/rtb-1/100.64.0.0/16"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("/routes/rtb-1/10.0.0.0/8", b"", "is damaged"),
        ("/routes/rtb-1/10.0.0.0/8", b"[]", "is damaged"),
        ("/routes/rtb-1/10.0.0.0/8", b"\xff", "is damaged"),
        ("/routes/rtb-1/10.0.0.0/8", b'{"version":1}', "is damaged"),
        (
            "/routes/rtb-1/10.0.0.0/8",
            b'{"version":1,"state":"odd","interface":"e","previous":null}',
            "is damaged",
        ),
        (
            "/routes/rtb-1/10.0.0.0/8",
            b'{"version":1,"state":"done","interface":7,"previous":null}',
            "is damaged",
        ),
        (
            "/routes/rtb-1",
            b'{"version":1,"state":"done","interface":"e","previous":null}',
            "is damaged",
        ),
        ("/routes/rtb-1/10.0.0.0/8", b'{"version":2}', "is of version 2"),
    ],
)
def test_what_nobody_wrote_is_unavailable_and_names_its_key(
    key: str, value: bytes, message: str
) -> None:
    with pytest.raises(UnavailableError, match=message) as caught:
        decode_route(key, value)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
