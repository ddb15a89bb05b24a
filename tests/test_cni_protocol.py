"""CNI requests and results: whatever is sent gives a request or an error with a code."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni.errors import CniError, Code
from cni.protocol import (
    Attachment,
    Command,
    Request,
    answer_version,
    dump_error,
    dump_versions,
    parse_request,
)
from cni.results import Address, Dns, Interface, Result, Route, dump, parse_result
from cni.versions import VERSIONS
from ipam.prefix import Family
from tests import generators
from tests.counts import examples

ENVIRONMENT = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web-0",
}
PREVIOUS = {
    "cniVersion": "1.1.0",
    "interfaces": [{"name": "eth0", "mac": "0a:00:00:00:00:01", "sandbox": "/n", "mtu": 1500}],
    "ips": [{"address": "10.0.0.4/24", "gateway": "10.0.0.1", "interface": 0}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400, "table": 7}],
    "dns": {"nameservers": ["10.0.0.2"], "search": ["cluster.local"]},
}
CONFIG: Mapping[str, object] = {
    "cniVersion": "1.1.0",
    "name": "pods",
    "type": "vpcrouter-cni",
    "capabilities": {"ips": True},
    "runtimeConfig": {"ips": ["10.0.0.7", "fd00::7/64"], "mac": "0A:00:00:00:00:02"},
    "dns": {"domain": "cluster.local", "options": ["ndots:5"]},
    "prevResult": PREVIOUS,
    "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
}
# The codes that the specification has for a request that is wrong.
REFUSALS = {Code.VERSION, Code.ENVIRONMENT, Code.DECODE, Code.CONFIG}


def environment(command: str, **changed: str) -> dict[str, str]:
    return {**ENVIRONMENT, "CNI_COMMAND": command, **changed}


def stdin(**changed: object) -> bytes:
    return json.dumps({**CONFIG, **changed}).encode()


def refusal(variables: Mapping[str, str], content: bytes) -> CniError:
    with pytest.raises(CniError) as caught:
        parse_request(variables, content)
    return caught.value


# Fuzzing: everything is replaced by anything, one place at a time and several at once.

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["10.0.0.4/24", "fd00::4", "0.0.0.0/0", "1.0.0", "0.4.0", "../x", "a" * 300]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place of a JSON value, from the outermost in."""
    found = [here]
    if isinstance(value, dict):
        found += [p for key, inner in value.items() for p in places(inner, (*here, key))]
    if isinstance(value, list):
        found += [p for index, inner in enumerate(value) for p in places(inner, (*here, index))]
    return found


def with_replaced(value: object, place: tuple[str | int, ...], junk: object) -> object:
    if not place:
        return junk
    copy = json.loads(json.dumps(value))
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = junk
    return copy


@st.composite
def damaged_inputs(draw: st.DrawFn) -> bytes:
    value: object = {**CONFIG, "cniVersion": draw(st.sampled_from(VERSIONS))}
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.sampled_from(places(value)))
        value = with_replaced(value, place, draw(JUNK))
    content = json.dumps(value).encode()
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + draw(st.binary(max_size=4)) + content[cut:][:-1]
    return content


@st.composite
def damaged_environments(draw: st.DrawFn) -> dict[str, str]:
    variables = environment(draw(st.sampled_from(list(Command))))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(variables) or ["CNI_COMMAND"]))
        if draw(st.booleans()):
            variables.pop(name, None)
        else:
            variables[name] = draw(st.text(max_size=20))
    return variables


def parsed(variables: Mapping[str, str], content: bytes) -> Request | CniError:
    try:
        return parse_request(variables, content)
    except CniError as error:
        return error


@settings(max_examples=examples(test=300, prove=10_000))
@given(damaged_environments(), damaged_inputs())
def test_anything_gives_a_request_or_a_refusal(variables: dict[str, str], content: bytes) -> None:
    version = answer_version(content)
    assert version in VERSIONS
    outcome = parsed(variables, content)
    if isinstance(outcome, CniError):
        assert outcome.code in REFUSALS
        assert "\n" not in str(outcome)
        json.dumps(dump_error(outcome.code, str(outcome), version))
        return
    assert outcome.version in VERSIONS
    if outcome.previous is not None:
        json.dumps(dump(outcome.previous, outcome.version))


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    assert refusal(environment("ADD"), content).code in (Code.DECODE, Code.CONFIG)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"9" * 10_000, b'{"a":' * 50_000, b""])
def test_json_that_hurts_parsers_is_refused(content: bytes) -> None:
    assert refusal(environment("ADD"), content).code is Code.DECODE


def test_a_configuration_of_two_megabytes_is_refused() -> None:
    assert refusal(environment("ADD"), stdin(pad="x" * 2_000_000)).code is Code.DECODE


# What the specification asks of each request


def test_all_missing_variables_are_named_at_once() -> None:
    error = refusal({"CNI_COMMAND": "ADD", "CNI_IFNAME": "eth0"}, stdin())
    assert error.code is Code.ENVIRONMENT
    assert all(name in str(error) for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_PATH"))
    assert "CNI_IFNAME" not in str(error)


def test_del_needs_neither_netns_nor_path() -> None:
    variables = environment("DEL", CNI_NETNS="", CNI_PATH="")
    request = parse_request(variables, stdin())
    assert request.attachment == Attachment("c1", "eth0")
    assert request.netns == ""


@pytest.mark.parametrize("command", ["", "add", "DELETE", "ADD "])
def test_an_unknown_command_is_refused(command: str) -> None:
    assert refusal(environment(command), stdin()).code is Code.ENVIRONMENT


@pytest.mark.parametrize("ifname", [".", "..", "a/b", "a:b", "a b", "a" * 16, "eth\n0", "ö"])
def test_an_impossible_interface_name_is_refused(ifname: str) -> None:
    assert refusal(environment("ADD", CNI_IFNAME=ifname), stdin()).code is Code.ENVIRONMENT


@pytest.mark.parametrize("container", ["-a", "a/b", "../a", "a b", "a\n"])
def test_an_impossible_container_id_is_refused(container: str) -> None:
    error = refusal(environment("ADD", CNI_CONTAINERID=container), stdin())
    assert error.code is Code.ENVIRONMENT


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", 3])
def test_an_impossible_network_name_is_refused(name: object) -> None:
    assert refusal(environment("ADD"), stdin(name=name)).code is Code.CONFIG


@pytest.mark.parametrize("version", ["0.0.9", "1.2.0", "2", "1.1"])
def test_an_unsupported_version_is_refused(version: str) -> None:
    assert refusal(environment("ADD"), stdin(cniVersion=version)).code is Code.VERSION


def test_a_missing_version_means_the_first_one() -> None:
    config = {key: value for key, value in CONFIG.items() if key != "cniVersion"}
    assert parse_request(environment("ADD"), json.dumps(config).encode()).version == "0.1.0"


@pytest.mark.parametrize(
    ("command", "since"), [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_newer_commands_need_newer_versions(command: str, since: str, version: str) -> None:
    content = stdin(cniVersion=version)
    if VERSIONS.index(version) >= VERSIONS.index(since):
        assert parse_request(environment(command), content).version == version
    else:
        assert refusal(environment(command), content).code is Code.VERSION


def test_check_needs_the_result_of_add() -> None:
    assert refusal(environment("CHECK"), stdin(prevResult=None)).code is Code.CONFIG


def test_gc_without_a_list_frees_nothing() -> None:
    content = stdin(**{"cni.dev/valid-attachments": None})
    assert refusal(environment("GC"), content).code is Code.CONFIG


def test_gc_reads_the_list_of_older_callers() -> None:
    listed = CONFIG["cni.dev/valid-attachments"]
    content = stdin(**{"cni.dev/valid-attachments": None, "cni.dev/attachments": listed})
    assert parse_request(environment("GC"), content).valid == {Attachment("c1", "eth0")}


def test_version_needs_nothing() -> None:
    request = parse_request({"CNI_COMMAND": "VERSION"}, b"")
    assert dump_versions(request.version)["supportedVersions"] == list(VERSIONS)


def test_what_the_runtime_wants_is_read() -> None:
    request = parse_request(environment("ADD"), stdin())
    assert request.wanted == ((Family.IPV4, 0x0A000007), (Family.IPV6, (0xFD00 << 112) + 7))
    assert request.mac == "0a:00:00:00:00:02"
    assert request.dns == Dns(domain="cluster.local", options=("ndots:5",))


@pytest.mark.parametrize("mac", ["01:00:00:00:00:00", "00:00:00:00:00:00", "0a-00", "0a:0b"])
def test_a_mac_that_no_interface_can_have_is_refused(mac: str) -> None:
    content = stdin(runtimeConfig={"mac": mac})
    assert refusal(environment("ADD"), content).code is Code.CONFIG


# Results


@st.composite
def results(draw: st.DrawFn) -> Result:
    names = st.text(max_size=8)
    numbers = st.none() | st.integers(0, 2**32 - 1)
    interfaces = draw(st.lists(st.builds(Interface, names, names, names, numbers), max_size=3))
    addresses = []
    for _ in range(draw(st.integers(0, 3))):
        family = draw(generators.families())
        any_address = generators.addresses(family)
        addresses.append(
            Address(
                family,
                draw(any_address),
                draw(st.integers(0, family.width)),
                draw(st.none() | any_address),
                draw(st.none() | st.integers(0, len(interfaces) - 1)) if interfaces else None,
            )
        )
    routes = []
    for destination in draw(st.lists(generators.prefixes(), max_size=3)):
        gateway = draw(st.none() | generators.addresses(destination.family))
        routes.append(Route(destination, gateway, draw(st.sampled_from(((), (("mtu", 1400),))))))
    texts = st.lists(names, max_size=2).map(tuple)
    dns = draw(st.builds(Dns, texts, names, texts, texts))
    return Result(tuple(interfaces), tuple(addresses), tuple(routes), dns)


@settings(max_examples=examples(test=40, prove=2_000))
@given(results(), st.sampled_from(VERSIONS))
def test_a_result_keeps_what_its_version_can_say(result: Result, version: str) -> None:
    written = json.dumps(dump(result, version))
    read = parse_result(json.loads(written), "0.1.0")
    assert json.dumps(dump(read, version)) == written
    if version == "1.1.0":
        assert read == result


@settings(max_examples=examples(test=40, prove=2_000))
@given(results(), results())
def test_results_of_plugins_before_come_first(own: Result, previous: Result) -> None:
    both = own.after(previous)
    assert both.interfaces[: len(previous.interfaces)] == previous.interfaces
    assert both.addresses[: len(previous.addresses)] == previous.addresses
    for address, moved in zip(
        own.addresses, both.addresses[len(previous.addresses) :], strict=True
    ):
        if address.interface is not None and moved.interface is not None:
            assert both.interfaces[moved.interface] == own.interfaces[address.interface]


def shape(version: str) -> dict[str, object]:
    return dump(parse_result(PREVIOUS, version), version)


def test_the_oldest_shape_has_one_address_of_each_family() -> None:
    assert shape("0.2.0")["ip4"] == {
        "ip": "10.0.0.4/24",
        "gateway": "10.0.0.1",
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}],
    }
    assert "ips" not in shape("0.2.0")


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0"])
def test_the_middle_shape_says_the_family_of_each_address(version: str) -> None:
    assert shape(version)["ips"] == [
        {"address": "10.0.0.4/24", "version": "4", "gateway": "10.0.0.1", "interface": 0}
    ]


def test_only_the_newest_shape_has_mtu_and_route_details() -> None:
    assert shape("1.1.0") == PREVIOUS
    assert "mtu" not in str(shape("1.0.0"))
