"""Keeping the tables of a cluster as planned, for as long as it runs."""

from vpcrouter.reconcile.alarm import Timing, Urgency
from vpcrouter.reconcile.events import Ended, Event, Held, Lost
from vpcrouter.reconcile.loop import Loop
from vpcrouter.reconcile.means import means_of
from vpcrouter.reconcile.signals import CloudEvents, NodeListChanges, Signals, Together

__all__ = [
    "CloudEvents",
    "Ended",
    "Event",
    "Held",
    "Loop",
    "Lost",
    "NodeListChanges",
    "Signals",
    "Timing",
    "Together",
    "Urgency",
    "means_of",
]
