"""Run all benchmarks, or those whose module names are given, and print their figures.

A benchmark is a function ``figures`` that yields them, in a module ``bench_...`` of this folder.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules

import tests.bench
from tests.bench.figures import Figure


def main(wanted: list[str]) -> None:
    """Print one line for each figure as soon as it is there."""
    names = [module.name for module in iter_modules(tests.bench.__path__)]
    benchmarks = [name for name in names if name.startswith("bench_")]
    for name in benchmarks:
        if wanted and name.removeprefix("bench_") not in wanted:
            continue
        for figure in import_module(f"tests.bench.{name}").figures():
            print(line(figure), flush=True)


def line(figure: Figure) -> str:
    """One figure with its goal."""
    goal = "" if figure.at_most is None else f"at most {figure.at_most:g}"
    return f"{figure.name:<64} {figure.value:>12.4g} {figure.unit:<8} {goal:<14} {figure.verdict}"


if __name__ == "__main__":
    main(sys.argv[1:])
