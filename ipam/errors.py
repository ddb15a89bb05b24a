"""Errors, classed by what the caller does about them: refuse the input, try again, give up.

Every message names what happened, to which object, and what to do, in one line.
"""

from __future__ import annotations


class VpcrouterError(Exception):
    """The root of every error that is raised on purpose; its text is meant for the operator."""


class BadInputError(VpcrouterError):
    """Input is malformed or contradicts itself: refuse it, nothing has been done (exit code 2)."""


class UnavailableError(VpcrouterError):
    """A store or a fabric cannot be read or written now: keep what works (exit code 5)."""


class ConflictError(VpcrouterError):
    """Somebody else changed what this decision rested on: read again and decide again."""


class ExhaustedError(VpcrouterError):
    """No address is left that would fit: the object cannot be served (exit code 3)."""
