"""The addresses of a node's pods, kept in one SQLite file on its own disk: it asks nobody else.

Invariants, for whoever changes this:

- Every change is one transaction: killed at any moment, the agent finds the state before or after.
- A release is on disk before it is answered. An address that is given out is on its way there: a
  power cut within those few milliseconds ends the pod too, before it has sent anything, so all that
  is lost is that its address rests.
- An address has one owner: a uniqueness constraint of the file says so, whatever the code decides.
- Releasing and beginning the rest of an address are the same transaction.
- One process has the file at a time, and it belongs to one node (``disk``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from cni.disk import Disk
from cni.endpoints import Addresses, Endpoint, choose, free_addresses, mac_of
from cni.errors import CniError, Code
from cni.protocol import Attachment, Mode
from ipam import codec
from ipam.model import Network
from ipam.pools import networks_of_namespace
from ipam.prefix import Family, Prefix, format_address, parse_address
from ipam.store.sqlite import boot_clock, boot_id

REST = 30.0
"""How many seconds a released address is left alone."""


class AddressFile:
    """The addresses of one node, for any number of threads; use it as a context manager.

    ``identity`` is that of the node: the file of another one is refused. Times come from a clock
    that counts from the start of the machine. After a restart of the machine there are no pods:
    their endpoints are gone, and their addresses rest, as do those that rested before.

    Raises UnavailableError where the file cannot be read or written now, BadInputError where it is
    damaged or another node's, or another process has it.
    """

    def __init__(
        self,
        path: Path,
        identity: str,
        rest: float = REST,
        clock: Callable[[], float] = boot_clock,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._boot = boot()
        self._last: dict[Family, int] = {}
        self._endpoints: dict[Attachment, Endpoint] = {}
        self._resting: dict[tuple[Family, int], float] = {}
        self._blocks: tuple[Prefix, ...] = ()
        self._networks: tuple[Network, ...] = ()
        self._missed: set[str] = set()
        self._used: dict[Family, set[int]] = {family: set() for family in Family}
        self._avoided: dict[Family, set[int]] = {family: set() for family in Family}
        self._turn = threading.RLock()
        self._disk = Disk(path, identity, self._boot, clock())
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AddressFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        self._disk.close()

    def sync(self) -> None:
        """Return when all that was changed before is on disk."""
        self._disk.sync()

    @property
    def changes(self) -> int:
        """How often anything has been changed since this was opened."""
        return self._disk.written

    @property
    def blocks(self) -> tuple[Prefix, ...]:
        """The blocks that addresses come from."""
        return self._blocks

    def set_blocks(self, blocks: Sequence[Prefix]) -> None:
        """Take addresses from these blocks from now on; endpoints keep the ones they have."""
        wanted = tuple(sorted(blocks))
        if wanted == self._blocks:
            return
        with self._turn:
            with self._disk.transaction() as database:
                database.execute("DELETE FROM blocks")
                database.executemany("INSERT INTO blocks VALUES (?)", [(str(b),) for b in wanted])
            self._blocks = wanted
        self.sync()

    @property
    def missed(self) -> frozenset[str]:
        """The networks of tenants that a pod has needed since this was opened."""
        with self._turn:
            return frozenset(self._missed)

    def set_networks(self, networks: Sequence[Network]) -> None:
        """The networks of the cluster: they say which blocks are for which namespace."""
        if tuple(networks) == self._networks:
            return
        records = [(codec.network_key(n.name), codec.encode(n)) for n in networks]
        with self._turn:
            with self._disk.transaction() as database:
                database.execute("DELETE FROM networks")
                database.executemany("INSERT INTO networks VALUES (?, ?)", records)
            self._networks = tuple(networks)
        self.sync()

    def avoid(self, addresses: Collection[tuple[Family, int]]) -> frozenset[tuple[Family, int]]:
        """Give out none of these, which the host has itself; gives those that pods have already."""
        with self._turn:
            self._avoided = {family: {v for f, v in addresses if f is family} for family in Family}
            return frozenset(
                (family, value) for family, value in addresses if value in self._used[family]
            )

    def drop(self, blocks: Collection[Prefix]) -> tuple[Prefix, ...]:
        """Take no more addresses from these blocks; gives those of them that nothing uses.

        Only these are dropped: no endpoint has an address of them, and none rests.
        """
        with self._turn:
            occupied = self.occupied()
            empty = [
                b for b in self._blocks if b in blocks and not any(map(b.holds, occupied[b.family]))
            ]
            self.set_blocks([block for block in self._blocks if block not in empty])
        return tuple(empty)

    def occupied(self) -> dict[Family, set[int]]:
        """The addresses that endpoints have, and those that rest."""
        with self._turn:
            found = {family: set(used) for family, used in self._used.items()}
            for family, value in self._resting:
                found[family].add(value)
            return found

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, in the order in which they were made."""
        with self._turn:
            return tuple(self._endpoints.values())

    def find(self, attachment: Attachment) -> Endpoint | None:
        """The endpoint of an attachment."""
        return self._endpoints.get(attachment)

    def free(self) -> dict[Family, int]:
        """How many addresses of each family nobody has, resting ones included."""
        with self._turn:
            return free_addresses(self._blocks, self._used)

    def assign(
        self,
        attachment: Attachment,
        network: str,
        mac: str = "",
        wanted: Addresses = (),
        namespace: str = "",
        pod: str = "",
        mode: Mode = Mode.VETH,
    ) -> Endpoint:
        """Give an attachment one address of each family of the blocks for its namespace.

        A pod with a static address gets that one, and nobody else does.
        ``wanted`` are addresses that the runtime asks for: of this node's blocks and in nobody's
        use (a resting one is given to who asks for it by name). No ``mac``: one made from the
        attachment. Raises CniError where the
        attachment has an endpoint or a wanted address cannot be given, ExhaustedError where none
        is left.
        """
        with self._turn:
            if attachment in self._endpoints:
                raise CniError(Code.EXISTS, f"{attachment} is attached already: delete it first")
            asked = {**self._static_of(f"{namespace}/{pod}"), **dict(wanted)}
            blocks = self._blocks_for(namespace)
            for family, address in wanted:
                self._check_wanted(family, address, blocks.get(family, ()))
            addresses = tuple(
                (family, asked[family] if family in asked else self._choose(family, blocks[family]))
                for family in sorted({*blocks, *asked})
            )
            if not addresses:
                raise CniError(
                    Code.TRY_LATER,
                    "this node has no blocks yet: the pod starts once it was given one",
                )
            endpoint = Endpoint(attachment, network, mac or mac_of(attachment), addresses, mode)
            self._write(endpoint)
            self._endpoints[attachment] = endpoint
            for family, address in addresses:
                self._used[family].add(address)
                self._resting.pop((family, address), None)
                if family not in asked:
                    self._last[family] = address
            return endpoint

    def release(self, attachment: Attachment) -> Endpoint | None:
        """Take the addresses of an attachment back; None if it has none. They rest from now on."""
        with self._turn:
            endpoint = self._endpoints.get(attachment)
            if endpoint is not None:
                self._release(endpoint)
        self.sync()
        return endpoint

    def _release(self, endpoint: Endpoint) -> None:
        now = self._clock()
        with self._disk.transaction() as database:
            database.execute(
                "DELETE FROM endpoints WHERE container = ? AND ifname = ?",
                (endpoint.attachment.container, endpoint.attachment.ifname),
            )
            database.executemany(
                "INSERT OR REPLACE INTO resting VALUES (?, ?, ?)",
                [(format_address(*address), self._boot, now) for address in endpoint.addresses],
            )
        del self._endpoints[endpoint.attachment]
        for family, address in endpoint.addresses:
            self._used[family].discard(address)
            self._resting[family, address] = now

    def _static_of(self, name: str) -> dict[Family, int]:
        """The static addresses of a pod that this node has been granted."""
        found = {}
        for network in self._networks:
            for static in network.static:
                if static.name != name:
                    continue
                prefix = static.prefix
                if prefix not in self._blocks or prefix.value in self._used[prefix.family]:
                    raise CniError(
                        Code.TRY_LATER,
                        f"static address {prefix} of pod {name} is not free on this node: the pod "
                        "starts once it was granted to it and nobody has it",
                    )
                found[prefix.family] = prefix.value
        return found

    def _blocks_for(self, namespace: str) -> dict[Family, tuple[Prefix, ...]]:
        """The blocks that pods of a namespace get addresses from, by family.

        All of them while the networks are not known.
        """
        found: dict[Family, tuple[Prefix, ...]] = {}
        if not self._networks:
            for family in {block.family for block in self._blocks}:
                found[family] = tuple(b for b in self._blocks if b.family is family)
            return found
        static = {s.prefix for network in self._networks for s in network.static}
        common = [block for block in self._blocks if block not in static]
        for family, networks in networks_of_namespace(self._networks, namespace).items():
            ranges = [c for network in networks for c in network.cidrs if c.family is family]
            own = tuple(b for b in common if any(cidr.contains(b) for cidr in ranges))
            if own:
                found[family] = own
            elif all(network.tenants for network in networks):
                names = [network.name for network in networks]
                self._missed.update(names)
                raise CniError(
                    Code.TRY_LATER,
                    f"this node has no block of network {' or '.join(names)}, which namespace "
                    f"{namespace} is pinned to: the pod starts once it was given one",
                )
        return found

    def _choose(self, family: Family, blocks: Sequence[Prefix]) -> int:
        over = self._clock() - self._rest
        resting = {
            value for (of, value), since in self._resting.items() if of is family and since > over
        }
        taken = self._used[family] | self._avoided[family]
        return choose(family, blocks, taken, resting, self._last.get(family))

    def _check_wanted(self, family: Family, address: int, blocks: Sequence[Prefix]) -> None:
        text = format_address(family, address)
        if not any(block.holds(address) for block in blocks):
            raise CniError(
                Code.CONFIG,
                f"{text} is not in the blocks that this node has for it: ask for another",
            )
        if address in self._used[family]:
            raise CniError(Code.CONFIG, f"{text} is another pod's: ask for another")
        if address in self._avoided[family]:
            raise CniError(Code.CONFIG, f"{text} is the host's own: ask for another")

    def tidy(self) -> None:
        """Forget the rest of addresses that had enough of it, so that the file stays small."""
        with self._turn:
            over = self._clock() - self._rest
            awake = [address for address, since in self._resting.items() if since <= over]
            if not awake:
                return
            with self._disk.transaction() as database:
                database.executemany(
                    "DELETE FROM resting WHERE address = ?",
                    [(format_address(*address),) for address in awake],
                )
            for address in awake:
                del self._resting[address]

    def _write(self, endpoint: Endpoint) -> None:
        texts = {family: format_address(family, value) for family, value in endpoint.addresses}
        with self._disk.transaction() as database:
            database.execute(
                "INSERT INTO endpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    endpoint.attachment.container,
                    endpoint.attachment.ifname,
                    endpoint.network,
                    endpoint.mac,
                    texts.get(Family.IPV4),
                    texts.get(Family.IPV6),
                    endpoint.mode,
                ),
            )
            database.executemany(
                "DELETE FROM resting WHERE address = ?", [(text,) for text in texts.values()]
            )

    def _read(self) -> None:
        with self._disk.transaction() as database:
            rows = database.execute(
                "SELECT container, ifname, network, mac, mode, ipv4, ipv6 "
                "FROM endpoints ORDER BY rowid"
            ).fetchall()
            resting = database.execute("SELECT address, since FROM resting").fetchall()
            blocks = database.execute("SELECT prefix FROM blocks").fetchall()
            networks = database.execute("SELECT key, record FROM networks").fetchall()
        for container, ifname, network, mac, mode, *texts in rows:
            attachment = Attachment(container, ifname)
            addresses = tuple(parse_address(text) for text in texts if text is not None)
            self._endpoints[attachment] = Endpoint(attachment, network, mac, addresses, Mode(mode))
            for family, address in addresses:
                self._used[family].add(address)
        self._resting = {parse_address(address): since for address, since in resting}
        self._blocks = tuple(sorted(Prefix.parse(prefix) for (prefix,) in blocks))
        records = (codec.decode(key, record) for key, record in networks)
        self._networks = tuple(record for record in records if isinstance(record, Network))
