"""One line a request, written in batches off the hot path.

In: finished exchanges by `note`; the form (`json` or `text`), the share of requests wanted, where to write. Out: lines, a
write a batch. When the reader is slower than the traffic, lines are dropped and counted; traffic never waits for a log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from dataplane.telemetry import flags

FLUSH_SECONDS: Final = 0.25
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of lines that wait for the reader; later ones are dropped."""


class Timers(Protocol):
    """What batches are timed by."""

    def after(self, seconds: float, callback: Callable[[], object]) -> Any:
        """Call back in so many seconds."""


class AccessLog:
    """Collects lines and writes them a few times a second."""

    __slots__ = ("_due", "_left", "_lines", "_size", "_text", "_timers", "_write", "dropped", "share")

    def __init__(self, form: str, write: Callable[[bytes], int], timers: Timers, *, share: float = 1.0) -> None:
        self._text = form == "text"
        self._write = write
        self._timers = timers
        self._lines: list[bytes] = []
        self._left = b""
        self._size = 0
        """Bytes of both."""
        self._due = False
        self.share = share
        """Of requests that are logged; failed ones always are."""
        self.dropped = 0

    def note(self, exchange: Any, seconds: float) -> None:
        """Take down a finished exchange."""
        if self.share < 1.0 and exchange.answering.status < 500 and exchange.runtime.dice() >= self.share:
            return
        if self._size >= MOST_BYTES:
            self.dropped += 1
            return
        facts = _facts(exchange, seconds)
        line = (_text(facts) if self._text else json.dumps(facts)).encode() + b"\n"
        self._lines.append(line)
        self._size += len(line)
        self._flush_later()

    def flush(self) -> None:
        """Write what has come together; what the reader does not take is kept whole, so that no line is ever cut."""
        self._due = False
        batch = self._left + b"".join(self._lines)
        self._lines.clear()
        self._left = b""
        self._size = 0
        if not batch:
            return
        try:
            written = self._write(batch)
        except OSError:
            self.dropped += batch.count(b"\n")
            return
        if written < len(batch):
            self._left = batch[written:]
            self._size = len(self._left)
            self._flush_later()

    def _flush_later(self) -> None:
        if not self._due:
            self._due = True
            self._timers.after(FLUSH_SECONDS, self.flush)


def _facts(exchange: Any, seconds: float) -> dict[str, Any]:
    """Read an exchange's facts, in the order Istio's default log has them."""
    head, client, slot = exchange.head, exchange.client, exchange.attempt.last_slot
    asking, answering = exchange.asking, exchange.answering
    facts: dict[str, Any] = {
        "start_time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - seconds)) + "Z",
        "direction": "inbound" if client.inbound else "outbound",
        "method": head.method.decode("latin-1"),
        "path": head.path.decode("latin-1"),
        "protocol": "HTTP/2" if head.version >= 20 else "HTTP/1.1",
        "response_code": answering.status,
        "response_flags": flags.NAMES[answering.flag],
        "detail": answering.detail,
        "bytes_received": asking.size,
        "bytes_sent": answering.size,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": exchange.request_id.decode("latin-1"),
        "authority": head.authority.decode("latin-1"),
        "upstream_host": f"{slot.address}:{slot.port}" if slot is not None else "",
        "upstream_cluster": exchange.attempt.cluster.name if slot is not None else "",
        "downstream": f"{client.stream.peer[0]}:{client.stream.peer[1]}",
        "peer": client.stream.identity,
        "route": exchange.row.name if exchange.row is not None else "",
    }
    if asking.grpc:
        facts["grpc_status"] = answering.grpc_status
    return facts


def _text(facts: dict[str, Any]) -> str:
    """Write the facts as one line; what a peer sent stands in quotes, its control characters escaped."""
    said = json.dumps(f"{facts['method']} {facts['path']} {facts['protocol']}")
    rest = " ".join(
        json.dumps(facts[name]) if isinstance(facts[name], str) else str(facts[name])
        for name in facts
        if name not in {"start_time", "method", "path", "protocol"}
    )
    return f"[{facts['start_time']}] {said} {rest}"
