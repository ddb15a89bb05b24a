"""Where an AWS account is, as ARNs name it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"))


@dataclass(frozen=True, slots=True)
class Place:
    """An account (its number; ``*``: any) in a region of a partition."""

    partition: str
    region: str
    account: str

    @classmethod
    def of(cls, region: str, account: str) -> Place:
        """A place in the partition that the region is in."""
        found = (partition for prefix, partition in _PARTITIONS if region.startswith(prefix))
        return cls(next(found, "aws"), region, account)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something there."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"
