"""What a plan says of its loads, and whether that is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from tests.optimum.case import Case, is_small, loads, read, suits_exactness
from vpcrouter.model import Entry, PlannedEntry, Proof, ProofStatus, Snapshot
from vpcrouter.planner import plan

_ROUNDING = Fraction(1, 10**9)  # relative; the loads of generated snapshots are further apart

EntriesBelow: TypeAlias = Callable[[Case, Fraction], int | None]
"""The fewest entries with which the largest load of a case is below this one; None: impossible."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a plan says of one table and family, and the case that it is about.

    ``reached`` is the largest load that its entries make, ``fresh`` whether the table held none.
    """

    case: Case
    proof: Proof
    entries: tuple[PlannedEntry, ...]
    reached: Fraction
    fresh: bool

    @property
    def owed(self) -> bool:
        """Whether the optimum must have been found and proven."""
        return is_small(self.case) or suits_exactness(self.case, self.case.budget)

    @property
    def less(self) -> Fraction:
        """Loads are below this where they are less than claimed by more than rounding."""
        return Fraction(self.proof.least_load) * (1 - _ROUNDING)


def claims(cluster: Snapshot) -> Iterator[Claim]:
    """The claims of the plan of a snapshot that serve something.

    Their entries are allowed, within the budget, and no worse than claimed.
    """
    names = {node.interface: node.name for node in cluster.nodes}
    for table, mine in zip(cluster.route_tables, plan(cluster).tables, strict=True):
        for family, proof in mine.proof.items():
            unserved = [each.subnet for each in mine.unserved if each.family is family]
            case = read(cluster, table, family, unserved)
            entries = tuple(e for e in mine.entries if e.destination.family is family)
            hops = [Entry(entry.destination, entry.interface) for entry in entries]
            reached = max(loads(case, hops, names).values(), default=Fraction(0))
            if case.trees:
                assert len(entries) <= case.budget + case.kept
                yield Claim(case, proof, entries, reached, not table.entries)


def same(one: float | Fraction, other: float | Fraction) -> bool:
    """Equal but for rounding."""
    return abs(Fraction(one) - Fraction(other)) <= _ROUNDING * Fraction(max(one, other))


def check(claim: Claim, entries_below: EntriesBelow) -> None:
    """Hold a claim against somebody who knows what is possible; raises AssertionError."""
    case, proof = claim.case, claim.proof
    reached = same(claim.reached, proof.least_load)
    assert reached or (claim.reached < proof.least_load and not claim.fresh)
    assert proof.lower_bound <= proof.least_load or same(proof.lower_bound, proof.least_load)
    least = Fraction(proof.least_load)
    fewest = entries_below(case, claim.less) if least else None
    if proof.status is ProofStatus.OPTIMAL:
        assert same(proof.lower_bound, least)
        assert reached, "nothing shows that it can be had"
        assert fewest is None or fewest > case.budget, "less can be had"
    elif proof.lower_bound:
        bound = Fraction(proof.lower_bound) * (1 - _ROUNDING)
        enough = entries_below(case, bound)
        assert enough is None or enough > case.budget, "the bound is too high"
    if proof.entries_for_less is not None:
        assert fewest is not None
        assert proof.entries_for_less == fewest + case.kept
    if claim.owed:
        assert proof.status is ProofStatus.OPTIMAL
        if fewest is not None and suits_exactness(case, fewest):
            assert proof.entries_for_less == fewest + case.kept
