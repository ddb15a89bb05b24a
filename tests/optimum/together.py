"""All tables at once as an integer program: the least that the busiest node carries in all of them.

Every table is the labelling of ``program``, within its budget and with no node above the largest
load that the table is allowed; what nodes carry is added up over the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import inf

from tests.optimum.case import Case
from tests.optimum.program import Program, model, solved


def least_combined(cases: Sequence[tuple[Case, Fraction]]) -> Fraction:
    """The least largest sum of a node's loads, given each table's case and largest load.

    Raises AssertionError where a table cannot keep to its largest load.
    """
    columns = 0
    rows: list[tuple[float, float, dict[int, float]]] = []
    whole: list[bool] = []
    upper: list[float] = []
    carried: dict[str, dict[int, float]] = {}
    standing: dict[str, float] = {}
    for case, most in cases:
        one = Program(case)
        one.row(-inf, case.budget, dict.fromkeys(one.entry, 1.0))
        for hop, terms, stands in one.weights():
            limit = float(most * hop.capacity * case.unit) * (1 + 1e-9)
            one.row(-inf, limit - stands, terms)
            mine = carried.setdefault(hop.node, {})
            for column, weight in terms.items():
                mine[columns + column] = weight / float(case.unit * hop.capacity)
            part = float(Fraction(stands, case.unit) / hop.capacity)
            standing[hop.node] = standing.get(hop.node, 0.0) + part
        rows += [(low, high, _shifted(terms, columns)) for low, high, terms in one.rows]
        whole += [column < one.entry.start for column in range(one.load)]
        upper += one.upper()
        columns += one.load
    for node, terms in carried.items():
        rows.append((standing[node], inf, {columns: 1.0, **{c: -w for c, w in terms.items()}}))
    values = solved(model([*whole, False], [*upper, inf], rows, {columns: 1.0}))
    assert values is not None
    return Fraction(values[columns])


def _shifted(terms: Mapping[int, float], by: int) -> dict[int, float]:
    return {column + by: factor for column, factor in terms.items()}
