"""Simulation of a cluster over time: what joins, failures and loads cost in changes."""

from vpcrouter.simulate.report import document
from vpcrouter.simulate.run import Simulation, simulate

__all__ = ["Simulation", "document", "simulate"]
