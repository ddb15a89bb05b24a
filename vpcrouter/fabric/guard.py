"""What a fabric asks before it sends a change: is the row the step's to change, or done already?

EC2 itself replaces and deletes whatever stands at a destination.
"""

from __future__ import annotations

from vpcrouter.fabric.port import OutdatedError, Row
from vpcrouter.model import Action, Step


def is_done(table: str, step: Step, row: Row | None) -> bool:
    """Whether a step need not be sent, since ``row`` at its destination is as wanted.

    Raises OutdatedError where it must not be sent, since the row leads elsewhere than the step
    assumes. A row that is not known of (None) is for the call's answer to tell.
    """
    if step.action is Action.CREATE:
        return False
    if row is None or (row.to_interface and row.target == step.previous_interface):
        return False
    if step.action is Action.REPLACE and row.to_interface and row.target == step.interface:
        return True
    raise OutdatedError(
        "",
        f"{table} {step.destination}: leads to {row.target}, not to {step.previous_interface} "
        f"as was assumed: not touched",
    )
