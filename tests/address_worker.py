"""One of many processes that take and release addresses in one store: run by the tests.

    python -m tests.address_worker PATH NAME SEED

Prints each operation before it starts and when it is done, until it is killed or told to end by
the end of its standard input.
"""

from __future__ import annotations

import select
import sys
from pathlib import Path
from random import Random

from ipam.model import Claim, Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.sqlite import SqliteStore

CLUSTER = "many"
BUDGET = {Family.IPV4: 20}
PODS = Network(
    "pods", (Prefix.parse("10.0.0.0/12"),), block={Family.IPV4: 26}, node={Family.IPV4: 24}
)


def open_addresses(path: Path) -> Addresses:
    """The addresses that all workers share."""
    return Addresses(SqliteStore(path, patience=30), CLUSTER, [PODS])


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(path: Path, name: str, seed: int) -> None:
    """Join, grow and leave at random with nodes of one's own names."""
    random, mine, count = Random(seed), list[str](), 0
    addresses = open_addresses(path)
    while not select.select([sys.stdin], [], [], 0)[0]:
        count += 1
        node = random.choice(mine) if mine and random.random() < 0.6 else f"{name}-{count}"
        action = "join" if node not in mine else random.choice(["grow", "leave"])
        say(f"start {action} {node}")
        if action == "join":
            addresses.join([Claim(node, random.choice("abc"), name)], BUDGET)
            mine.append(node)
        elif action == "grow":
            addresses.grow(node, 1, BUDGET)
        else:
            addresses.leave([node])
            mine.remove(node)
        say(f"done {action} {node}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
