"""The IAM policy that the router needs, and nothing that it does not. Pure.

Which actions can be restricted to resources, and by which conditions: "Actions, resources, and
condition keys for Amazon EC2" in the service authorization reference. Describing calls cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vpcrouter.fabric.arns import Place

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
DISCOVERING = (
    "ec2:DescribeNetworkAcls",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeVpcPeeringConnections",
)
EVENTS = ("sqs:DeleteMessage", "sqs:ReceiveMessage")
ROUTING = ("ec2:CreateRoute", "ec2:DeleteRoute", "ec2:ReplaceRoute")
ASSUMING = "sts:AssumeRole"
INTERFACES = ("ec2:ModifyNetworkInterfaceAttribute",)

Json = dict[str, object]

# The same call changes the security groups of an interface, which is nobody's business here.
_ONLY_THE_CHECK = {"StringEqualsIgnoreCase": {"ec2:Attribute/SourceDestCheck": ["true", "false"]}}


@dataclass(frozen=True, slots=True)
class Options:
    """What else is to be allowed: looking at firewalls, and the queue (its ARN) of events."""

    discover: bool = False
    queue: str | None = None


def policy(place: Place, vpc: str, tables: Sequence[str], options: Options) -> Json:
    """The policy document for a VPC; no tables means all that it has."""
    in_vpc = {"ArnLike": {"ec2:Vpc": place.arn("ec2", f"vpc/{vpc}")}}
    names = sorted(tables) or ["*"]
    looking = sorted((*LOOKING, *(DISCOVERING if options.discover else ())))
    statements: list[Json] = [
        {"Sid": "Look", "Effect": "Allow", "Action": looking, "Resource": "*"},
        {
            "Sid": "ChangeRoutes",
            "Effect": "Allow",
            "Action": list(ROUTING),
            "Resource": [place.arn("ec2", f"route-table/{name}") for name in names],
            "Condition": in_vpc,
        },
        {
            "Sid": "LetNodesForward",
            "Effect": "Allow",
            "Action": list(INTERFACES),
            "Resource": place.arn("ec2", "network-interface/*"),
            "Condition": {**in_vpc, **_ONLY_THE_CHECK},
        },
    ]
    if options.queue is not None:
        hear: Json = {"Sid": "HearEvents", "Effect": "Allow", "Action": list(EVENTS)}
        statements.append({**hear, "Resource": options.queue})
    return {"Version": "2012-10-17", "Statement": statements}


def assuming(role: str) -> Json:
    """The policy document for whoever is to assume a role, by its ARN."""
    statement = {"Sid": "ActAsRouter", "Effect": "Allow", "Action": ASSUMING, "Resource": role}
    return {"Version": "2012-10-17", "Statement": [statement]}
