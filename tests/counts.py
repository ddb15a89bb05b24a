"""How much a run tries: `make test` takes moderate counts, `make prove` the full ones.

The environment variable VPCROUTER_COUNTS chooses (``test`` if unset). Every count in the tests is
made by ``examples``, so that both numbers stand where they are used:

    @settings(max_examples=examples(test=200, prove=20_000))
"""

from __future__ import annotations

import os

PROFILES = ("test", "prove")
PROFILE = os.environ.get("VPCROUTER_COUNTS", "test")
if PROFILE not in PROFILES:
    raise ValueError(f"VPCROUTER_COUNTS is {PROFILE!r}: set it to one of {', '.join(PROFILES)}")


def examples(*, test: int, prove: int) -> int:
    """The count of this run."""
    return test if PROFILE == "test" else prove
