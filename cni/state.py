"""What the agent says of itself: its metrics, and whether it can do its work."""

from __future__ import annotations

import resource
import time

from cni.addresses import AddressFile
from cni.follower import Standing
from cni.metrics import Metric, Sample, gauge, render
from cni.telemetry import Tally


class AgentState:
    """Reads the parts of an agent. ``addresses`` is None where it gives none out."""

    def __init__(self, addresses: AddressFile | None, standing: Standing, tally: Tally) -> None:
        self._addresses = addresses
        self._standing = standing
        self._tally = tally

    def metrics(self) -> str:
        """The text for Prometheus."""
        found = [*self._of_store(), *self._tally.metrics(), *self._of_addresses()]
        return render([*found, *_of_process()])

    def health(self) -> str:
        """Why pods cannot start here; empty if they can. The store may well be away."""
        if self._addresses is None:
            return "" if self._standing.heard else "the store has not answered yet"
        free = self._addresses.free()
        if not free:
            return "this node has no blocks yet"
        used_up = [str(family) for family, count in free.items() if not count]
        return f"no {' and no '.join(used_up)} address is left" if used_up else ""

    def _of_store(self) -> tuple[Metric, ...]:
        standing = self._standing
        age = time.monotonic() - standing.heard if standing.heard else float("inf")
        return (
            gauge("vpcrouter_store_age_seconds", "Since the store last answered.", age),
            gauge("vpcrouter_store_revision", "Host routes reflect it.", standing.revision),
            gauge("vpcrouter_host_routes", "Blocks of neighbours with a route.", standing.routes),
            gauge(
                "vpcrouter_stale_host_routes",
                "Put back from the disk, until the store answers.",
                standing.stale,
            ),
            gauge(
                "vpcrouter_unrouted_blocks",
                "Blocks of neighbours that have said no address.",
                standing.unrouted,
            ),
            Metric(
                "vpcrouter_store_failures_total",
                "counter",
                "How often following the store began anew.",
                (Sample(standing.failures),),
            ),
        )

    def _of_addresses(self) -> tuple[Metric, ...]:
        if self._addresses is None:
            return ()
        free = self._addresses.free()
        return (
            gauge("vpcrouter_pods", "Pods on this node.", len(self._addresses.endpoints())),
            gauge("vpcrouter_blocks", "Blocks of this node.", len(self._addresses.blocks)),
            Metric(
                "vpcrouter_free_addresses",
                "gauge",
                "Addresses that no pod has.",
                tuple(Sample(count, {"family": str(f)}) for f, count in sorted(free.items())),
            ),
        )


def _of_process() -> tuple[Metric, ...]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (
        gauge("process_max_resident_memory_bytes", "At its highest.", used.ru_maxrss * 1024),
        Metric(
            "process_cpu_seconds_total",
            "counter",
            "Processor time.",
            (Sample(used.ru_utime + used.ru_stime),),
        ),
    )
