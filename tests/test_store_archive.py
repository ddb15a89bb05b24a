"""Stores that are exported and imported: the same records, all of them or none."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam import codec
from ipam.archive import Archive, dump_archive, parse_archive, read_archive, restore
from ipam.errors import BadInputError, ConflictError, UnavailableError
from ipam.model import Claim, Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Put, Store
from tests.faulty_store import CrashError, Fault, FaultyStore

V4 = Family.IPV4
PODS = Network("pods", (Prefix.parse("10.0.0.0/22"),), block={V4: 26}, node={V4: 25})


def addresses(store: Store) -> Addresses:
    return Addresses(store, "test", (PODS,), pause=lambda _: None)


def filled(*names: str, max_operations: int = 1000) -> MemoryStore:
    store = MemoryStore(max_operations)
    addresses(store).join([Claim(name, "a", "id") for name in names], {V4: 6})
    store.txn([], [Put("/routes/t1/10.0.0.0/8", b'{"version":1,"b":"x","a":2}')])
    store.txn([], [Put("/alive/n1/id", b"{}", store.grant(1000))])
    return store


def parsed(store: Store) -> Archive:
    return parse_archive(dump_archive(read_archive(store)), "store.json")


def test_an_export_is_readable_json_with_a_record_in_each_line_and_no_lease() -> None:
    text = dump_archive(read_archive(filled("n1", "n2"))).decode()
    document = json.loads(text)
    assert document["version"] == 1
    assert document["cluster"] == "test"
    assert document["records"]["/meta"] == {"cluster": "test", "v": 1}
    assert document["records"]["/nodes/n1"]["identity"] == "id"
    assert document["records"]["/routes/t1/10.0.0.0/8"] == {"version": 1, "b": "x", "a": 2}
    assert "/alive/n1/id" not in text
    assert len(text.splitlines()) == len(document["records"]) + 2


_VALUES = st.one_of(
    st.binary(max_size=8),
    st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=3))).map(
        lambda document: json.dumps(document, separators=(",", ":")).encode()
    ),
    st.sampled_from([b'{"base64":"x"}', b'{"a":1, "b":2}', b'{"a":1.0}', b'{"a":1,"a":2}', b"[]"]),
)


@given(st.dictionaries(st.text(max_size=4).map(lambda text: "/" + text), _VALUES, max_size=5))
def test_every_record_comes_back_as_it_was(records: dict[str, bytes]) -> None:
    records.pop(codec.META, None)
    text = dump_archive(Archive("", records))
    again = parse_archive(text, "store.json")
    assert again.records == records
    assert dump_archive(again) == text


def test_what_is_imported_into_an_empty_store_is_what_was_exported() -> None:
    first = filled("n1", "n2")
    second = MemoryStore()
    restore(second, parsed(first), replace=False)
    assert addresses(second).load() == addresses(first).load()
    assert dump_archive(read_archive(second)) == dump_archive(read_archive(first))
    assert restore(second, parsed(first), replace=True) == 0


def test_a_store_that_holds_records_is_replaced_only_where_that_is_asked_for() -> None:
    first, second = filled("n1", "n2"), filled("n2", "n3", "n4")
    before = second.range("")
    with pytest.raises(ConflictError, match=r"holds \d+ records already: give --replace"):
        restore(second, parsed(first), replace=False)
    assert second.range("") == before
    mine = addresses(second)
    mine.load()
    restore(second, parsed(first), replace=True)
    assert set(mine.load().nodes) == {"n1", "n2"}
    assert mine.load() == addresses(first).load()
    assert second.get("/alive/n1/id") is not None, "a lease is not of the records"


@pytest.mark.parametrize("max_operations", [3, 8, 1000])
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name)
@pytest.mark.parametrize("onto", [(), ("n2", "n3", "n4", "n5", "n6")], ids=["empty", "replaced"])
def test_an_import_that_is_interrupted_anywhere_is_refused_by_readers_and_goes_on(
    onto: tuple[str, ...], fault: Fault, max_operations: int
) -> None:
    wanted = parsed(filled("n1", "n2", "n3"))

    def start() -> MemoryStore:
        store = MemoryStore(max_operations)
        if onto:
            addresses(store).join([Claim(name, "b", "id") for name in onto], {V4: 6})
        return store

    undisturbed = FaultyStore(start())
    restore(undisturbed, wanted, replace=bool(onto))
    whole = [addresses(start()).load(), addresses(undisturbed).load()]
    for at in range(undisturbed.transactions):
        inner = start()
        with suppress(CrashError, UnavailableError):
            restore(FaultyStore(inner, fault, at), wanted, replace=bool(onto))
        if inner.get(codec.IMPORTING) is None:
            assert addresses(inner).load() in whole
            restore(inner, wanted, replace=True)
        else:
            with pytest.raises(UnavailableError, match="an import was interrupted: import the sam"):
                addresses(inner).load()
            with pytest.raises(UnavailableError, match="an import was interrupted: import the sam"):
                addresses(inner).join([Claim("n9", "a", "id")], {V4: 6})
            restore(inner, wanted, replace=bool(onto))
        assert read_archive(inner).records == wanted.records


def test_an_import_gives_way_to_somebody_else_who_writes() -> None:
    inner = filled("n2")

    def somebody_else(number: int) -> None:
        inner.txn([], [Put("/nodes/n2", b"%d" % number)])

    with pytest.raises(ConflictError, match="is changed by others meanwhile: stop them"):
        restore(FaultyStore(inner, meanwhile=somebody_else), parsed(filled("n1")), replace=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no export of a store"),
        (b"[]", "is no export of a store"),
        (b'{"version":1}', "cluster|records"),
        (b'{"version":1,"cluster":"x","records":{}}', "`cluster` is not that of its record /meta"),
        (b'{"version":1,"cluster":"","records":{},"more":1}', "unknown field more"),
        (b'{"version":1,"cluster":"","records":{"a":{}}}', "'a' is no key of a store"),
        (b'{"version":1,"cluster":"","records":{"/importing":{}}}', "is no key of a store"),
        (b'{"version":1,"cluster":"","records":{"/a":3}}', "a record is not an object"),
        (b'{"version":1,"cluster":"","records":{"/a":{"base64":"!"}}}', "is no export"),
        (b'{"version":1,"cluster":"","records":{"/a":{},"/a":{}}}', "/a is there twice"),
        (b'{"version":true,"cluster":"","records":{}}', "no known version"),
        (b'{"version":0,"cluster":"","records":{}}', "no known version"),
    ],
)
def test_what_is_no_export_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        parse_archive(content, "store.json")


def test_an_export_of_a_newer_version_is_refused() -> None:
    with pytest.raises(UnavailableError, match=r"newer version \(2, known is 1\): upgrade"):
        parse_archive(b'{"version":2}', "store.json")
