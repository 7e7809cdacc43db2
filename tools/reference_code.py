"""Pages of the reference that are read off the code: refusals and metrics.

In: modules, looked at or parsed, never run beyond that. Out: Markdown. What a metric is called and means is taken from where
it is written out, what a word means from the table that makes the answer.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Stub
from typing import Any

from reference_schemas import table

from dataplane import views
from dataplane.proxy import errors as refusals
from dataplane.telemetry import flags, labels
from dataplane.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[1]
_RULE = re.compile(r"http[12]_\w+\Z")
_PEERS = ", ".join(name for name, _ in labels.Peers(reporter="source").pairs())
_ALONE = re.compile(r"HTTP/1\.1 (\d+) .*x-tulle-error: (\w+)", re.DOTALL)


def parsed(pattern: str) -> Iterator[ast.AST]:
    """Yield all nodes of some modules."""
    for path in sorted(ROOT.glob(pattern)):
        yield from ast.walk(ast.parse(path.read_text()))


def calls(pattern: str, *called: str) -> Iterator[tuple[list[Any], list[str]]]:
    """Yield constants and keywords of the calls whose function ends in one of these."""
    for node in parsed(pattern):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(called):
            yield [one for argument in node.args for one in _constants(argument)], [str(k.arg) for k in node.keywords]


def _constants(node: ast.AST) -> Iterator[Any]:
    """Yield the constants of an expression; what an f-string fills in is an ellipsis."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _constants(child)


def errors() -> str:
    """Tell every answer of the sidecar's own, and every rule it breaks a connection for."""
    rows: list[tuple[object, ...]] = [
        (f"`{r.word}`", r.status, r.grpc_status, flags.NAMES[r.flag], r.body.decode().strip()) for r in refusals.ALL
    ]
    for node in parsed("dataplane/proxy/*.py"):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            alone = _ALONE.match(node.value.decode("latin-1"))
            if alone:
                rows.append(
                    (f"`{alone[2]}`", int(alone[1]), "", "-", "The request head was not whole within the time allowed.")
                )
    rules: dict[str, list[str]] = {}
    for inside, _ in calls("dataplane/protocol/*.py", "_fail"):
        word = next((one for one in inside if isinstance(one, str) and _RULE.match(one)), "")
        if word:
            rules.setdefault(word, []).extend(one for one in inside if isinstance(one, str) and " " in one)
    return (
        "Each carries `x-tulle-error: <word>` and one sentence as its body. gRPC clients get HTTP 200 with `grpc-status` and `grpc-message`\n"
        'instead. `tulle_errors_total{reason="<word>"}` counts them; the flag is `response_flags` on `tulle_requests_total`, in Envoy\'s words.\n\n'
        + table(("word", "status", "gRPC status", "flag", "what it means"), rows)
        + "\n## Bytes that break a protocol's rules or limits\n\nThe connection (or the HTTP/2 stream) ends; HTTP/1 clients are told the word in `x-tulle-error`, HTTP/2 clients in\n"
        'the debug data of GOAWAY. `tulle_refused_total{reason="<word>"}` counts them; from a server, as `upstream_<word>`.\n\n'
        + table(
            ("word", "sentences in the log"),
            ((f"`{w}`", "; ".join(dict.fromkeys(s))) for w, s in sorted(rules.items())),
        )
    )


def metrics() -> str:
    """Tell every metric of both programs: name, kind, help, labels."""
    made = Metrics()
    peers = labels.Peers(reporter="source")
    made.requests(peers).of(200, -1, False, flags.NONE)
    made.tcp(peers)
    for family in made.families():
        family.of("word")
    for inside, _ in calls("dataplane/*.py", "metrics.gauge"):
        made.gauge(inside[0], inside[1], lambda: 0.0)
    runtime: Any = Stub(metrics=made, poller=Stub(connections=0), active=0)
    listener: Any = Stub(refused={"connections": 1})
    sidecar = _scraped(views.metrics_text(runtime, [listener]))
    plane = [
        (f"`{inside[0]}`", "counter" if kind == "_total" else "gauge", str(inside[-1]), ", ".join(keywords))
        for kind in ("_gauge", "_total")
        for inside, keywords in calls("controlplane/reports.py", kind)
    ]
    head = ("metric", "kind", "meaning", "labels")
    kinds = {str(word) for inside, _ in calls("dataplane/proxy/*.py", "events.of") for word in inside}
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
        bound = re.findall(rf"^{name}(?:_bucket)?{{(.*)}}", text, re.MULTILINE)
        words = ", ".join(re.findall(r'(\w+)="', bound[0])) if bound else ""
        yield f"`{name}`", kind, said, words.replace(_PEERS, "*peers*")
