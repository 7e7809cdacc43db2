"""What the admin port shows of a running sidecar: metrics, the configuration in force, what would be done with a request.

In: the runtime. Out: answers. Never a secret: keys are no part of what is shown, certificates and roots are public.
"""

from __future__ import annotations

import dataclasses
import enum
import gc
from collections.abc import Mapping
from typing import Any

from dataplane.admin import Answer, Request, as_json, text
from dataplane.config import Secret, SidecarConfig, TlsContext
from dataplane.net import system
from dataplane.net.listen import ListenSocket
from dataplane.proxy.worker.overload import resident_bytes
from dataplane.proxy.worker.runtime import Runtime
from dataplane.telemetry import exposition
from dataplane.telemetry.recent import Recent

KEPT_SECONDS = 5.0
"""For so long the configuration is kept written down: it may be megabytes."""
_HIDDEN = frozenset(("key",))


def connections(runtime: Runtime) -> int:
    """Count the clients' connections: HTTP ones, and relays that are open."""
    relays = sum(series.opened - series.closed for series in runtime.metrics.tcps.values())
    return len(runtime.downstreams) + int(relays)


def metrics_text(runtime: Runtime, listeners: list[ListenSocket], recent: Recent) -> str:
    """Write out everything a worker counted, in the Prometheus text format."""
    lines = [
        "# HELP tulle_proxy_connections Connections open, of every kind.",
        "# TYPE tulle_proxy_connections gauge",
        f"tulle_proxy_connections {runtime.poller.connections}",
        "# HELP tulle_proxy_requests_active Requests under way.",
        "# TYPE tulle_proxy_requests_active gauge",
        f"tulle_proxy_requests_active {runtime.active}",
        "# HELP process_resident_memory_bytes Resident memory.",
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {resident_bytes()}",
    ]
    if runtime.access_log is not None:
        lines += [
            "# HELP tulle_access_log_dropped_total Lines the reader of the access log was too slow for.",
            "# TYPE tulle_access_log_dropped_total counter",
            f"tulle_access_log_dropped_total {runtime.access_log.dropped}",
        ]
    refused: dict[str, int] = {}
    for listener in listeners:
        for reason, count in listener.refused.items():
            refused[reason] = refused.get(reason, 0) + count
    if refused:
        lines += [
            "# HELP tulle_accept_refused_total Connections closed at once, by limit.",
            "# TYPE tulle_accept_refused_total counter",
        ]
        lines += [
            f'tulle_accept_refused_total{{reason="{reason}"}} {count}' for reason, count in sorted(refused.items())
        ]
    return exposition.expose(runtime.metrics) + "\n".join([*lines, *recent.lines()]) + "\n"


def metrics(text_: str) -> Answer:
    """Answer a scrape."""
    return Answer(body=text_.encode(), kind=exposition.CONTENT_TYPE)


class Configuration:
    """The configuration in force, without keys; written down once for all who ask within a while."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._of: SidecarConfig | None = None
        self._answer = Answer()

    def answer(self, _: Request) -> Answer:
        """Show it."""
        config = self._runtime.tables.config
        if config is not self._of:
            self._of, self._answer = config, as_json(_plain(config))
            self._runtime.timers.after(KEPT_SECONDS, self._let_go)
        return self._answer

    def _let_go(self) -> None:
        self._of, self._answer = None, Answer()


def route(runtime: Runtime, request: Request) -> Answer:
    """Say what would be done with a request (`host`, `path`, `method`, `header=name:value`, `address=ip:port`)."""
    from dataplane.proxy.request.explain import Question, explain  # noqa: PLC0415 - few sidecars are ever asked

    headers = []
    for given in request.query.get("header", []):
        name, mark, value = given.partition(":")
        if not mark or not name.strip():
            return text(f"header {given!r} is not of the form name:value", 400)
        headers.append((name.strip().lower(), value.strip()))
    path = request.one("path", "/")
    if not path.startswith("/"):
        return text(f"path {path!r} does not start with /", 400)
    question = Question(
        host=request.one("host"),
        address=request.one("address"),
        method=request.one("method", "GET").upper(),
        path=path,
        headers=tuple(headers),
        identity=request.one("identity"),
        source=request.one("source"),
    )
    return as_json(explain(runtime.tables, question, runtime.clock()))


def _plain(value: Any) -> Any:
    """Turn nouns into what JSON has; keys of certificates stay out."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = dataclasses.fields(value)
        hide = _HIDDEN if isinstance(value, Secret | TlsContext) else frozenset[str]()
        return {field.name: _plain(getattr(value, field.name)) for field in shown if field.name not in hide}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def settle_memory() -> None:
    """Put what was made while starting out of the collector's sight, as it lives on; give back what it took to make it."""
    gc.collect()
    gc.freeze()
    system.trim()
