"""The page of the reference about metrics.

In: one scrape of a sidecar in which everything was counted once, and the calls that make the control plane's samples. Out: Markdown.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from types import SimpleNamespace as Stub
from typing import Any

from reference_code import calls
from reference_schemas import table

from dataplane import views
from dataplane.net.poller import Poller
from dataplane.proxy.worker.runtime import Runtime
from dataplane.telemetry import flags, labels, told
from dataplane.telemetry.recent import Recent
from dataplane.telemetry.scrape import Scrape

_PEERS = ", ".join(name for name, _ in labels.Peers(reporter="source").pairs())


def metrics() -> str:
    """Tell every metric of both programs: name, kind, help, labels."""
    loop = asyncio.new_event_loop()
    poller = Poller(loop)
    runtime = Runtime(poller)
    runtime.access_log = Stub(dropped=0)
    made, peers = runtime.metrics, labels.Peers(reporter="source")
    made.requests(peers).of(200, -1, False, flags.NONE)
    made.tcp(peers)
    for family in made.families():
        family.of("word")
    for inside, _ in calls("dataplane/*.py", "metrics.gauge"):
        made.gauge(inside[0], inside[1], lambda: 0.0)
    listener: Any = Stub(refused={"connections": 1})
    rows = views.rows(runtime, [listener], Recent(runtime.metrics, runtime.timers))
    view = told.together(runtime.metrics, rows, [])
    sidecar = _scraped(b"".join(Scrape(view, runtime.clock)).decode())
    poller.close()
    loop.close()
    plane = [
        (
            f"`{inside[0]}`",
            {"_gauge": "gauge", "_total": "counter", "_histogram": "histogram"}[kind],
            str(inside[-1]),
            "le" if kind == "_histogram" else ", ".join(keywords),
        )
        for kind in ("_gauge", "_total", "_histogram")
        for inside, keywords in calls("controlplane/reports.py", kind)
    ]
    head = ("metric", "kind", "meaning", "labels")
    kinds = {str(word) for inside, _ in calls("dataplane/proxy/**/*.py", "events.of") for word in inside}
    return (
        "## Sidecar: port 15020, `/metrics`\n\nNames and labels follow Istio's where they mean the same, so dashboards port by a rename. With several workers a scrape is their sum.\n"
        f"*peers* is {_PEERS}.\n\n"
        + table(head, sidecar)
        + f"\nKinds of `tulle_proxy_events_total`: {', '.join(f'`{kind}`' for kind in sorted(kinds))}. Reasons are in [errors](errors.md).\n"
        + "\n## Control plane: port 15014, `/metrics`\n\n"
        + table(head, sorted(plane))
    )


def _scraped(text: str) -> Iterator[tuple[str, ...]]:
    for name, said in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE):
        kind = re.findall(rf"^# TYPE {name} (\w+)$", text, re.MULTILINE)[0]
        bound = re.findall(rf"^{name}(?:_bucket|_sum)?{{(.*)}}", text, re.MULTILINE)
        words = ", ".join(re.findall(r'(\w+)="', bound[0])) if bound else ""
        yield f"`{name}`", kind, said, words.replace(_PEERS, "*peers*")
