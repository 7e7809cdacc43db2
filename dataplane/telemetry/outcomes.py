"""Whose fault it is that a request ended as it did: the one rule, for all that counts or shows classes of outcomes.

In: a status, a gRPC status (-1 for none) and a flag. Out: one of four small numbers; `NAMES` has their words. Refuses nothing.

| class | what is in it |
|---|---|
| `ok` | everything else |
| `client` | 4xx; gRPC codes but 0 and those of the server; the client went away |
| `server` | 5xx, no status at all; gRPC 2, 4, 13, 14 and 15; the app's side ended or reset the connection |
| `mesh` | the sidecar answered itself (`x-tulle-error`) |
"""

from __future__ import annotations

from typing import Final

from dataplane.telemetry import flags

OK: Final = 0
CLIENT: Final = 1
SERVER: Final = 2
MESH: Final = 3
NAMES: Final = ("ok", "client", "server", "mesh")

GRPC_SERVER: Final = frozenset((2, 4, 13, 14, 15))
"""UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: what linkerd2-proxy counts as failures."""
_BY_FLAG: Final = {flags.CLIENT_GONE: CLIENT, flags.CONNECTION_ENDED: SERVER, flags.RESET: SERVER}
_BY_CODE: Final = frozenset((flags.NONE, flags.RETRIES_EXCEEDED))
"""Flags of answers that are the app's."""


def classify(code: int, grpc_status: int, flag: int) -> int:
    """Name the class of an outcome."""
    if flag not in _BY_CODE:
        return _BY_FLAG.get(flag, MESH)
    if grpc_status > 0:
        return SERVER if grpc_status in GRPC_SERVER else CLIENT
    if 400 <= code < 500:
        return CLIENT
    return OK if 100 <= code < 400 else SERVER
