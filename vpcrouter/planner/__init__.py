"""Snapshot to plan: for each route table the entries that serve every subnet within its budget."""

from vpcrouter.planner.plan import decide, plan

__all__ = ["decide", "plan"]
