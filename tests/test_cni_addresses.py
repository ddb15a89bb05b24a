"""Addresses on a node's disk: none twice, none lost, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cni.addresses import AddressFile
from cni.endpoints import Endpoint
from cni.errors import CniError
from cni.protocol import Attachment
from ipam.errors import BadInputError, ExhaustedError, UnavailableError
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.topology import StaticAddress
from tests.counts import examples

REST = 10.0
BLOCKS = tuple(
    map(Prefix.parse, ("10.64.0.4/30", "10.64.0.64/31", "10.64.9.9/32", "fd00::/64", "fd01::/127"))
)
V4 = tuple(a for b in BLOCKS if b.family is Family.IPV4 for a in range(b.value, b.last + 1))


def pod(number: int) -> Attachment:
    return Attachment(f"pod-{number}", "eth0")


class Node(RuleBasedStateMachine):
    """A node with a clock, which pods come to and leave, and whose agent starts again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.boot = 0
        self.count = 0
        self.held: dict[Attachment, Endpoint] = {}
        self.released: dict[tuple[Family, int], float] = {}
        self.rested: dict[tuple[Family, int], float] = {}
        self.file = self.opened()

    def opened(self) -> AddressFile:
        path, boot = self.folder / "pods", f"boot-{self.boot}"
        return AddressFile(path, "i-1", REST, lambda: self.now, lambda: boot)

    @initialize(count=st.integers(1, len(BLOCKS)))
    def give_blocks(self, count: int) -> None:
        self.file.set_blocks(BLOCKS[:count])

    @rule(count=st.integers(3, len(BLOCKS)))
    def change_blocks(self, count: int) -> None:
        self.file.set_blocks(BLOCKS[:count])

    def rests(self, address: tuple[Family, int]) -> bool:
        return self.now < self.released.get(address, float("-inf")) + REST

    def may_rest(self, address: tuple[Family, int]) -> bool:
        """Whether its rest was over before a restart of the machine, which need not be known."""
        return self.now < self.rested.get(address, float("-inf")) + REST

    def available(self) -> dict[Family, list[tuple[Family, int]]]:
        """By family, the addresses that nobody has and that do not rest for certain."""
        used = {address for endpoint in self.held.values() for address in endpoint.addresses}
        return {
            family: [
                (family, value)
                for value in (v for b in self.file.blocks if b.family is family for v in some(b))
                if (family, value) not in used and not self.rests((family, value))
            ]
            for family in {block.family for block in self.file.blocks}
        }

    @rule()
    def add(self) -> None:
        self.count += 1
        available = self.available()
        families = set(available)
        certain = all(not all(map(self.may_rest, free)) for free in available.values())
        try:
            endpoint = self.file.assign(pod(self.count), "pods")
        except ExhaustedError:
            assert not certain
            return
        assert all(available.values())
        assert {family for family, _ in endpoint.addresses} == families
        assert not any(self.rests(address) for address in endpoint.addresses)
        self.held[endpoint.attachment] = endpoint

    @rule(address=st.sampled_from(V4))
    def add_wanted(self, address: int) -> None:
        self.count += 1
        inside = any(b.family is Family.IPV4 and b.holds(address) for b in self.file.blocks)
        used = any((Family.IPV4, address) in e.addresses for e in self.held.values())
        if not inside or used:
            with pytest.raises(CniError):
                self.file.assign(pod(self.count), "pods", wanted=((Family.IPV4, address),))
            return
        with contextlib.suppress(ExhaustedError):
            endpoint = self.file.assign(pod(self.count), "pods", wanted=((Family.IPV4, address),))
            assert (Family.IPV4, address) in endpoint.addresses
            self.held[endpoint.attachment] = endpoint

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        attachment = data.draw(st.sampled_from(sorted(self.held)))
        endpoint = self.held.pop(attachment)
        assert self.file.release(attachment) == endpoint
        assert self.file.release(attachment) is None
        self.released.update(dict.fromkeys(endpoint.addresses, self.now))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        attachment = data.draw(st.sampled_from(sorted(self.held)))
        with pytest.raises(CniError, match="attached already"):
            self.file.assign(attachment, "pods")

    @rule(seconds=st.sampled_from((1.0, REST / 2, REST)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(reboot=st.booleans())
    def start_again(self, reboot: bool) -> None:
        self.file.close()
        if reboot:
            self.boot += 1
            resting = [address for address in self.released if self.rests(address)]
            resting += [address for e in self.held.values() for address in e.addresses]
            self.held.clear()
            self.now = 5.0
            self.rested = dict.fromkeys({*self.released, *self.rested} - {*resting}, self.now)
            self.released = dict.fromkeys(resting, self.now)
        self.file = self.opened()

    @invariant()
    def everybody_has_what_was_given(self) -> None:
        assert {e.attachment: e for e in self.file.endpoints()} == self.held
        given = [address for e in self.held.values() for address in e.addresses]
        assert len(given) == len(set(given))

    def teardown(self) -> None:
        self.file.close()
        shutil.rmtree(self.folder)


def some(block: Prefix) -> range:
    """The addresses of a block, the first hundred of a large one."""
    return range(block.value, min(block.last, block.value + 99) + 1)


TestNode = Node.TestCase
TestNode.settings = settings(
    max_examples=examples(test=15, prove=2_000), stateful_step_count=30, deadline=None
)


def test_every_address_of_a_block_is_given_out(tmp_path: Path) -> None:
    block = Prefix.parse("10.64.0.0/26")
    with AddressFile(tmp_path / "pods", "i-1") as file:
        file.set_blocks([block])
        given = {file.assign(pod(i), "pods").addresses[0][1] for i in range(64)}
        assert given == set(range(block.value, block.last + 1))
        with pytest.raises(ExhaustedError, match="another block"):
            file.assign(pod(64), "pods")


def test_a_static_address_goes_to_its_pod_alone(tmp_path: Path) -> None:
    single = Prefix.parse("10.64.9.9/32")
    network = Network(
        *("pods", (Prefix.parse("10.64.0.0/16"),), {Family.IPV4: 30}, {Family.IPV4: 24}),
        static=(StaticAddress("shop/db-0", single),),
    )
    with AddressFile(tmp_path / "pods", "i-1") as file:
        file.set_networks([network])
        file.set_blocks([BLOCKS[0], single])
        given = [file.assign(pod(i), "pods").addresses[0][1] for i in range(4)]
        assert single.value not in given
        with pytest.raises(ExhaustedError):
            file.assign(pod(4), "pods")
        its = file.assign(pod(5), "pods", namespace="shop", pod="db-0")
        assert its.addresses == ((Family.IPV4, single.value),)
        with pytest.raises(CniError, match="not free on this node"):
            file.assign(pod(6), "pods", namespace="shop", pod="db-0")


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    with AddressFile(tmp_path / "pods", "i-1") as file:
        file.set_blocks(BLOCKS)
        endpoint = file.assign(pod(1), "pods")
        file._disk.database.executescript(
            "DROP TABLE networks; ALTER TABLE endpoints DROP COLUMN mode; PRAGMA user_version = 1;"
        )
    with AddressFile(tmp_path / "pods", "i-1") as file:
        assert file.endpoints() == (endpoint,)
        file.set_networks([])


def test_a_journal_cut_anywhere_gives_the_state_of_the_last_whole_write(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.mkdir()
    journal = original / "pods-wal"
    sizes, states = [], []
    with AddressFile(original / "pods", "i-1", rest=0.0) as file:
        file.set_blocks(BLOCKS)
        for number in range(6):
            file.assign(pod(number), "pods")
            sizes.append(journal.stat().st_size)
            states.append(file.endpoints())
            if number % 2:
                file.release(pod(number - 1))
                sizes.append(journal.stat().st_size)
                states.append(file.endpoints())
        database, content = (original / "pods").read_bytes(), journal.read_bytes()
    cuts = {cut for size in sizes for cut in (size - 1, size, size + 1)}
    cuts |= set(range(sizes[0], len(content), examples(test=4001, prove=97)))
    for cut in sorted(cuts - {sizes[0] - 1}):
        copy = tmp_path / f"cut-{cut}"
        copy.mkdir()
        (copy / "pods").write_bytes(database)
        (copy / "pods-wal").write_bytes(content[:cut])
        with AddressFile(copy / "pods", "i-1") as file:
            whole = sum(size <= cut for size in sizes)
            assert file.endpoints() == states[whole - 1]
        shutil.rmtree(copy)


CHURN = """
import itertools, sys
from pathlib import Path
from cni.addresses import AddressFile
from cni.protocol import Attachment
from ipam.prefix import Prefix
with AddressFile(Path(sys.argv[1]), "i-1", rest=0.0) as file:
    file.set_blocks([Prefix.parse("10.64.0.0/26"), Prefix.parse("fd00::/64")])
    for number in itertools.count(int(sys.argv[2])):
        pod = Attachment(f"pod-{number}", "eth0")
        print("+", number, file.assign(pod, "pods").addresses[0][1], flush=True)
        if number % 3:
            file.release(pod)
            print("-", number, flush=True)
        if len(file.endpoints()) > 50:
            file.release(file.endpoints()[0].attachment)
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    path, start = tmp_path / "pods", 0
    for round_ in range(examples(test=4, prove=200)):
        command = [sys.executable, "-c", CHURN, str(path), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(40 + 7 * round_)]
            os.kill(child.pid, signal.SIGKILL)
            lines += child.stdout.readlines()
        words = [line.split() for line in lines if line.endswith("\n")]
        with AddressFile(path, "i-1") as file:
            held = {e.attachment: e.addresses[0][1] for e in file.endpoints()}
            addresses = [a for e in file.endpoints() for a in e.addresses]
        assert len(addresses) == len(set(addresses))
        last = int(words[-1][1])
        gone = {int(w[1]) for w in words if w[0] == "-"}
        for word in words:
            number = int(word[1])
            if word[0] == "+" and number not in gone and number < last:
                assert held.get(pod(number), int(word[2])) == int(word[2])
        assert not any(pod(number) in held for number in gone)
        start = last + 10


def test_the_file_of_another_node_is_refused(tmp_path: Path) -> None:
    AddressFile(tmp_path / "pods", "i-1").close()
    with pytest.raises(BadInputError, match="belongs to node i-1, this one is i-2"):
        AddressFile(tmp_path / "pods", "i-2")


def test_a_second_agent_is_refused(tmp_path: Path) -> None:
    with (
        AddressFile(tmp_path / "pods", "i-1"),
        pytest.raises(BadInputError, match="another agent"),
    ):
        AddressFile(tmp_path / "pods", "i-1")
    AddressFile(tmp_path / "pods", "i-1").close()


def test_a_damaged_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "pods").write_bytes(b"not a database" * 100)
    with pytest.raises(BadInputError, match="damaged"):
        AddressFile(tmp_path / "pods", "i-1")
    assert (tmp_path / "pods").read_bytes().startswith(b"not a database")


def test_a_full_disk_gives_nothing_out(tmp_path: Path) -> None:
    with AddressFile(tmp_path / "pods", "i-1") as file:
        file.set_blocks([Prefix.parse("10.64.0.0/22")])
        (pages,) = file._disk.database.execute("PRAGMA page_count").fetchone()
        file._disk.database.execute(f"PRAGMA max_page_count = {pages}")
        given: list[Endpoint] = []
        with pytest.raises(UnavailableError, match="free space"):
            fill(file, given)
        assert list(file.endpoints()) == given
        assert file.release(given[0].attachment) == given[0]


def fill(file: AddressFile, given: list[Endpoint]) -> None:
    """Gives out addresses with long names until the disk is full; adds what was given."""
    for number in range(200):
        given.append(file.assign(Attachment(f"{number}", "eth0"), "n" * 2000))  # noqa: PERF401
