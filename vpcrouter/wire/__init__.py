"""The JSON that other programs read and write: snapshots in and out, plans out.

``parse_snapshot`` is strict, ``dump_snapshot`` canonical: parsing what was dumped gives the same
snapshot, and dumping that the same bytes.
"""

from __future__ import annotations

from vpcrouter.wire.dump import dump_plan, dump_plan_with_snapshot, dump_snapshot
from vpcrouter.wire.parse import parse_snapshot

__all__ = ["dump_plan", "dump_plan_with_snapshot", "dump_snapshot", "parse_snapshot"]
