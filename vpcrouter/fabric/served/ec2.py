"""EC2's calls by name: what each does in the served account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vpcrouter.fabric.codes import Call, Code, Ec2Error
from vpcrouter.fabric.served.account import Account
from vpcrouter.fabric.served.describe_calls import (
    COMBINATION,
    LISTINGS,
    list_items,
    page,
    page_asked_for,
)
from vpcrouter.fabric.served.parameters import FILTER_LIMIT, MISSING, Parameters

INVALID_ACTION = "InvalidAction"
DRY_RUN = "DryRunOperation"
VERSION = "2016-11-15"

_STATUS = {
    DRY_RUN: 412,
    Code.UNAUTHORIZED: 403,
    "AuthFailure": 401,
    "MissingAuthenticationToken": 403,
    Code.REQUEST_LIMIT: 503,
    Code.UNAVAILABLE: 503,
    Code.SERVICE_UNAVAILABLE: 503,
    Code.INTERNAL_ERROR: 500,
    FILTER_LIMIT: 400,
}


def status_of(error: Ec2Error) -> int:
    """The HTTP status with which an error is answered."""
    return _STATUS.get(error.code, 400)


def check_action(parameters: Parameters) -> None:
    """Raises Ec2Error where there is no such call."""
    action = parameters.action
    version = parameters.optional("Version")
    if version != VERSION:
        raise Ec2Error("InvalidParameterValue", f"No version {version}: known is {VERSION}")
    if action not in LISTINGS and action not in _CALLS:
        raise Ec2Error(INVALID_ACTION, f"The action {action} is not valid for this web service.")


def answer_call(account: Account, parameters: Parameters) -> Mapping[str, Any]:
    """The members of the answer to a call that there is. Raises Ec2Error."""
    listing = LISTINGS.get(parameters.action)
    if listing is not None:
        if parameters.dry_run:
            raise _would_succeed()
        return list_items(account, listing, parameters)
    return _CALLS[parameters.action](account, parameters)


def _create_route(account: Account, parameters: Parameters) -> Mapping[str, Any]:
    table, cidr = parameters.text("RouteTableId"), _destination(parameters)
    interface = parameters.text("NetworkInterfaceId")
    _check_all(parameters)
    account.vpc.create_route(table, cidr, interface)
    return {"Return": True}


def _replace_route(account: Account, parameters: Parameters) -> Mapping[str, Any]:
    table, cidr = parameters.text("RouteTableId"), _destination(parameters)
    interface = parameters.text("NetworkInterfaceId")
    _check_all(parameters)
    account.vpc.replace_route(table, cidr, interface)
    return {"Return": True}


def _delete_route(account: Account, parameters: Parameters) -> Mapping[str, Any]:
    table, cidr = parameters.text("RouteTableId"), _destination(parameters)
    _check_all(parameters)
    account.vpc.delete_route(table, cidr)
    return {"Return": True}


def _modify_interface(account: Account, parameters: Parameters) -> Mapping[str, Any]:
    interface = parameters.text("NetworkInterfaceId")
    check = parameters.flag("SourceDestCheck.Value")
    if check is None:
        raise Ec2Error(MISSING, "The request must contain the parameter SourceDestCheck.Value")
    _check_all(parameters)
    account.vpc.modify_source_dest_check(interface, on=check)
    return {"Return": True}


def _prefix_list_entries(account: Account, parameters: Parameters) -> Mapping[str, Any]:
    name = parameters.text("PrefixListId")
    size, start = page_asked_for(parameters, 1, 100)
    _check_all(parameters)
    entries = account.prefix_list_entries(name)
    if entries is None:
        raise Ec2Error("InvalidPrefixListID.NotFound", f"The ID '{name}' does not exist")
    return page("Entries", entries, size or 100, start)


_CALLS: Mapping[str, Callable[[Account, Parameters], Mapping[str, Any]]] = {
    Call.CREATE: _create_route,
    Call.REPLACE: _replace_route,
    Call.DELETE: _delete_route,
    Call.MODIFY_INTERFACE: _modify_interface,
    "GetManagedPrefixListEntries": _prefix_list_entries,
}


def _destination(parameters: Parameters) -> str:
    """One destination, by the parameter of its family."""
    ipv4 = parameters.optional("DestinationCidrBlock")
    ipv6 = parameters.optional("DestinationIpv6CidrBlock")
    if ipv4 and ipv6:
        raise Ec2Error(COMBINATION, "Only one destination can be given")
    if not (ipv4 or ipv6):
        raise Ec2Error(
            MISSING,
            "The request must contain the parameter DestinationCidrBlock or "
            "DestinationIpv6CidrBlock",
        )
    cidr = ipv4 or ipv6 or ""
    if (":" in cidr) != bool(ipv6):
        raise Ec2Error(Code.INVALID_PARAMETER, f"The destination {cidr} is of the other family")
    return cidr


def _check_all(parameters: Parameters) -> None:
    """Nothing unknown was sent, and it is not only a question."""
    dry_run = parameters.dry_run
    parameters.end()
    if dry_run:
        raise _would_succeed()


def _would_succeed() -> Ec2Error:
    return Ec2Error(DRY_RUN, "Request would have succeeded, but DryRun flag is set.")
