"""Where a VPC of AWS is found, and as whom. Knows nothing of the SDK."""

from __future__ import annotations

from dataclasses import dataclass


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
