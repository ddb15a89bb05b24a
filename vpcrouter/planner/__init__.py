"""Snapshot to plan: for each route table the entries that serve every subnet within its budget."""

from vpcrouter.planner.plan import plan

__all__ = ["plan"]
