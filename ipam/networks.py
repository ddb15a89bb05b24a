"""What may change about the networks of a cluster in which addresses have been given out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ipam.errors import BadInputError
from ipam.model import Network, Node, SubnetShare
from ipam.prefix import Prefix


def check_change(
    recorded: Iterable[Network],
    wanted: Sequence[Network],
    shares: Iterable[SubnetShare],
    owners: Iterable[Node],
) -> None:
    """Whether the wanted networks can take the place of those recorded in the store.

    Ranges may be added, and what nobody uses may go. Raises BadInputError, naming network, prefix
    and owner, where something that is given out would not be valid any more.
    """
    recorded = tuple(recorded)
    if recorded == tuple(wanted):
        return
    for share in shares:
        for prefix in share.prefixes:
            _check_share(recorded, wanted, share.id, prefix)
    excluded = [(network.name, prefix) for network in wanted for prefix in network.exclude]
    for node in owners if excluded else ():
        for block in node.blocks:
            for name, prefix in excluded:
                if block.overlaps(prefix):
                    raise BadInputError(
                        f"network {name}: {prefix} cannot be excluded while node {node.name} owns "
                        f"{block} of it: release the node first"
                    )


def _check_share(
    recorded: Sequence[Network], wanted: Sequence[Network], subnet: str, prefix: Prefix
) -> None:
    family = prefix.family
    after = _around(wanted, prefix)
    before = _around(recorded, prefix)
    if after is None:
        name = before.name if before is not None else "?"
        raise BadInputError(
            f"network {name}: {prefix} is given to subnet {subnet}, but no network of the cluster "
            "file holds it any more: put its range back"
        )
    if before is None:
        return
    for what, old, new in (
        ("block", before.block.get(family), after.block.get(family)),
        ("node", before.node.get(family), after.node.get(family)),
    ):
        if old != new:
            raise BadInputError(
                f"network {after.name}: `{what}: {{{family}: {new}}}` was {old} when {prefix} was "
                f"given to subnet {subnet}: put it back to {old}"
            )


def _around(networks: Sequence[Network], prefix: Prefix) -> Network | None:
    for network in networks:
        if any(cidr.contains(prefix) for cidr in network.cidrs):
            return network
    return None
