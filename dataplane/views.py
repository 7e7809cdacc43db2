"""What the admin port shows of a running sidecar: metrics, the configuration in force, what would be done with a request.

In: the runtime. Out: answers. Never a secret: keys are no part of what is shown, certificates and roots are public.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from dataplane.admin import Answer, Request, as_json, text
from dataplane.net import system
from dataplane.net.listen import ListenSocket
from dataplane.proxy.worker.overload import resident_bytes
from dataplane.proxy.worker.runtime import Runtime
from dataplane.telemetry.recent import Recent
from dataplane.telemetry.view import Row, View, rows_of


def connections(runtime: Runtime) -> int:
    """Count the clients' connections: HTTP ones, and relays that are open."""
    relays = sum(series.opened - series.closed for series in runtime.metrics.tcps.values())
    return len(runtime.downstreams) + int(relays)


def rows(runtime: Runtime, listeners: list[ListenSocket], recent: Recent) -> list[Row]:
    """Tell what a worker counted that is no pair of peers'."""
    found = rows_of(runtime.metrics)
    for name, help_, kind, value in (
        ("tulle_proxy_connections", "Connections open, of every kind.", "gauge", runtime.poller.connections),
        ("tulle_proxy_requests_active", "Requests under way.", "gauge", runtime.active),
        ("process_resident_memory_bytes", "Resident memory.", "gauge", resident_bytes()),
    ):
        found.append(Row(name=name, help=help_, kind=kind, values={"": value}))
    if runtime.access_log is not None:
        told = "Lines the reader of the access log was too slow for."
        dropped = {"": runtime.access_log.dropped}
        found.append(Row(name="tulle_access_log_dropped_total", help=told, kind="counter", values=dropped))
    refused: dict[str, float] = {}
    for listener in listeners:
        for reason, count in listener.refused.items():
            refused[reason] = refused.get(reason, 0) + count
    if refused:
        told = "Connections closed at once, by limit."
        found.append(Row(name="tulle_accept_refused_total", help=told, kind="counter", label="reason", values=refused))
    told = "Responses the sidecar made itself in the last minute, by reason."
    lately = recent.errors()
    found.append(Row(name="tulle_errors_last_minute", help=told, kind="gauge", label="reason", values=lately))
    told = "Requests in the last minute."
    found.append(Row(name="tulle_requests_last_minute", help=told, kind="gauge", values={"": recent.requests()}))
    return found


def metrics(view: View, request: Request, clock: Callable[[], float]) -> Answer:
    """Answer a scrape in slices, as gzip where that is taken."""
    from dataplane.telemetry import negotiation, scrape  # noqa: PLC0415 - not every sidecar is scraped

    pack = None
    if negotiation.gzip(request.headers.get("accept-encoding", "")):
        from dataplane.telemetry.packing import Gzip  # noqa: PLC0415 - as above

        pack = Gzip()
    openmetrics = negotiation.openmetrics(request.headers.get("accept", ""))
    slices = scrape.Scrape(view, clock, pack, openmetrics=openmetrics)
    kind = scrape.OPENMETRICS if openmetrics else scrape.TEXT
    return Answer(slices=slices, kind=kind, encoding="gzip" if pack else "")


def configuration(runtime: Runtime, _: Request) -> Answer:
    """Show the configuration in force, without keys, a slice at a time: it may be megabytes."""
    from dataplane import dump  # noqa: PLC0415 - few sidecars are ever asked

    return Answer(slices=dump.slices(runtime.tables.config, runtime.clock), kind="application/json")


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


def settle_memory() -> None:
    """Put what was made while starting out of the collector's sight, as it lives on; give back what it took to make it."""
    gc.collect()
    gc.freeze()
    system.trim()
