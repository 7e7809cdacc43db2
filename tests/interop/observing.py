"""Give the cases to a proxy, and bring what was seen on both sides of it into a form that can be compared."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.backends import Book, Pairs, Seen, http1_backend, http2_backend
from tests.interop.cases import ALL, Case
from tests.interop.clients import Heard, Reply
from tests.support.peers import envoy_from_file
from tests.support.ports import free_ports
from tests.support.sidecar import Json, cluster, http, listener, sidecar, to, write

ASPECTS = ("status", "interim", "headers", "body", "trailers", "end", "backend")
AT_ONCE = 64
"""Conversations side by side."""

CASE_SECONDS = 15.0
_OWN_WORDS = {"content-type", "content-length", "x-tulle-error", "grpc-message"}
_LOCAL = {"date", "server", "x-tulle-error"}
_ADDED = {"x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-envoy-internal"}


@dataclass(frozen=True)
class Observed:
    """One case at one proxy, an aspect a text."""

    status: str
    interim: str
    headers: str
    body: str
    trailers: str
    end: str
    backend: str


@dataclass(frozen=True)
class Ports:
    """Where the proxy listens and where its servers are."""

    proxy: int
    h1: int
    h2: int
    dead: int


def route(match: Json, cluster_name: str = "h1", **action: Any) -> Json:
    more = action.pop("more", {})
    return {"match": match, "route": {"cluster": cluster_name, "timeout": "10s", **action}, **more}


def direct(match: Json, text: str, status: int = 200, **more: Any) -> Json:
    body = {"body": {"inline_string": text}} if text else {}
    return {"match": match, "direct_response": {"status": status, **body}, **more}


def header(name: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _matching() -> list[Json]:
    """Routes whose answers name the route."""
    pick = {"name": "x-pick", "string_match": {"exact": "one"}}
    number = {"name": "x-pick", "string_match": {"safe_regex": {"regex": "[a-z]+[0-9]"}}}
    there = {"name": "x-there", "present_match": True}
    this = {"name": "x-not", "string_match": {"exact": "this"}, "invert_match": True}
    put = {"name": ":method", "string_match": {"exact": "PUT"}}
    first = {"name": "a", "string_match": {"exact": "1"}}
    return [
        direct({"path": "/exact"}, "exact"),
        direct({"prefix": "/prefix"}, "prefix"),
        direct({"path_separated_prefix": "/sep"}, "separated"),
        direct({"safe_regex": {"regex": "/regex/[0-9]+"}}, "regex"),
        direct({"path": "/method", "headers": [put]}, "put"),
        direct({"path": "/header", "headers": [pick]}, "header exact"),
        direct({"path": "/header", "headers": [number]}, "header regex"),
        direct({"path": "/header", "headers": [there]}, "header present"),
        direct({"path": "/inverted", "headers": [this]}, "header inverted"),
        direct({"path": "/query", "query_parameters": [first]}, "query exact"),
        direct({"path": "/query", "query_parameters": [{"name": "flag", "present_match": True}]}, "query present"),
        direct({"prefix": "/direct-empty"}, "", 204),
        direct({"prefix": "/direct"}, "direct words", 418),
    ]


def _changing() -> list[Json]:
    """Routes that redirect, rewrite and modify."""
    redirects = {
        "path": {"path_redirect": "/moved", "response_code": "FOUND"},
        "prefix": {"prefix_rewrite": "/new", "response_code": "TEMPORARY_REDIRECT"},
        "host": {"host_redirect": "other.example", "port_redirect": 8443, "response_code": "SEE_OTHER"},
        "https": {"https_redirect": True},
    }
    edits = {
        "request_headers_to_add": [header("X-Set", "new", "OVERWRITE_IF_EXISTS_OR_ADD"), header("X-Add", "more")],
        "request_headers_to_remove": ["x-gone"],
    }
    answers = {
        "response_headers_to_add": [header("X-Set", "new", "OVERWRITE_IF_EXISTS_OR_ADD"), header("X-Added", "more")],
        "response_headers_to_remove": ["set-cookie"],
    }
    weighted = [{"name": "h1", "weight": 100, **edits}, {"name": "dead", "weight": 0}]
    total = {"weighted_clusters": {"clusters": weighted}, "timeout": "10s"}
    bare = {"weighted_clusters": {"clusters": [{"name": "h1", "weight": 1}, {"name": "dead", "weight": 0}]}}
    regex = {"pattern": {"regex": "^/rewrite/regex/([a-z]+)/([a-z]+)"}, "substitution": "/\\2/\\1"}
    return [
        *({"match": {"prefix": f"/redirect/{name}"}, "redirect": action} for name, action in redirects.items()),
        route({"prefix": "/rewrite/prefix"}, prefix_rewrite="/other"),
        route({"prefix": "/rewrite/root"}, prefix_rewrite="/"),
        route({"prefix": "/rewrite/regex"}, regex_rewrite=regex),
        route({"prefix": "/rewrite/host"}, host_rewrite_literal="rewritten.example"),
        route({"prefix": "/modify/request"}, more=edits),
        route({"prefix": "/modify/response"}, more=answers),
        direct({"prefix": "/modify/direct"}, "modified", **answers),
        {"match": {"prefix": "/modify/weighted"}, "route": total},
        {"match": {"prefix": "/weighted"}, "route": bare},
    ]


def bootstrap(path: Path, ports: Ports) -> Path:
    """Write the one file both proxies run from."""
    retry = {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.02s"}}
    absent = [{"name": "x-no-route", "present_match": True, "invert_match": True}]
    routes = [
        *_matching(),
        *_changing(),
        route({"prefix": "/timeout"}, timeout="0.5s"),
        route({"prefix": "/retry"}, retry_policy=retry),
        route({"prefix": "/empty"}, "empty"),
        route({"prefix": "/dead"}, "dead"),
        route({"prefix": "/unknown"}, "unknown", cluster_not_found_response_code="INTERNAL_SERVER_ERROR"),
        to("h2") | {"match": {"prefix": "/h2/"}},
        to("leaving-1") | {"match": {"prefix": "/leaving-1/"}},
        to("leaving-2") | {"match": {"prefix": "/leaving-2/"}},
        to("h1") | {"match": {"prefix": "/", "headers": absent}},
    ]
    manager = http(routes)
    manager["typed_config"]["route_config"]["validate_clusters"] = False
    clusters = [
        cluster("h1", ports.h1),
        cluster("h2", ports.h2, protocol="http2"),
        cluster("leaving-1", ports.h2, protocol="http2"),
        cluster("leaving-2", ports.h2, protocol="http2"),
        cluster("dead", ports.dead),
        cluster("empty"),
    ]
    return write(path, [listener("http", ports.proxy, {"filters": [manager]})], clusters)


# --- giving -----------------------------------------------------------------------------------------------------------


async def give(ports: Ports, cases: list[Case]) -> dict[str, Observed]:
    """Give a running proxy every case; servers are ours."""
    book = Book()
    gate = asyncio.Semaphore(AT_ONCE)
    heard: dict[str, Heard] = {}

    async def one(case: Case) -> None:
        async with gate:
            try:
                async with asyncio.timeout(CASE_SECONDS):
                    heard[case.name] = await case.play(ports.proxy)
            except TimeoutError:
                heard[case.name] = Heard(end="endless")

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(http1_backend(ports.h1, book))
        await stack.enter_async_context(http2_backend(ports.h2, book))
        async with asyncio.TaskGroup() as group:
            for case in cases:
                group.create_task(one(case))
    return {case.name: observed(case, heard[case.name], book.seen.get(case.name, [])) for case in cases}


def both(directory: Path, cases: list[Case] = ALL) -> tuple[dict[str, Observed], dict[str, Observed]]:
    """Run Envoy, then our sidecar, from the same file on the same ports."""
    ports = Ports(*free_ports(4))
    config = bootstrap(directory / "same.json", ports)
    with envoy_from_file(config, directory, ports.proxy):
        theirs = asyncio.run(give(ports, cases))
    with sidecar(config, directory):
        ours = asyncio.run(give(ports, cases))
    return theirs, ours


# --- comparing --------------------------------------------------------------------------------------------------------


def observed(case: Case, heard: Heard, seen: list[Seen]) -> Observed:
    """Bring a case into a form that can be compared."""
    replies = heard.replies
    if case.name.startswith("bad"):  # what counts is that no whole request comes out; how far one got is chance
        seen = [one for one in seen if one.end == "complete"]
    return Observed(
        status=", ".join(_status(one) for one in replies) or "none",
        interim=", ".join(f"{one.status} {_pairs(one.headers, _LOCAL)}" for one in heard.interim),
        headers="; ".join(_headers(one, case) for one in replies),
        body=", ".join(_body(one, case) for one in replies) + (f" then {_short(heard.extra)}" if heard.extra else ""),
        trailers="; ".join(_pairs(one.trailers, set()) for one in replies),
        end=heard.end,
        backend=" | ".join(sorted(_seen(one) for one in seen)) or "nothing",
    )


def _status(reply: Reply) -> str:
    grpc = reply.one("grpc-status") and f" grpc {reply.one('grpc-status')}"
    cut = "" if reply.reset is None else " cut" if reply.reset < 0 else f" reset {reply.reset}"
    return f"{reply.status or 'no head'}{' ' + reply.reason if reply.reason else ''}{grpc}{cut}"


def _own(reply: Reply) -> bool:
    return not reply.one("x-from")


def _headers(reply: Reply, case: Case) -> str:
    left = _LOCAL | (_OWN_WORDS if _own(reply) and not case.own else set())
    return _pairs(reply.headers, left)


def _body(reply: Reply, case: Case) -> str:
    if _own(reply) and not case.own and reply.status >= 400:
        return "own words"
    return _short(reply.body)


def _pairs(pairs: Pairs, left: set[str]) -> str:
    """Write fields in their order; Envoy lowers the case of names, so both are compared in lower case."""
    lowered = [(name.lower(), value) for name, value in pairs]
    return json.dumps([pair for pair in lowered if pair[0] not in left and not pair[0].startswith("x-envoy-")])


def _seen(one: Seen) -> str:
    added = {name.lower(): value for name, value in one.headers if name.lower() in _ADDED}
    if len(added.get("x-request-id", "")) >= 20:
        added["x-request-id"] = "made"
    added.pop("x-envoy-internal", None)
    before, comma, _ = added.get("x-forwarded-for", "").replace(", ", ",").rpartition(",")
    if "x-forwarded-for" in added:  # Envoy writes the machine's address for a client on loopback
        added["x-forwarded-for"] = f"{before}{comma}client"
    rest = [pair for pair in one.headers if pair[0].lower() not in {*_ADDED, "x-case", "x-do"}]
    trailers = f" trailers {_pairs(one.trailers, set())}" if one.trailers else ""
    return f"{one.line} {_pairs(rest, set())} +{json.dumps(added, sort_keys=True)} {_short(bytes(one.body))}{trailers} {one.end}"


def _short(data: bytes) -> str:
    if len(data) <= 80:
        return repr(data)
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:8]}"
