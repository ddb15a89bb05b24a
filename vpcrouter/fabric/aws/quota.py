"""How many entries a route table takes: as Service Quotas says, or as well as is known."""

from __future__ import annotations

from dataclasses import dataclass

from ipam.errors import UnavailableError
from vpcrouter.fabric.aws.asking import Asker
from vpcrouter.fabric.aws.clients import Clients
from vpcrouter.fabric.describe import DEFAULT_QUOTA, ROUTES_QUOTA

SERVICE = "vpc"


@dataclass(frozen=True, slots=True)
class Quota:
    """Entries per table and family; ``source`` says where the number is from, for people."""

    entries: int
    source: str
    warning: str = ""


def applied_quota(clients: Clients, asker: Asker, stated: int | None) -> Quota:
    """The quota of the account; what the operator states lowers it, or stands in for it."""
    try:
        read = asker.ask("servicequotas:GetServiceQuota", lambda: _applied(clients))
        if read is None:
            read = asker.ask("servicequotas:GetAWSDefaultServiceQuota", lambda: _usual(clients))
    except UnavailableError as error:
        if stated is not None:
            return Quota(stated, "as the cluster file says; Service Quotas could not be read")
        warning = (
            f"{error}; assuming {DEFAULT_QUOTA} entries a table: set fabric.quota if your account "
            "has another number"
        )
        return Quota(DEFAULT_QUOTA, "assumed: Service Quotas could not be read", warning)
    if stated is not None and stated < read.entries:
        return Quota(stated, f"as the cluster file says; {read.entries:,} {read.source}")
    return read


def _applied(clients: Clients) -> Quota | None:
    """The account's own value, if it has one. Raises botocore's errors."""
    try:
        found = clients.quotas.get_service_quota(ServiceCode=SERVICE, QuotaCode=ROUTES_QUOTA)
    except clients.quotas.exceptions.NoSuchResourceException:
        return None
    return Quota(int(found["Quota"]["Value"]), "applied to the account, as Service Quotas says")


def _usual(clients: Clients) -> Quota:
    """The value of accounts without one of their own. Raises botocore's errors."""
    usual = clients.quotas.get_aws_default_service_quota(
        ServiceCode=SERVICE, QuotaCode=ROUTES_QUOTA
    )
    return Quota(int(usual["Quota"]["Value"]), "the default of AWS, as Service Quotas says")
