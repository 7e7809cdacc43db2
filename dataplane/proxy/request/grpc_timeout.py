"""How long a gRPC call may take by its own word, within what the route allows.

In: the `grpc-timeout` field (gRPC over HTTP/2, "Requests": up to eight digits and a unit). Out: seconds. What is no time-out is as if it were
not there, as in Envoy; the server judges it.
"""

from __future__ import annotations

import re

from dataplane.protocol.events import Headers
from dataplane.protocol.fields import get

_SAID = re.compile(rb"(\d{1,8})([HMSmun])\Z")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def allowed(headers: Headers, most: float, offset: float) -> float:
    """Return the seconds a call may take, at most `most` (0 is no cap) and less `offset`; -1 where it does not say."""
    said = _SAID.match(get(headers, b"grpc-timeout") or b"")
    if said is None:
        return -1.0
    seconds = int(said[1]) * _UNITS[said[2]]
    if most > 0:
        seconds = min(seconds, most)
    return max(seconds - offset, 0.0)
