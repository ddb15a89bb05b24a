"""Rules of nftables for transit: what arrives on the uplink for others' addresses of the networks.

It is marked and kept out of connection tracking before anything else looks at it: a forwarder sees
one direction of a flow only, and a tracked half of a connection is taken for invalid. The mark
leads to the policy rules of split horizon.

What the node's own pods send out of the networks is masqueraded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix, merge

MARK = 0x20000
"""The bit of a packet's mark that says that it is transit."""

TABLE = "vpcrouter"

_MATCHES = ((Family.IPV4, "ip"), (Family.IPV6, "ip6"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rules are made from: the uplink's name, the networks' ranges, the node's own blocks.

    ``kept`` are ranges outside of the networks to which pods keep their source address; None:
    nothing is masqueraded.
    """

    uplink: str
    networks: tuple[Prefix, ...]
    own: tuple[Prefix, ...]
    kept: tuple[Prefix, ...] | None


def ruleset(rules: Rules) -> str:
    """The commands for ``nft`` that put our table in place of the one that is there, at once."""
    lines = [
        f"add table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"add table inet {TABLE}",
        f"add chain inet {TABLE} transit {{ type filter hook prerouting priority raw; }}",
    ]
    for family, match in _MATCHES:
        theirs = [network for network in merge(rules.networks) if network.family is family]
        ours = [block for block in merge(rules.own) if block.family is family]
        if not theirs:
            continue
        conditions = [f'iifname "{rules.uplink}"', f"{match} daddr {_set(theirs)}"]
        if ours:
            conditions.append(f"{match} daddr != {_set(ours)}")
        lines.append(
            f"add rule inet {TABLE} transit {' '.join(conditions)} "
            f"meta mark set meta mark or {MARK:#x} notrack"
        )
    if rules.kept is not None:
        lines += _masquerade(rules.uplink, rules.own, (*rules.networks, *rules.kept))
    return "\n".join(lines) + "\n"


def _masquerade(uplink: str, own: Sequence[Prefix], kept: Sequence[Prefix]) -> Iterator[str]:
    """What pods send out of the networks has the node's address, so that answers find back."""
    yield f"add chain inet {TABLE} leaving {{ type nat hook postrouting priority srcnat; }}"
    for family, match in _MATCHES:
        ours = [block for block in merge(own) if block.family is family]
        theirs = [prefix for prefix in merge(kept) if prefix.family is family]
        if ours:
            yield (
                f'add rule inet {TABLE} leaving oifname "{uplink}" {match} saddr {_set(ours)} '
                f"{match} daddr != {_set(theirs)} masquerade"
            )


def _set(prefixes: Sequence[Prefix]) -> str:
    return f"{{ {', '.join(map(str, prefixes))} }}"
