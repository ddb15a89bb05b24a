"""What must be allowed for a call to the served account: action, resource, condition keys.

Which actions can be restricted to resources, and which condition keys they have: "Actions,
resources, and condition keys" of Amazon EC2, Amazon SQS, Service Quotas and AWS STS in the service
authorization reference. Describing calls and those of Service Quotas cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from vpcrouter.fabric.arns import Place
from vpcrouter.fabric.codes import Call
from vpcrouter.fabric.served.account import Account
from vpcrouter.fabric.served.iam import ANY, Asked

_ON_TABLES = frozenset({Call.CREATE.value, Call.REPLACE.value, Call.DELETE.value})
_ATTRIBUTES = frozenset(
    {
        "AssociatePublicIpAddress",
        "ConnectionTrackingSpecification",
        "Description",
        "EnaSrdSpecification",
        "EnablePrimaryIpv6",
        "SourceDestCheck",
    }
)

Item = Mapping[str, Any]
Context = dict[str, Sequence[str]]


def of_ec2(place: Place, account: Account, action: str, fields: Mapping[str, str]) -> Asked | None:
    """What a call to EC2 asks for; None where it is about what does not exist: that is said."""
    name = f"ec2:{action}"
    if action in _ON_TABLES:
        table = account.table(fields.get("RouteTableId", ""))
        if table is None:
            return None
        identity = table["RouteTableId"]
        own = {**_shared(place, table), "ec2:routetableid": [identity]}
        return _on(place, name, f"route-table/{identity}", own)
    if action == Call.MODIFY_INTERFACE:
        interface = account.interface(fields.get("NetworkInterfaceId", ""))
        if interface is None:
            return None
        own = {**_of_interface(place, interface), **dict(_attributes(fields))}
        return _on(place, name, f"network-interface/{interface['NetworkInterfaceId']}", own)
    return Asked(name, ANY, _global(place))


def of_quotas(place: Place, action: str) -> Asked:
    """What a call to Service Quotas asks for."""
    return Asked(f"servicequotas:{action}", ANY, {"aws:requestedregion": [place.region]})


def of_sqs(place: Place, action: str, url: str) -> Asked:
    """What a call to SQS asks for: a queue's URL ends with its account and name."""
    account, _, name = urlsplit(url).path.strip("/").rpartition("/")
    queue = f"arn:{place.partition}:sqs:{place.region}:{account or place.account}:{name}"
    return Asked(f"sqs:{action}", queue, {"aws:requestedregion": [place.region]})


def of_sts(place: Place, action: str, fields: Mapping[str, str]) -> Asked:
    """What a call to STS asks for."""
    context: Context = {"aws:requestedregion": [place.region]}
    for key, name in (("sts:externalid", "ExternalId"), ("sts:rolesessionname", "RoleSessionName")):
        if fields.get(name):
            context[key] = [fields[name]]
    return Asked(f"sts:{action}", fields.get("RoleArn") or ANY, context)


def _on(place: Place, action: str, resource: str, context: Context) -> Asked:
    return Asked(action, place.arn("ec2", resource), {**_global(place), **context})


def _global(place: Place) -> Context:
    return {"aws:requestedregion": [place.region], "ec2:region": [place.region]}


def _shared(place: Place, item: Item) -> Context:
    """What tables and interfaces have alike: their VPC and their tags."""
    found: Context = {"ec2:vpc": [place.arn("ec2", f"vpc/{item['VpcId']}")]}
    for tag in (*item.get("Tags", ()), *item.get("TagSet", ())):
        for prefix in ("aws:resourcetag/", "ec2:resourcetag/"):
            found[prefix + tag["Key"].lower()] = [tag["Value"]]
    return found


def _of_interface(place: Place, item: Item) -> Context:
    found = _shared(place, item)
    found["ec2:networkinterfaceid"] = [item["NetworkInterfaceId"]]
    found["ec2:subnet"] = [place.arn("ec2", f"subnet/{item['SubnetId']}")]
    if item.get("AvailabilityZone"):
        found["ec2:availabilityzone"] = [item["AvailabilityZone"]]
    return found


def _attributes(fields: Mapping[str, str]) -> Iterator[tuple[str, Sequence[str]]]:
    """What is to be modified, and to what."""
    found: list[str] = []
    for name, value in fields.items():
        attribute = name.partition(".")[0]
        if attribute in _ATTRIBUTES:
            found.append(attribute)
            yield f"ec2:attribute/{attribute.lower()}", [value]
        elif attribute == "SecurityGroupId":
            found.append("GroupSet")
    yield "ec2:attribute", found
