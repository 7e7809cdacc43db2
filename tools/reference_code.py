"""The page of the reference about refusals, and how code is looked at.

In: modules, imported or parsed. Out: Markdown. What a word means is taken from the table that makes the answer.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_schemas import table

from dataplane.proxy.request import errors as refusals
from dataplane.telemetry import flags

ROOT = Path(__file__).resolve().parents[1]
_RULE = re.compile(r"http[12]_\w+\Z")
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
    for node in parsed("dataplane/proxy/**/*.py"):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            alone = _ALONE.match(node.value.decode("latin-1"))
            if alone:
                rows.append(
                    (f"`{alone[2]}`", int(alone[1]), "", "-", "The request head was not whole within the time allowed.")
                )
    rules: dict[str, list[str]] = {}
    for inside, _ in calls("dataplane/protocol/**/*.py", ""):
        said = [one.decode() if isinstance(one, bytes) and one.isascii() else one for one in inside]
        for word in said:
            if isinstance(word, str) and _RULE.match(word):
                rules.setdefault(word, []).extend(one for one in said if isinstance(one, str) and " " in one)
    return (
        "Each carries `x-tulle-error: <word>` and one sentence as its body. gRPC clients get HTTP 200 with `grpc-status` and `grpc-message`\n"
        'instead. `tulle_errors_total{reason="<word>"}` counts them; the flag is `response_flags` on `tulle_requests_total`, in Envoy\'s words.\n\n'
        + table(("word", "status", "gRPC status", "flag", "what it means"), rows)
        + "\n## Bytes that break a protocol's rules or limits\n\nThe connection (or the HTTP/2 stream) ends; HTTP/1 clients are told the word in `x-tulle-error`, HTTP/2 clients in\n"
        'the debug data of GOAWAY. `tulle_refused_total{reason="<word>"}` counts them; from a server, as `upstream_<word>`.\n\n'
        + table(
            ("word", "sentences in the log"),
            (
                (f"`{w}`", "; ".join(dict.fromkeys(s)) or "(in [limits](../limits.md))")
                for w, s in sorted(rules.items())
            ),
        )
    )
