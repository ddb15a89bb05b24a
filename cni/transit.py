"""Rules of nftables for transit: what arrives on the uplink for others' addresses of the networks.

It is marked and kept out of connection tracking before anything else looks at it: a forwarder sees
one direction of a flow only, and a tracked half of a connection is taken for invalid. The mark
leads to the policy rules of split horizon.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipam.prefix import Family, Prefix, merge

MARK = 0x20000
"""The bit of a packet's mark that says that it is transit."""

TABLE = "vpcrouter"


def ruleset(uplink: str, networks: Sequence[Prefix], own: Sequence[Prefix]) -> str:
    """The commands for ``nft`` that put our table in place of the one that is there, at once."""
    lines = [
        f"add table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"add table inet {TABLE}",
        f"add chain inet {TABLE} transit {{ type filter hook prerouting priority raw; }}",
    ]
    for family, match in ((Family.IPV4, "ip"), (Family.IPV6, "ip6")):
        theirs = [network for network in merge(networks) if network.family is family]
        ours = [block for block in merge(own) if block.family is family]
        if not theirs:
            continue
        conditions = [f'iifname "{uplink}"', f"{match} daddr {_set(theirs)}"]
        if ours:
            conditions.append(f"{match} daddr != {_set(ours)}")
        lines.append(
            f"add rule inet {TABLE} transit {' '.join(conditions)} "
            f"meta mark set meta mark or {MARK:#x} notrack"
        )
    return "\n".join(lines) + "\n"


def _set(prefixes: Sequence[Prefix]) -> str:
    return f"{{ {', '.join(map(str, prefixes))} }}"
