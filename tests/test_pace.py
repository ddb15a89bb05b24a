"""How fast calls are sent: a little below the account's rate, by all processes together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipam.store.memory import MemoryStore
from ipam.store.port import Put
from vpcrouter.fabric.bucket import TokenBucket
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.codes import Call
from vpcrouter.service import LocalPace, Pace, SharedPace
from vpcrouter.service.pace import CALLS, SIZE

PACES: dict[str, Callable[[SimulatedClock], Pace]] = {
    "alone": lambda clock: LocalPace(clock.now),
    "shared": lambda clock: SharedPace(MemoryStore(), clock.now),
}


@pytest.fixture(params=list(PACES))
def make(request: pytest.FixtureRequest) -> Callable[[SimulatedClock], Pace]:
    return PACES[request.param]


def send(pace: Pace, clock: SimulatedClock, call: Call, *, urgent: bool = False) -> None:
    while (wait := pace.take(call, urgent=urgent)) > 0:
        clock.sleep(wait)


def test_calls_stay_below_what_the_account_takes_and_not_far(
    make: Callable[[SimulatedClock], Pace],
) -> None:
    clock = SimulatedClock()
    pace = make(clock)
    account = TokenBucket(50, 5.0, 0.0)
    for sent in range(300):
        send(pace, clock, Call.CREATE)
        assert account.take(clock.now()) == 0, f"call {sent} is one too many"
    assert clock.now() <= 1.2 * (300 - 50) / 5


def test_after_a_burst_of_others_something_is_left_for_what_is_urgent(
    make: Callable[[SimulatedClock], Pace],
) -> None:
    clock = SimulatedClock()
    pace = make(clock)
    while pace.take(Call.REPLACE, urgent=False) == 0:
        pass
    urgent = 0
    while pace.take(Call.REPLACE, urgent=True) == 0:
        urgent += 1
    assert urgent == 15
    assert pace.take(Call.CREATE, urgent=False) == 0, "each call has a bucket of its own"


def test_what_the_account_refuses_slows_everybody_down(
    make: Callable[[SimulatedClock], Pace],
) -> None:
    clock = SimulatedClock()
    pace = make(clock)
    pace.slow_down(Call.DELETE, 7.0)
    assert pace.take(Call.DELETE, urgent=True) == pytest.approx(7.0)
    clock.sleep(7.0)
    assert pace.take(Call.DELETE, urgent=False) == 0


def test_processes_share_what_there_is() -> None:
    clock = SimulatedClock()
    store = MemoryStore()
    paces = [SharedPace(store, clock.now) for _ in range(3)]
    sent = 0
    while paces[sent % 3].take(Call.CREATE, urgent=False) == 0:
        sent += 1
    assert sent == SIZE


def test_a_clock_that_is_set_back_or_a_damaged_record_stops_nobody_for_long() -> None:
    clock = SimulatedClock(1_000_000.0)
    store = MemoryStore()
    SharedPace(store, clock.now).take(Call.CREATE, urgent=False)
    early = SimulatedClock(5.0)
    assert SharedPace(store, early.now).take(Call.CREATE, urgent=False) == 0
    for value in (b"", b"[]", b'{"tokens":"x","at":0}', b'{"at":1}'):
        store.txn([], [Put(CALLS + Call.DELETE, value)])
        assert SharedPace(store, early.now).take(Call.DELETE, urgent=False) < 1
