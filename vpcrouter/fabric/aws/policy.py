"""The IAM policy that the router needs, and nothing that it does not. Pure.

Which actions can be restricted to resources, and by which conditions: "Actions, resources, and
condition keys for Amazon EC2" in the service authorization reference. Describing calls cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOOKING = (
    "ec2:DescribeInstances",
    "ec2:DescribeManagedPrefixLists",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota",
)
DISCOVERING = ("ec2:DescribeNetworkAcls", "ec2:DescribeSecurityGroups")
EVENTS = ("sqs:DeleteMessage", "sqs:ReceiveMessage")
ROUTING = ("ec2:CreateRoute", "ec2:DeleteRoute", "ec2:ReplaceRoute")
INTERFACES = ("ec2:ModifyNetworkInterfaceAttribute",)

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Options:
    """What else is to be allowed: looking at firewalls, and the queue (its ARN) of events."""

    discover: bool = False
    queue: str | None = None


def policy(
    partition: str, region: str, account: str, vpc: str, tables: Sequence[str], options: Options
) -> Json:
    """The policy document; ``account`` and ``vpc`` may be ``*``, no tables means all of the VPC."""
    place = f"arn:{partition}:ec2:{region}:{account}"
    in_vpc: Json = {} if vpc == "*" else {"Condition": _in_vpc(f"{place}:vpc/{vpc}")}
    names = sorted(tables) or ["*"]
    looking = sorted((*LOOKING, *(DISCOVERING if options.discover else ())))
    statements: list[Json] = [
        {"Sid": "Look", "Effect": "Allow", "Action": looking, "Resource": "*"},
        {
            "Sid": "ChangeRoutes",
            "Effect": "Allow",
            "Action": list(ROUTING),
            "Resource": [f"{place}:route-table/{name}" for name in names],
            **in_vpc,
        },
        {
            "Sid": "LetNodesForward",
            "Effect": "Allow",
            "Action": list(INTERFACES),
            "Resource": f"{place}:network-interface/*",
            **in_vpc,
        },
    ]
    if options.queue is not None:
        hear: Json = {"Sid": "HearEvents", "Effect": "Allow", "Action": list(EVENTS)}
        statements.append({**hear, "Resource": options.queue})
    return {"Version": "2012-10-17", "Statement": statements}


def _in_vpc(vpc: str) -> Json:
    return {"ArnLike": {"ec2:Vpc": vpc}}
