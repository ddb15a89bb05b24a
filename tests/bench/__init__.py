"""Measurements that `make bench` prints; nothing fails here, numbers move with the machine."""
