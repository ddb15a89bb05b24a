"""What is well-formed but cannot be served: said, left out, and the rest goes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One object that is left out, and why.

    ``reason`` completes a sentence about the object (``has no address: ...``) and is the same
    for all objects with the same problem, so that they can be reported together.
    """

    reason: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"
