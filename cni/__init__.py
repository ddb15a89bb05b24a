"""Pods on one node: what kubelet calls, and what keeps the node's host routes."""
