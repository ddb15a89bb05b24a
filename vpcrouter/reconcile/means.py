"""With which means the tables of a cluster are changed."""

from __future__ import annotations

import time

from vpcrouter.cluster import Cluster
from vpcrouter.config import SimulatedSource
from vpcrouter.service import Means, SharedPace, ThreadWorkers, alone


def means_of(cluster: Cluster) -> Means:
    """Several threads in real time, at a pace that all processes share; alone in a simulation.

    The workers are to be closed by whoever asks.
    """
    if isinstance(cluster.file.fabric.source, SimulatedSource):
        return alone(cluster.clock)
    return Means(ThreadWorkers(), SharedPace(cluster.store, time.time), cluster.clock)
