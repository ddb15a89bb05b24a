"""Service Quotas' calls: what a route table takes in the served account."""

from __future__ import annotations

import json
from collections.abc import Mapping

from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.describe import DEFAULT_QUOTA, ROUTES_QUOTA
from vpcrouter.fabric.served.account import Account

TARGET = "ServiceQuotasV20190624."
NO_SUCH_RESOURCE = "NoSuchResourceException"
ILLEGAL_ARGUMENT = "IllegalArgumentException"
UNKNOWN_OPERATION = "UnknownOperationException"

_NAMES = {"GetServiceQuota", "GetAWSDefaultServiceQuota"}
_FIELDS = {"ServiceCode", "QuotaCode"}


def answer_call(account: Account, action: str, body: str) -> Mapping[str, object]:
    """The answer to an action. Raises Ec2Error with Service Quotas' codes."""
    if action not in _NAMES:
        raise Ec2Error(UNKNOWN_OPERATION, f"There is no action {action}.")
    service, code = _asked_for(body)
    applied = account.quota() if action == "GetServiceQuota" else DEFAULT_QUOTA
    if (service, code) != ("vpc", ROUTES_QUOTA) or applied is None:
        raise Ec2Error(NO_SUCH_RESOURCE, f"The request failed because {code} was not found.")
    return {
        "Quota": {
            "ServiceCode": service,
            "QuotaCode": code,
            "QuotaName": "Routes per route table",
            "Value": float(applied),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
    }


def _asked_for(body: str) -> tuple[str, str]:
    try:
        document: object = json.loads(body)
    except ValueError as error:
        raise Ec2Error("SerializationException", "The request is no JSON.") from error
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise Ec2Error(ILLEGAL_ARGUMENT, "ServiceCode and QuotaCode are what is needed.")
    return str(document["ServiceCode"]), str(document["QuotaCode"])
