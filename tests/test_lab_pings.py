"""Pings of the lab: each answer counts for its own pair, losses are losses, and courses hold."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.errors import UnavailableError
from tests.namespaces import Namespace, eventually, namespaces
from vpcrouter.lab.pinger import Answer, Pair, Pinger, lost
from vpcrouter.lab.spaces import switch
from vpcrouter.lab.trace import trace
from vpcrouter.lab.watch import Course, Watch

root = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def wired(root: None) -> Iterator[tuple[Namespace, Namespace]]:  # noqa: ARG001
    """Two namespaces on one link, with addresses of both families: 1 and 2."""
    with namespaces(2) as (left, right):
        for space in (left, right):
            with space.entered():
                switch("ipv6/conf/default/dad_transmits", "0")
        with left.kernel() as kernel, Path(right.path).open() as there:
            peer = {"ifname": "link", "net_ns_fd": there.fileno()}
            kernel.link("add", ifname="link", kind="veth", peer=peer)
        for number, space in enumerate((left, right), start=1):
            with space.kernel() as kernel:
                index = kernel.link_lookup(ifname="link")[0]
                kernel.link("set", index=index, state="up")
                kernel.addr("add", index=index, address=f"192.0.2.{number}", prefixlen=24)
                address = f"2001:db8::{number}"
                kernel.addr("add", index=index, address=address, prefixlen=64, flags=2)
        # Neighbours are looked for, which takes a while on a busy machine.
        for space, other in ((left, 2), (right, 1)):
            for address in (f"192.0.2.{other}", f"2001:db8::{other}"):
                eventually(partial(space.ping, address, timeout=0.2))
        yield left, right


def sources(wired: tuple[Namespace, Namespace]) -> dict[str, Path]:
    return {name: Path(space.path) for name, space in zip("lr", wired, strict=True)}


@root
def test_answers_and_losses_are_told_apart(wired: tuple[Namespace, Namespace]) -> None:
    good = [Pair("l", "192.0.2.2"), Pair("l", "2001:db8::2"), Pair("r", "192.0.2.1")]
    bad = [Pair("l", "192.0.2.77"), Pair("r", "198.51.100.1"), Pair("r", "2001:db8::77")]
    with Pinger(sources(wired)) as pinger:
        told: list[Answer] = []
        answers = pinger.ping([*good, *bad] * 3, timeout=0.3, progress=told.append)
    assert sorted(lost(answers), key=str) == sorted(bad * 3, key=str)
    assert told == answers
    assert all(a.seconds > 0 for a in answers if a.seconds is not None)


@root
def test_many_losses_take_a_bounded_time(wired: tuple[Namespace, Namespace]) -> None:
    pairs = [Pair("l", f"192.0.2.{number}") for number in range(50, 250)] * 3
    with Pinger(sources(wired)) as pinger:
        begin = time.monotonic()
        assert len(lost(pinger.ping(pairs, timeout=0.1))) == 600
        assert time.monotonic() - begin < 30.0  # one after the other it would be 60


@root
def test_pingers_beside_each_other_keep_to_their_own_answers(
    wired: tuple[Namespace, Namespace],
) -> None:
    with Pinger(sources(wired)) as one, Pinger(sources(wired)) as other:
        with Watch(one, [Pair("l", "192.0.2.2")]) as watch:
            assert lost(other.ping([Pair("l", "192.0.2.2")] * 500)) == []
            watch.wait(100)
        (course,) = watch.courses.values()
        assert course.lost == 0
        assert len(course.answers) > 100


@root
def test_a_watch_sees_when_a_pair_is_cut_and_when_it_is_back(
    wired: tuple[Namespace, Namespace],
) -> None:
    pairs = [Pair("l", "192.0.2.2"), Pair("r", "192.0.2.2")]
    left, _ = wired
    with Pinger(sources(wired)) as pinger, Watch(pinger, pairs) as watch:
        watch.wait()
        with left.kernel() as kernel:
            index = kernel.link_lookup(ifname="link")[0]
            kernel.link("set", index=index, state="down")
            time.sleep(0.2)
            kernel.link("set", index=index, state="up")
        back = time.monotonic()
        watch.wait(2)
        time.sleep(0.5)
    cut, own = (watch.courses[pair] for pair in pairs)
    assert cut.lost > 0
    assert cut.back is not None
    assert back - 0.3 < cut.back
    assert own.lost == 0
    with left.kernel() as kernel:  # IPv6 addresses do not survive that
        kernel.addr("add", index=index, address="2001:db8::1", prefixlen=64, flags=2)


@given(st.lists(st.booleans()))
def test_back_is_where_losses_end(arrived: list[bool]) -> None:
    pair = Pair("a", "192.0.2.1")
    answers = [Answer(pair, float(n), 0.001 if ok else None) for n, ok in enumerate(arrived)]
    course = Course(pair, answers)
    assert course.lost == arrived.count(False)
    if course.back is None:
        assert not arrived or not arrived[-1]
    else:
        first = int(course.back)
        assert all(arrived[first:])
        assert first == 0 or not arrived[first - 1]


@root
def test_whose_namespace_is_gone_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(UnavailableError, match=r"has no network namespace"):
            Pinger({"a": path})


@root
def test_a_way_is_followed_to_its_end(wired: tuple[Namespace, Namespace]) -> None:
    space = Path(wired[0].path)
    assert trace(space, "192.0.2.2") == ["192.0.2.2"]
    assert trace(space, "2001:db8::2") == ["2001:db8::2"]
    with pytest.raises(UnavailableError, match=r"no packet can be sent to 198\.51\.100\.1"):
        trace(space, "198.51.100.1")


class Held:
    """A clock for a process that the machine lets wait for ten seconds before its nth look."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self.late = 0.0

    def monotonic(self) -> float:
        self._left -= 1
        if self._left == 0:
            self.late = 10.0
        return time.monotonic() + self.late

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Late(selectors.DefaultSelector):
    """Nothing has arrived until the process that looks is held up."""

    def __init__(self, clock: Held) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout) if self._clock.late else []


@root
@pytest.mark.parametrize("nth", range(1, 15))
def test_who_is_held_up_takes_no_answer_for_a_loss(
    wired: tuple[Namespace, Namespace], monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """On a busy machine, answers come and lie there before anybody looks again."""
    clock = Held(nth)
    monkeypatch.setattr("selectors.DefaultSelector", lambda: Late(clock))
    pairs = [Pair("l", "192.0.2.2"), Pair("l", "2001:db8::2"), Pair("r", "192.0.2.1")]
    with Pinger(sources(wired)) as pinger:
        monkeypatch.setattr("vpcrouter.lab.pinger.time", clock)
        assert lost(pinger.ping(pairs)) == []


@root
@pytest.mark.parametrize("nth", range(1, 6))
def test_who_is_held_up_follows_a_packet_all_the_same(
    wired: tuple[Namespace, Namespace], monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setattr("vpcrouter.lab.trace.time", Held(nth))
    for target in ("192.0.2.2", "2001:db8::2"):
        assert trace(Path(wired[0].path), target) == [target]
