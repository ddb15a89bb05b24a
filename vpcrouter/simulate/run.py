"""A simulation from its files: the cluster as its file describes it, and the events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vpcrouter.cluster import Cluster, View
from vpcrouter.planner import plan
from vpcrouter.simulate.engine import live
from vpcrouter.simulate.events_file import read_events
from vpcrouter.simulate.report import Figures, figures
from vpcrouter.simulate.world import World


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came out: the figures, and the cluster at its start.

    Among the view's problems are nodes for whose joining or growth no addresses were left.
    """

    figures: Figures
    view: View


def simulate(cluster_file: Path, events_file: Path) -> Simulation:
    """Let the cluster of a file live through the events of another, in memory.

    It starts with empty tables and no addresses given out, whatever its store holds. Raises
    BadInputError where a file is none or the events cannot happen; then nothing is simulated.
    """
    cluster = Cluster.imagine(cluster_file)
    try:
        view = cluster.planned()
        slack = cluster.file.planning.slack
    finally:
        cluster.close()
    present = view.state.nodes.keys() & {node.name for node in view.snapshot.nodes}
    events = read_events(events_file, present, {subnet.id for subnet in view.snapshot.subnets})
    history = live(World.starting(view.state, view.snapshot), events, slack, plan)
    problems = (*view.problems, *history.end.refused)
    return Simulation(figures(history), replace(view, problems=problems))
