"""Simulation of a cluster over time: what joins, failures and loads cost in changes."""
