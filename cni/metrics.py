"""Metrics as text (Prometheus exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, with the labels that tell it from its others."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: ``kind`` is counter or gauge, ``help`` one line of what it says."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge with one value."""
    return Metric(name, "gauge", text, (Sample(value),))


def render(metrics: Iterable[Metric]) -> str:
    """The text that a scrape gets.

    >>> print(render([gauge("vpcrouter_pods", "Pods on this node.", 3)]), end="")
    # HELP vpcrouter_pods Pods on this node.
    # TYPE vpcrouter_pods gauge
    vpcrouter_pods 3
    """
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += (f"{metric.name}{_labels(s.labels)} {s.value:.12g}" for s in metric.samples)
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
