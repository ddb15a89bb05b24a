"""Whether an input has shrunk so much that it is more likely damaged than true. Pure."""

from __future__ import annotations

from vpcrouter.cluster import View
from vpcrouter.membership import MANY_VANISHED, NOT_LISTED

FEW = 10
SHARE = 0.5
_MISSING = (NOT_LISTED, MANY_VANISHED)


def shrunken(view: View) -> str | None:
    """Why nothing should be changed for now; None where nothing speaks against it.

    An empty node list, or one from which more than half of the nodes with addresses have vanished
    (and more than a few) whose instances nobody has terminated.
    """
    missing = sum(note.reason in _MISSING for note in view.notes)
    owners = sum(1 for _ in view.state.owners())
    if not missing or (missing < owners and (missing <= FEW or missing <= SHARE * owners)):
        return None
    return (
        f"the node list lacks {missing:,} of {owners:,} nodes that have addresses, though their "
        "instances were not terminated: nothing is changed; correct the list, or run apply to go "
        "by it nevertheless"
    )
