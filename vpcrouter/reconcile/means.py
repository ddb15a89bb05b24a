"""With which means the tables of a cluster are changed."""

from __future__ import annotations

import time

from vpcrouter.cluster import Cluster
from vpcrouter.config import LinuxSource
from vpcrouter.fabric.aws.settings import AwsSource
from vpcrouter.service import InlineWorkers, Means, SharedPace, ThreadWorkers, Unpaced, alone


def means_of(cluster: Cluster) -> Means:
    """Several threads in real time, at a pace that all processes share; alone in a simulation.

    The workers are to be closed by whoever asks.
    """
    source = cluster.file.fabric.source
    if isinstance(source, AwsSource):
        return Means(ThreadWorkers(), SharedPace(cluster.store, time.time), cluster.clock)
    if isinstance(source, LinuxSource):
        return Means(InlineWorkers(cluster.clock), Unpaced(), cluster.clock)
    return alone(cluster.clock)
