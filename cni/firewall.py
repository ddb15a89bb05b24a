"""Our table of nftables in this network namespace, put there and looked after with ``nft``."""

from __future__ import annotations

import subprocess

from cni.transit import TABLE, Rules, ruleset
from ipam.errors import BadInputError, UnavailableError


class Firewall:
    """Knows what it has loaded, and how the kernel shows it. For one thread."""

    def __init__(self) -> None:
        self._loaded: Rules | None = None
        self._listed = ""

    def load(self, rules: Rules) -> None:
        """Put the rules into force, unless this object has done so."""
        if rules == self._loaded:
            return
        done = _nft(("-f", "-"), ruleset(rules))
        if done.returncode:
            reason = done.stderr.partition("\n")[0]
            raise UnavailableError(f"rules for transit cannot be loaded ({reason}): check nftables")
        self._loaded, self._listed = rules, _listing()

    def check(self, rules: Rules) -> None:
        """Put the rules into force, also where somebody else has changed them."""
        if self._loaded is not None and _listing() != self._listed:
            self._loaded = None
        self.load(rules)

    def restore(self, rules: Rules) -> None:
        """Put the rules into force where there are none; what is there may be of a later state."""
        if not _listing():
            self._loaded = None
            self.load(rules)


def _listing() -> str:
    return _nft(("--stateless", "list", "table", "inet", TABLE), "").stdout


def _nft(arguments: tuple[str, ...], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - what it is given is our own
            ("nft", *arguments),  # noqa: S607 - where it is differs
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BadInputError("nft is missing: install the package nftables") from error
