"""How an agent is to run, as its command line says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cni.follower import Identity, Settings
from cni.holdings import Registration
from cni.protocol import Mode


@dataclass(frozen=True, slots=True)
class Options:
    """``chain`` are the plugins that come after ours in the configuration of the runtime.

    ``mode`` is how it says that pods are linked.
    """

    who: Identity
    registration: Registration
    state: Path
    socket: Path
    metrics: Path
    settings: Settings
    cni_bin: Path | None
    cni_conf: Path | None
    network: str
    chain: tuple[str, ...]
    mode: Mode
