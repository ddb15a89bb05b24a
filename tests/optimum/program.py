"""The same problem as an integer program, solved by HiGHS.

Each prefix that matters (a block, or where two of them part) sends what it does not leave to more
specific ones to one node. Where that differs from the prefix above, there is an entry. This is a
labelling of the trie: it knows nothing of pieces, residuals or cuts.

Weights are integers, and "below this load" is asked for half an integer away from the next one, so
that the tolerances of the solver decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf
from typing import Any

import highspy
import numpy as np

from tests.optimum.case import Case, Hop, Owned

Terms = Mapping[int, float]
"""A linear expression: column to factor."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A choice of next hops: the entries that it takes, and the largest load that it makes."""

    entries: int
    load: Fraction


def least_load(case: Case) -> Answer | None:
    """A plan within the budget with the least largest load; None where none serves everything."""
    program = Program(case)
    program.row(-inf, case.budget, dict.fromkeys(program.entry, 1.0))
    for hop, terms, standing in program.weights():
        negative = {column: -weight for column, weight in terms.items()}
        program.row(standing, inf, {program.load: float(hop.capacity), **negative})
    return program.solve({program.load: 1.0})


def fewest_entries(case: Case, below: Fraction | None = None) -> Answer | None:
    """A plan with the fewest entries, whatever the budget, whose loads are all below this one.

    None where there is no such plan.
    """
    program = Program(case)
    if below is not None:
        if case.unavoidable >= below:
            return None
        for hop, terms, standing in program.weights():
            most = ceil(below * case.unit * hop.capacity) - 1 - standing
            program.row(-inf, most + 0.5, terms)
    return program.solve(dict.fromkeys(program.entry, 1.0))


@dataclass(frozen=True, slots=True)
class _Vertex:
    """A prefix that matters: the vertex above it, who may be its next hop, its block if it is one.

    ``columns`` tell for each of these nodes whether it is chosen.
    """

    above: int | None
    hops: tuple[Hop, ...]
    block: Owned | None
    columns: range


class Program:
    """The columns are those of the vertices, then one per vertex that tells whether it is an entry,
    and last the largest load.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.vertices: list[_Vertex] = []
        for tree in case.trees:
            self._grow(case.hops[tree.subnet], tree.blocks, None)
        start = self.vertices[-1].columns.stop
        self.entry = range(start, start + len(self.vertices))
        self.load = self.entry.stop
        self.rows: list[tuple[float, float, Terms]] = []
        for vertex, entry in zip(self.vertices, self.entry, strict=True):
            self._state(vertex, entry)

    def _grow(self, hops: tuple[Hop, ...], blocks: Sequence[Owned], above: int | None) -> None:
        """Add the vertices for these blocks, ordered by address, from the top down."""
        start = self.vertices[-1].columns.stop if self.vertices else 0
        block = blocks[0] if len(blocks) == 1 else None
        number = len(self.vertices)
        self.vertices.append(_Vertex(above, hops, block, range(start, start + len(hops))))
        if block is None:
            differ = blocks[0].prefix.value ^ blocks[-1].prefix.value
            bit = 1 << differ.bit_length() - 1
            self._grow(hops, [b for b in blocks if not b.prefix.value & bit], number)
            self._grow(hops, [b for b in blocks if b.prefix.value & bit], number)

    def _state(self, vertex: _Vertex, entry: int) -> None:
        """A vertex sends to one node; where that is not the node above, it is an entry."""
        self.row(1, 1, dict.fromkeys(vertex.columns, 1.0))
        if vertex.above is None:
            self.row(1, 1, {entry: 1.0})
            return
        for mine, other in zip(vertex.columns, self.vertices[vertex.above].columns, strict=True):
            self.row(-inf, 0, {mine: 1.0, other: -1.0, entry: -1.0})

    def row(self, low: float, high: float, terms: Terms) -> None:
        """Demand that the sum of these terms is between the two."""
        self.rows.append((low, high, terms))

    def weights(self) -> Iterator[tuple[Hop, Terms, int]]:
        """For each node the weight of others' blocks that it gets, and what stands already."""
        terms: dict[Hop, dict[int, float]] = {}
        for vertex in self.vertices:
            for hop, column in zip(vertex.hops, vertex.columns, strict=True):
                mine = terms.setdefault(hop, {})
                if vertex.block is not None and vertex.block.owner != hop.node:
                    mine[column] = float(vertex.block.weight * self.case.unit)
        for hop, mine in terms.items():
            yield hop, mine, int(self.case.standing.get(hop.node, 0) * self.case.unit)

    def solve(self, objective: Terms) -> Answer | None:
        """The solution for which this is least; None where there is none."""
        whole = [column < self.entry.start for column in range(self.load + 1)]
        values = solved(model(whole, [*self.upper(), inf], self.rows, objective))
        return None if values is None else self._answer(values)

    def upper(self) -> list[float]:
        """The most that each column may be, without that of the load."""
        return [*self._allowed(), *([1.0] * len(self.entry))]

    def _allowed(self) -> Iterator[float]:
        for vertex in self.vertices:
            for hop in vertex.hops:
                yield float(vertex.block is None or self.case.may_take(hop, vertex.block))

    def _answer(self, values: Sequence[float]) -> Answer:
        """What the chosen next hops are, counted exactly."""
        weight = dict(self.case.standing)
        chosen: list[Hop] = []
        entries = 0
        for vertex in self.vertices:
            hop = max(zip(vertex.columns, vertex.hops, strict=True), key=lambda h: values[h[0]])[1]
            entries += vertex.above is None or chosen[vertex.above] != hop
            chosen.append(hop)
            if vertex.block is not None and vertex.block.owner != hop.node:
                assert self.case.may_take(hop, vertex.block)
                weight[hop.node] = weight.get(hop.node, Fraction(0)) + vertex.block.weight
        loads = [each / self.case.capacity[node] for node, each in weight.items()]
        return Answer(entries, max(loads, default=Fraction(0)))


def model(
    whole: Sequence[bool],
    upper: Sequence[float],
    rows: Sequence[tuple[float, float, Terms]],
    objective: Terms,
) -> highspy.HighsLp:
    """Columns from 0 to ``upper``, the ``whole`` ones integers, to make the objective least."""
    integer, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    made = highspy.HighsLp()
    made.num_col_, made.num_row_ = len(whole), len(rows)
    made.col_cost_ = np.array([objective.get(column, 0.0) for column in range(len(whole))])
    made.col_lower_ = np.zeros(len(whole))
    made.col_upper_ = np.array(upper)
    made.integrality_ = [integer if each else real for each in whole]
    made.row_lower_ = np.array([low for low, _, _ in rows], dtype=np.float64)
    made.row_upper_ = np.array([high for _, high, _ in rows], dtype=np.float64)
    matrix = made.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.num_col_, matrix.num_row_ = len(whole), len(rows)
    matrix.start_ = np.cumsum([0, *(len(terms) for _, _, terms in rows)])
    matrix.index_ = np.array([column for _, _, terms in rows for column in terms])
    matrix.value_ = np.array([value for _, _, terms in rows for value in terms.values()])
    return made


def solved(what: highspy.HighsLp) -> Sequence[float] | None:
    """The values of the columns of an optimum; None where nothing is feasible."""
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.setOptionValue("mip_abs_gap", 0.0)
    solver.passModel(what)
    solver.run()
    status = solver.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    assert status == highspy.HighsModelStatus.kOptimal, status
    values: Sequence[float] = solver.getSolution().col_value
    return values
