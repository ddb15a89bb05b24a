"""A simulation from its files: the cluster as its file describes it, and the events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vpcrouter.cluster import Cluster, View
from vpcrouter.planner import plan
from vpcrouter.simulate.baselines import SCHEMES, Rival
from vpcrouter.simulate.engine import History, live
from vpcrouter.simulate.events_file import read_events
from vpcrouter.simulate.report import Compared, Figures, comparison, figures
from vpcrouter.simulate.world import World


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came out: the figures, the whole history, and the cluster at its start.

    ``comparison`` has our own entries first, then those of each rival, in the order of the
    history's. Among the view's problems are nodes for whose joining or growth no addresses were
    left.
    """

    figures: Figures
    comparison: tuple[Compared, ...]
    history: History
    view: View


def simulate(cluster_file: Path, events_file: Path, compare: Sequence[str] = ()) -> Simulation:
    """Let the cluster of a file live through the events of another, in memory.

    It starts with empty tables and no addresses given out, whatever its store holds. ``compare``
    names schemes that live through the same. Raises BadInputError where a file is none or the
    events cannot happen; then nothing is simulated.
    """
    cluster = Cluster.imagine(cluster_file)
    try:
        view = cluster.planned()
        slack = cluster.file.planning.slack
    finally:
        cluster.close()
    present = view.state.nodes.keys() & {node.name for node in view.snapshot.nodes}
    events = read_events(events_file, present, {subnet.id for subnet in view.snapshot.subnets})
    rivals = [Rival(scheme) for name in compare for scheme in SCHEMES[name]()]
    world = World.starting(view.state, view.snapshot)
    history = live(world, events, slack, plan, rivals)
    problems = (*view.problems, *history.end.refused)
    return Simulation(
        figures=figures(history),
        comparison=comparison(history, [rival.name for rival in rivals]),
        history=history,
        view=replace(view, problems=problems),
    )
