"""An AWS account for tests: a describe document served on the loopback, and clients for it."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import botocore.session
import pytest

from vpcrouter.fabric.arns import Place
from vpcrouter.fabric.aws.clients import Clients, signing
from vpcrouter.fabric.aws.fabric import AwsFabric
from vpcrouter.fabric.aws.policy import (
    DISCOVERING,
    EVENTS,
    INTERFACES,
    LOOKING,
    ROUTING,
    Options,
    policy,
)
from vpcrouter.fabric.aws.settings import AssumedRole
from vpcrouter.fabric.clock import SimulatedClock
from vpcrouter.fabric.served.access import Access
from vpcrouter.fabric.served.account import NO_OWNER, Account
from vpcrouter.fabric.served.iam import Asked, Policy, parse_policy
from vpcrouter.fabric.served.server import Endpoint, serving
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.fabric.tables_file import MemoryStorage

REGION = "eu-central-1"
QUEUE = "https://sqs.eu-central-1.amazonaws.com/000000000000/events"

ALLOWED = frozenset(
    action.partition(":")[2] for action in (*LOOKING, *DISCOVERING, *ROUTING, *INTERFACES, *EVENTS)
)
"""The actions that the policy allows."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@functools.cache
def source() -> botocore.session.Session:
    """Who calls: one for all tests, since it reads megabytes of API descriptions."""
    made = botocore.session.Session()
    made.set_credentials("testing", "testing")
    return made


@functools.cache
def session() -> boto3.Session:
    """The same for boto3."""
    return signing(source(), REGION, None, None)


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
    asked_for: list[Asked] = field(default_factory=list)

    def asked(self, asked: Asked) -> None:
        self.asked_for.append(asked)

    def before(self, action: str) -> None:
        self.calls.append(action)
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
    access: Access

    def clients(self, region: str = REGION) -> Clients:
        return Clients(session(), region, self.url)

    def fabric(self, vpc: str = "vpc-1", quota: int | None = None) -> AwsFabric:
        return AwsFabric(self.clients(), vpc, quota, self.clock)


def printed(vpc: str, *, region: str = REGION, tables: Sequence[str] = ()) -> Policy:
    """What ``vpcrouter aws iam-policy`` prints for a VPC, with all options."""
    place = Place.of(region, NO_OWNER)
    options = Options(discover=True, queue=place.arn("sqs", "events"))
    return parse_policy(json.loads(json.dumps(policy(place, vpc, tables, options))), "policy")


@contextmanager
def served(
    describe: Path,
    behaviour: Behaviour | None = None,
    region: str = REGION,
    access: Access | None = None,
) -> Iterator[Served]:
    """Serve what a describe file says, to who may do what the printed policy allows.

    With ``access`` to those whom that names. Whatever is called that the policy does not cover
    fails the test.
    """
    clock = SimulatedClock()
    account = Account.open(describe, lambda _: MemoryStorage(), clock, behaviour or Behaviour())
    allowed = printed(account.name, region=region)
    disturbed = Disturbed()
    enforced = access or Access(allowed, {})
    with serving(Endpoint(account, region, disturbed, enforced), 0) as url:
        yield Served(account, url, clock, disturbed, enforced)
    uncovered = [asked for asked in disturbed.asked_for if not allowed.allows(asked)]
    assert access or not uncovered, "calls that the printed policy does not allow"


def as_role(role: AssumedRole | None, region: str, endpoint: str | None) -> boto3.Session:
    """The session of all tests, or one that acts as a role."""
    return session() if role is None else signing(source(), region, endpoint, role)


def quick_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command builds its clients anew, from megabytes of API descriptions: not in tests."""
    monkeypatch.setattr(
        "vpcrouter.fabric.aws.fabric.connect",
        lambda region, endpoint, role: Clients(as_role(role, region, endpoint), region, endpoint),
    )
