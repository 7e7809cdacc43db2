"""Why a stream was lost: the words `Receiver.lost` is given, counted and logged as they are.

In: error numbers of connecting. Out: the word for it. Refuses nothing.
"""

import errno
from typing import Final

CLOSED: Final = "closed"
"""We closed it, all was sent."""
ABORTED: Final = "aborted"
"""We gave it up."""
ENDED: Final = "ended"
"""Both sides ended what they send."""
RESET: Final = "reset"
"""The peer (or the network) broke it."""
CLOSE_TIMEOUT: Final = "close_timeout"
"""The peer did not take what waited when we closed."""
FAILED: Final = "internal_error"
"""The receiver raised."""
TRUNCATED: Final = "truncated"
"""TLS: the connection ended without the peer saying that this was all."""
CONNECT_REFUSED: Final = "connect_refused"
CONNECT_TIMEOUT: Final = "connect_timeout"
CONNECT_UNREACHABLE: Final = "connect_unreachable"
CONNECT_FAILED: Final = "connect_failed"
TLS_FAILED: Final = "tls_failed"
"""The handshake failed; `detail` says why."""
TLS_TIMEOUT: Final = "tls_timeout"
IDENTITY_MISMATCH: Final = "identity_mismatch"
"""The peer's certificate is good, but is not whom we wanted."""

OURS: Final = frozenset((CLOSED, ABORTED, FAILED, CONNECT_FAILED))
"""What ends a connection through no fault of the peer: we did, or the system has no descriptor to give."""

_CONNECTING = {
    errno.ECONNREFUSED: CONNECT_REFUSED,
    errno.ETIMEDOUT: CONNECT_TIMEOUT,
    errno.ENETUNREACH: CONNECT_UNREACHABLE,
    errno.EHOSTUNREACH: CONNECT_UNREACHABLE,
    errno.EACCES: CONNECT_UNREACHABLE,
    errno.EPERM: CONNECT_UNREACHABLE,
    errno.EADDRNOTAVAIL: CONNECT_UNREACHABLE,
}


def of_connecting(error: int) -> str:
    """Say why connecting failed."""
    return _CONNECTING.get(error, CONNECT_FAILED)
