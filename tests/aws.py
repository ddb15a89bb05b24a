"""An AWS account for tests: a describe document served on the loopback, and clients for it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3

from vpcrouter.fabric.aws.clients import Clients
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.aws.policy import DISCOVERING, EVENTS, INTERFACES, LOOKING, ROUTING
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.served.account import Account
from vpcrouter.fabric.served.server import Endpoint, serving
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.fabric.tables_file import MemoryStorage

REGION = "eu-central-1"
ALLOWED = frozenset(
    action.partition(":")[2] for action in (*LOOKING, *DISCOVERING, *ROUTING, *INTERFACES, *EVENTS)
)
"""What the policy allows: whatever else any test calls fails it."""

REFUSED = "DescribeInternetGateways"
"""Called by a test of what is no action of the served account."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@functools.cache
def session() -> boto3.Session:
    """One for all tests: it reads megabytes of API descriptions."""
    return boto3.Session(
        aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION
    )


@dataclass
class Disturbed:
    """Raises what a test has put in for the next calls of an action; remembers all calls.

    ``times`` are when each action was called first, in seconds of the machine.
    """

    errors_before: dict[str, list[Exception]] = field(default_factory=dict)
    errors_after: dict[str, list[Exception]] = field(default_factory=dict)
    always: dict[str, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)

    uncovered: set[str] = field(default_factory=set)

    def before(self, action: str) -> None:
        self.calls.append(action)
        if action not in ALLOWED and action != REFUSED:
            self.uncovered.add(action)
        self.times.setdefault(action, time.monotonic())
        if action in self.always:
            raise self.always[action]
        if self.errors_before.get(action):
            raise self.errors_before[action].pop(0)

    def after(self, action: str) -> None:
        if self.errors_after.get(action):
            raise self.errors_after[action].pop(0)

    def count(self, action: str) -> int:
        return self.calls.count(action)


@dataclass
class Served:
    """A served account; time passes where somebody waits on the clock."""

    account: Account
    url: str
    clock: SimulatedClock
    disturbed: Disturbed

    def clients(self, region: str = REGION) -> Clients:
        return Clients(session(), region, self.url)

    def fabric(self, vpc: str = "vpc-1", quota: int | None = None) -> AwsFabric:
        return AwsFabric(self.clients(), vpc, quota, self.clock)


@contextmanager
def served(
    describe: Path, behaviour: Behaviour | None = None, region: str = REGION
) -> Iterator[Served]:
    """Serve what a describe file says."""
    clock = SimulatedClock()
    account = Account.open(describe, lambda _: MemoryStorage(), clock, behaviour or Behaviour())
    disturbed = Disturbed()
    with serving(Endpoint(account, region, disturbed), 0) as url:
        yield Served(account, url, clock, disturbed)
    assert not disturbed.uncovered, "calls that the printed policy does not allow"
