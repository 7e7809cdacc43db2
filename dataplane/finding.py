"""What the control plane has said of a name: one of four states, and the sentence of a refusal.

In: what happened to a name (`xds.settle.Held` keeps the table). Out: `Finding`, which a connection that waits for its destination is given,
in whichever worker it waits. Refuses nothing.
"""

from __future__ import annotations

import enum

from meshapi.records import record


class Found(enum.Enum):
    """How a name stands."""

    ASKED = "asked"
    """Nothing was said of it, or not all it leads to is here."""
    KNOWN = "known"
    ABSENT = "absent"
    """The control plane said that there is no such thing."""
    REFUSED = "refused"
    """There is such a thing, in no form this sidecar can use. That is no absence: its connections may not pass as if it were."""


@record(kw_only=False)
class Finding:
    """What is known of a destination now."""

    found: Found
    sentence: str = ""
    """Why it was refused."""


ASKED = Finding(Found.ASKED)
KNOWN = Finding(Found.KNOWN)
ABSENT = Finding(Found.ABSENT)
