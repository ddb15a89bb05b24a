"""Two allocators at once by mistake, nodes and an operator, in generated orders: nothing twice."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipam import claim_records, codec
from ipam.allocator import Allocator
from ipam.claims import Claims
from ipam.codec import BlockRecord
from ipam.errors import ConflictError
from ipam.model import Network
from ipam.prefix import Family, Prefix
from ipam.service import Addresses
from ipam.store.memory import MemoryStore
from ipam.store.port import Store
from tests import interleaving
from tests.address_checks import assert_sound
from tests.counts import examples

V4 = Family.IPV4
BUDGET = {V4: 6}
PODS = Network("pods", (Prefix.parse("10.0.0.0/23"),), block={V4: 26}, node={V4: 25})

Believed = dict[tuple[str, str], set[Prefix]]


def addresses(store: Store) -> Addresses:
    return Addresses(store, "test", (PODS,), pause=lambda _: None)


def allocating(passes: int) -> interleaving.Job:
    def job(store: Store) -> None:
        allocator = Allocator(store, addresses(store))
        for _ in range(passes):
            allocator.run(BUDGET)

    return job


Step = tuple[str, int]


def living(name: str, identity: str, steps: list[Step], believed: Believed) -> interleaving.Job:
    """A node that asks for blocks, uses what it is told that it has, and gives some back."""

    def job(store: Store) -> None:
        claims = Claims(store, name, identity)
        mine = believed.setdefault((name, identity), set())
        claims.register("ab"[len(name) % 2], {}, {V4: 1})
        for what, count in steps:
            mine.update(claims.granted().blocks)
            try:
                if what == "claim":
                    claims.claim({V4: count})
                elif what == "return":
                    gone = sorted(mine)[:count]
                    mine.difference_update(gone)
                    claims.give_back(gone, {V4: len(mine)})
            except ConflictError:
                mine.clear()  # an operator has released this node
                claims.register("a", {}, {V4: count})

    return job


def operating(name: str, believed: Believed) -> interleaving.Job:
    """An operator who knows that a node is gone."""

    def job(store: Store) -> None:
        state = addresses(store).load()
        node = state.nodes.get(name)
        if node is not None:
            believed.get((name, node.identity), set()).clear()
            addresses(store).leave([name])

    return job


def watching(store: MemoryStore, believed: Believed) -> Callable[[], None]:
    """Checks after every call that nobody uses what is another's, and the store is whole."""
    seen = 0

    def check() -> None:
        nonlocal seen
        revision = store.range(codec.BLOCKS).revision
        if revision == seen:
            return
        seen = revision
        assert_sound(addresses(store).load())
        owners = {}
        for item in store.range(codec.BLOCKS).items:
            record = codec.decode(item.key, item.value)
            assert isinstance(record, BlockRecord)
            owners[record.prefix] = (record.node, record.identity)
        for owner, blocks in believed.items():
            assert all(owners.get(block) == owner for block in blocks)

    return check


_STEPS = st.lists(
    st.tuples(st.sampled_from(["claim", "claim", "return", "look"]), st.integers(1, 3)), max_size=5
)
_NODES = st.lists(
    st.tuples(st.sampled_from(["n", "nn", "nnn"]), st.sampled_from(["i", "j"]), _STEPS),
    min_size=1,
    max_size=3,
    unique_by=lambda node: node[:2],
)


# One grants, the operator releases, and the other one grants what it has read before.
_RELEASED_BETWEEN = [2, 2, 2, 0, 0, 0, 0, 1, 2, 2, 4, 2, 3, 3]


@given(_NODES, st.booleans(), st.sampled_from([8, 1000]), st.lists(st.integers(0, 4), max_size=300))
@settings(max_examples=examples(test=60, prove=600))
@example([("nn", "i", [("look", 1)]), ("n", "i", [])], True, 8, _RELEASED_BETWEEN)
def test_two_allocators_at_once_grant_nothing_twice_and_nothing_is_forgotten(
    nodes: list[tuple[str, str, list[Step]]],
    with_operator: bool,
    max_operations: int,
    turns: list[int],
) -> None:
    store = MemoryStore(max_operations=max_operations)
    believed: Believed = {}
    jobs = [allocating(3), allocating(3)]
    jobs += [living(name, identity, steps, believed) for name, identity, steps in nodes]
    if with_operator:
        jobs.append(operating("nn", {}))
        believed_by_all = {} if any(name == "nn" for name, *_ in nodes) else believed
    else:
        believed_by_all = believed
    interleaving.run(store, jobs, iter(turns), watching(store, believed_by_all))
    last = Allocator(store, addresses(store)).run(BUDGET)
    assert_sound(last.state)
    assert last.state == addresses(store).load()
    for name, identity, _ in nodes:
        grant = Claims(store, name, identity).granted()
        known = last.state.nodes.get(name)
        if known is not None and known.identity == identity:
            assert set(grant.blocks) == set(known.blocks)
            item = store.get(claim_records.claim_key((name, identity)))
            assert item is not None
            wanted = claim_records.decode_claim(item.key, item.value).wanted[""].get(V4, 0)
            assert len(grant.blocks) >= wanted or grant.refused
