"""Keeping the tables of a cluster as planned, for as long as it runs."""

from vpcrouter.reconcile.means import means_of

__all__ = ["means_of"]
