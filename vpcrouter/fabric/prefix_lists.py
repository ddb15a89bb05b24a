"""Prefix lists as route destinations: how many entries of a table's quota each counts for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from vpcrouter.fabric.port import PrefixList
from vpcrouter.jsonfile import JsonObject

# What AWS's own count for, by their name without region and family: "AWS-managed prefix list
# weight" in the Amazon VPC user guide.
_PUBLISHED_WEIGHTS = {
    "cloudfront.origin-facing": 55,
    "dynamodb": 1,
    "ec2-instance-connect": 2,
    "groundstation": 5,
    "route53-healthchecks": 25,
    "s3": 1,
    "s3express": 6,
    "vpc-lattice": 10,
}
_AWS_NAME = re.compile(r"(?:com|cn\.com)\.amazonaws\.[a-z0-9-]+\.(?:ipv6\.)?(?P<service>.+)")


def parse_prefix_lists(file: JsonObject) -> Mapping[str, PrefixList]:
    """PrefixLists by id, from describe-managed-prefix-lists or describe-prefix-lists.

    Raises BadInputError for a list whose weight nobody knows.
    """
    lists: dict[str, PrefixList] = {}
    for item in file.children("PrefixLists"):
        name = item.optional_text("PrefixListName") or ""
        prefixes = _contents(item)
        family = _family(item, name, prefixes)
        if any(prefix.family is not family for prefix in prefixes):
            raise item.error(f"has prefixes that are not {family.value}")
        prefix_list = PrefixList(
            item.text("PrefixListId"), name, family, _weight(item, name), prefixes
        )
        if lists.setdefault(prefix_list.id, prefix_list) != prefix_list:
            raise item.error(f"{prefix_list.id} is there twice, with different contents")
    return lists


def _contents(item: JsonObject) -> tuple[Prefix, ...]:
    texts = item.texts("Cidrs") + [entry.text("Cidr") for entry in item.children("Entries")]
    try:
        return tuple(sorted({Prefix.parse(text) for text in texts}))
    except BadInputError as error:
        raise item.error(str(error)) from error


def _family(item: JsonObject, name: str, prefixes: tuple[Prefix, ...]) -> Family:
    said = item.optional_text("AddressFamily")
    if said is not None:
        try:
            return Family(said.lower())
        except ValueError as error:
            raise item.error(f"AddressFamily is {said}: known are IPv4 and IPv6") from error
    if prefixes:
        return prefixes[0].family
    return Family.IPV6 if ".ipv6." in name else Family.IPV4


def _weight(item: JsonObject, name: str) -> int:
    """A customer's list weighs its maximum, AWS's own what AWS has published."""
    match = _AWS_NAME.fullmatch(name)
    published = _PUBLISHED_WEIGHTS.get(match["service"]) if match else None
    if published is not None and item.optional_text("OwnerId") in ("AWS", None):
        return published
    maximum = item.whole_number("MaxEntries")
    if maximum is None:
        raise item.error(
            f"{item.text('PrefixListId')} {name}: how many entries it counts for is not known: "
            "add MaxEntries"
        )
    return maximum
