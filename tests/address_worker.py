"""One of many processes that take and release addresses in one store: run by ``address_storm``.

    python -m tests.address_worker PATH NAME SEED ROLE

Roles: ``command`` gives addresses to nodes and takes them back, as the command line does; ``agent``
claims for a node of its own and gives back; ``allocator`` grants what agents claim. Says of each
operation when it starts, and when it is done and what the node has then, until it is killed or
told to end by the end of its standard input. An operation that the store refuses is not done.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Collection
from pathlib import Path
from random import Random

from ipam.allocator import Allocator
from ipam.claims import Claims, Grant
from ipam.errors import ConflictError, UnavailableError
from ipam.model import Claim, Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.sqlite import SqliteStore

CLUSTER = "many"
BUDGET = {Family.IPV4: 20}
PODS = Network(
    "pods", (Prefix.parse("10.0.0.0/12"),), block={Family.IPV4: 26}, node={Family.IPV4: 24}
)
PATIENCE = 30.0
_MOST = 12  # nodes of one process at a time


def open_addresses(path: Path) -> Addresses:
    """The addresses that all workers share."""
    return Addresses(SqliteStore(path, PATIENCE), CLUSTER, [PODS])


def say(what: str, action: str, node: str, blocks: Collection[Prefix] = ()) -> None:
    """Tell the test, in one write that is whole or missing."""
    held = ",".join(map(str, sorted(blocks)))
    line = f"{what} {action} {node} {time.monotonic_ns()} {held}\n"
    os.write(sys.stdout.fileno(), line.encode())


def is_over() -> bool:
    """Whether the test wants an end."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def command(path: Path, name: str, random: Random) -> None:
    """Join, grow and leave at random with nodes of one's own names."""
    addresses, mine, count = open_addresses(path), list[str](), 0
    while not is_over():
        count += 1
        known = mine and (len(mine) >= _MOST or random.random() < 0.6)
        node = random.choice(mine) if known else f"{name}-{count}"
        action = "join" if node not in mine else random.choice(["grow", "leave"])
        say("start", action, node)
        try:
            if action == "join":
                claim = Claim(node, random.choice("abc"), name)
                state = addresses.join([claim], BUDGET).state
            elif action == "grow":
                state = addresses.grow(node, 1, BUDGET).state
            else:
                state = addresses.leave([node])
        except UnavailableError:
            say("failed", action, node)
            time.sleep(0.01)
            mine = _still_there(addresses, {*mine, node})
            continue
        mine = [one for one in (*mine, node) if one != node]
        mine += [node] if action != "leave" else []
        say("done", action, node, state.blocks(node))


def _still_there(addresses: Addresses, nodes: Collection[str]) -> list[str]:
    """Which of these nodes the store has, once it answers again."""
    while True:
        try:
            state = addresses.load()
        except UnavailableError:
            time.sleep(0.05)
        else:
            return sorted(node for node in nodes if node in state.nodes)


def agent(path: Path, name: str, random: Random) -> None:
    """Ask for more blocks or fewer, and use what was granted and is not given back."""
    claims = Claims(SqliteStore(path, PATIENCE), name, "agent")
    wanted, is_registered = 1, False
    held: tuple[Prefix, ...] = ()
    while not is_over():
        action = "claim" if wanted < 2 or (wanted < 6 and random.random() < 0.5) else "return"
        going = random.choice(held) if action == "return" and held else None
        left = tuple(block for block in held if block != going)
        say("start", action, name, left)
        try:
            if not is_registered:
                claims.register(random.choice("abc"), {}, {Family.IPV4: 1})
                is_registered = True
            if going is None:
                wanted += action == "claim"
                claims.claim({Family.IPV4: wanted})
            else:
                held, wanted = left, len(left)
                claims.give_back([going], {Family.IPV4: wanted})
            held = _granted(claims, wanted)
        except (UnavailableError, ConflictError):
            say("failed", action, name)
            time.sleep(0.01)
            continue
        say("done", action, name, held)


def _granted(claims: Claims, wanted: int) -> tuple[Prefix, ...]:
    """What was granted, once that is what was asked for, or after a while."""
    grant: Grant = claims.granted()
    for _ in range(40):
        if len(grant.blocks) >= wanted or grant.refused or is_over():
            break
        grant = claims.wait(grant, 0.05)
    return grant.blocks


def allocator(path: Path, name: str, random: Random) -> None:
    """Grant what is claimed, without asking whether another one does."""
    store = SqliteStore(path, PATIENCE)
    allocating = Allocator(store, Addresses(store, CLUSTER, [PODS]))
    while not is_over():
        try:
            allocating.run(BUDGET)
        except UnavailableError:
            say("failed", "grant", name)
        time.sleep(random.uniform(0, 0.02))


ROLES = {"command": command, "agent": agent, "allocator": allocator}

if __name__ == "__main__":
    ROLES[sys.argv[4]](Path(sys.argv[1]), sys.argv[2], Random(int(sys.argv[3])))
