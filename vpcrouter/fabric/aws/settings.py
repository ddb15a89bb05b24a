"""Where a VPC of AWS is found, as whom, and how all that is named. Knows nothing of the SDK."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ipam.errors import BadInputError

REGION = r"^[a-z]{2,3}(-[a-z]+)+-[0-9]+$"
VPC = r"^vpc-[0-9a-z]+$"
ENDPOINT = r"^https?://[^/\s]+/?$"
QUEUE = r"^https?://[^/\s]+/[^\s]+$"
ROLE = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$"
EXTERNAL_ID = r"^[A-Za-z0-9_+=,.@:/-]+$"
SESSION = r"^[A-Za-z0-9_+=,.@-]+$"
SHAPES = {
    REGION: "a region is named like eu-central-1",
    VPC: "a VPC is named like vpc-0123456789abcdef0",
    ROLE: "a role is named by its ARN, like arn:aws:iam::111122223333:role/vpcrouter",
    EXTERNAL_ID: "an external id has letters, digits and _+=,.@:/- only",
    SESSION: "a session name has letters, digits and _+=,.@- only",
    QUEUE: "a queue is a URL like https://sqs.eu-central-1.amazonaws.com/111122223333/name",
    ENDPOINT: "an endpoint is a URL like https://ec2.eu-central-1.amazonaws.com",
}
"""What is said to whoever names one otherwise."""


def check_shape(text: str, shape: str) -> None:
    """Raises BadInputError where a text is not of one of the ``SHAPES``."""
    if not re.fullmatch(shape, text):
        raise BadInputError(f"{text!r}: {SHAPES[shape]}")


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role to act as, by its ARN.

    ``external_id`` is what it asks of those who assume it (None: nothing), ``session`` the name
    under which AWS's logs show who it was.
    """

    arn: str
    external_id: str | None
    session: str


@dataclass(frozen=True, slots=True)
class AwsSource:
    """A VPC of AWS; ``endpoint`` is the URL of another than the region's own, None: that one.

    ``queue`` is the URL of a queue with events about instances. Without a ``role``, whoever the
    usual chain of credentials names acts for itself.
    """

    region: str
    vpc: str
    endpoint: str | None
    queue: str | None = None
    role: AssumedRole | None = None
