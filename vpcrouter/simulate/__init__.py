"""Simulation of a cluster over time: what a history of joins, failures and loads costs in changes."""
