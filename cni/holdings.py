"""The node's blocks: registered, leased, claimed ahead of need, and given back when empty."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cni.addresses import AddressFile
from cni.demand import Demand, demand
from ipam.claim_records import ANY_NETWORK
from ipam.claims import Claims, Grant
from ipam.model import Network, families_of
from ipam.prefix import Family, Prefix

LEASE = 15.0
"""Seconds after which a node whose agent has stopped counts as away."""

_REVIEW = 10.0  # seconds after which to look even if nothing has changed
_EMPTY = 300.0  # seconds that a block is empty before it is given back


@dataclass(frozen=True, slots=True)
class Registration:
    """What a node says of itself. An empty subnet: it is in the one that the store says."""

    subnet: str
    labels: Mapping[str, str]


class Holdings:
    """One node's dealings with the store about its blocks. For one thread."""

    def __init__(
        self,
        claims: Claims,
        addresses: AddressFile,
        registration: Registration,
        clock: Callable[[], float] = time.monotonic,
        empty: float = _EMPTY,
    ) -> None:
        self._claims = claims
        self._addresses = addresses
        self._registration = registration
        self._clock = clock
        self._patience = empty
        self._kept_alive = float("-inf")
        self._is_registered = False
        self._seen: tuple[int, frozenset[str]] = (-1, frozenset())
        self._settled = float("-inf")
        self._empty_since: dict[Prefix, float] = {}
        self.refused = ""

    def keep_alive(self) -> None:
        """Hold the lease; does nothing if that was done a moment ago."""
        now = self._clock()
        if now >= self._kept_alive + LEASE / 5:
            self._claims.keep_alive(LEASE)
            self._kept_alive = now

    def settle(self, networks: Sequence[Network], changed: bool) -> None:
        """Take addresses from what was granted, then ask for what is missing, return what is not.

        ``networks`` are those of the cluster, ``changed`` whether anything in the store has. A
        store that does not know the node changes nothing here.
        """
        now, changes = self._clock(), (self._addresses.changes, self._addresses.missed)
        if not changed and changes == self._seen and now < self._settled + _REVIEW:
            return
        self._seen, self._settled = changes, now
        if networks:
            self._addresses.set_networks(networks)
        grant = self._claims.granted()
        self.refused = grant.refused
        if grant.subnet and not grant.is_former:
            self._addresses.set_blocks(grant.blocks)
        if self._register(grant, families_of(n for n in networks if not n.tenants)):
            self._ask(networks)

    def _ask(self, networks: Sequence[Network]) -> None:
        """Claim and give back, for what everybody's pods need and for what tenants' pods do."""
        shared = [network for network in networks if not network.tenants]
        wishes = {ANY_NETWORK: self._wish(shared)}
        for network in networks:
            holds = any(c.contains(b) for c in network.cidrs for b in self._addresses.blocks)
            if network.tenants and (holds or network.name in self._addresses.missed):
                wishes[network.name] = self._wish([network])
        spare = [block for wish in wishes.values() for block in wish.spare]
        going = self._addresses.drop(self._long_empty(spare))
        counts = {
            name: {
                family: count + sum(b.family is family and b not in going for b in wish.spare)
                for family, count in wish.wanted.items()
            }
            for name, wish in wishes.items()
        }
        if going:
            self._claims.give_back(going, counts[ANY_NETWORK])
        for name, wanted in counts.items():
            self._claims.claim(wanted, name)

    def _wish(self, networks: Sequence[Network]) -> Demand:
        ranges = [cidr for network in networks for cidr in network.cidrs]
        static = {address.prefix for network in networks for address in network.static}
        blocks = [block for block in self._addresses.blocks if block not in static]
        own = [block for block in blocks if any(cidr.contains(block) for cidr in ranges)]
        return demand(own, self._addresses.occupied(), families_of(networks))

    def _register(self, grant: Grant, families: Collection[Family]) -> bool:
        """Say that the node is there; False where more cannot be asked for yet."""
        subnet = self._registration.subnet or grant.subnet
        if grant.is_former or not subnet:
            return False
        if not self._is_registered:
            # The networks come into the store with the first grant: until then, whatever there is.
            held = dict.fromkeys(families or Family, 0)
            for block in grant.blocks:
                held[block.family] = held.get(block.family, 0) + 1
            least = {family: max(count, 1) for family, count in held.items()}
            self._claims.register(subnet, self._registration.labels, least)
            self._is_registered = True
        return bool(families)

    def _long_empty(self, spare: Collection[Prefix]) -> tuple[Prefix, ...]:
        now = self._clock()
        self._empty_since = {block: self._empty_since.get(block, now) for block in spare}
        return tuple(b for b, since in self._empty_since.items() if now >= since + self._patience)
