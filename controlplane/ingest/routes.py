"""HTTPRoute, GRPCRoute, TLSRoute and TCPRoute, read into one shape.

In: a cursor on one route. Out: a `Route` with its Service parents, or None when it has none (then it is a gateway's business). A rule
that cannot be read or carried out stays in its place with the sentence why; the others are unharmed. Refuses only what makes the
whole object unreadable. `refused_patterns` is what admission asks: the patterns of a route that would be lost here.
"""

from __future__ import annotations

import contextlib
import re

from controlplane.ingest.core import key_of
from controlplane.ingest.filters import Filters, UnsupportedError, read_backend, read_filters
from controlplane.ingest.reading import Cursor, UnreadableError, timestamp
from controlplane.model.meta import RouteKey
from controlplane.model.traffic import Match, Parent, PathKind, Retry, Route, Rule, Text
from meshapi import patterns
from meshapi.patterns import PatternError

_GATEWAY_GROUP = "gateway.networking.k8s.io"
_PATH_KINDS = {"Exact": PathKind.EXACT, "PathPrefix": PathKind.PREFIX, "RegularExpression": PathKind.REGEX}
_MAX_REGEX = 1024


def read_route(raw: Cursor) -> Route | None:
    """Read a route of any kind."""
    kind, key = raw.text("kind"), key_of(raw)
    metadata, spec = raw.at("metadata"), raw.at("spec")
    parents = tuple(
        Parent(
            namespace=ref.text("namespace") or key.namespace,
            name=ref.text("name"),
            port=ref.port("port"),
            section=ref.text("sectionName"),
            reference=dict(ref.value),
        )
        for ref in spec.items("parentRefs")
        if ref.text("group", _GATEWAY_GROUP) == "" and ref.text("kind", "Gateway") == "Service"
    )
    if not parents:
        return None
    return Route(
        key=RouteKey(kind, key.namespace, key.name),
        parents=parents,
        rules=tuple(_rule(rule, kind, key.namespace) for rule in spec.items("rules")) or (Rule(),),
        hostnames=spec.words("hostnames"),
        generation=metadata.number("generation"),
        created=timestamp(metadata.at("creationTimestamp").value),
    )


def refused_patterns(raw: Cursor) -> list[str]:
    """Tell which patterns of a route with a Service parent RE2 refuses, a sentence each; what else is wrong with it is told in its status."""
    found: list[str] = []
    read = _MATCHES.get(raw.text("kind"))
    if read is None or read_route(raw) is None:
        return found
    for rule in raw.at("spec").items("rules"):
        for match in rule.items("matches"):
            with contextlib.suppress(UnreadableError):
                read(match, found)
    return found


def _rule(raw: Cursor, kind: str, namespace: str) -> Rule:
    """Read a rule; what is wrong inside stays inside."""
    try:
        read = _MATCHES.get(kind, _grpc_match)
        lost: list[str] = []
        matches = tuple(read(match, lost) for match in raw.items("matches")) or (Match(),)
    except UnreadableError as error:
        return Rule(matches=(), error=str(error))
    if lost:
        return Rule(matches=matches, error="; ".join(lost), lost=True)
    try:
        if raw.at("sessionPersistence"):
            raise UnsupportedError(f"{raw.path}.sessionPersistence is not supported")
        filters = read_filters(raw.items("filters"), namespace)
        _check_prefix_changes(filters, matches)
        timeouts = raw.at("timeouts")
        return Rule(
            matches=matches,
            backends=tuple(read_backend(backend, namespace) for backend in raw.items("backendRefs")),
            request_headers=filters.request_headers,
            response_headers=filters.response_headers,
            redirect=filters.redirect,
            rewrite=filters.rewrite,
            mirrors=filters.mirrors,
            timeout=timeouts.seconds("request"),
            try_timeout=timeouts.seconds("backendRequest"),
            retry=_retry(raw.at("retry")),
        )
    except UnreadableError as error:
        return Rule(matches=matches, error=str(error))


def _check_prefix_changes(filters: Filters, matches: tuple[Match, ...]) -> None:
    """A matched prefix can be replaced only where a prefix was matched (HTTPPathModifier)."""
    changes = [part.path for part in (filters.redirect, filters.rewrite) if part and part.path]
    if any(not change.whole for change in changes) and any(m.path_kind is not PathKind.PREFIX for m in matches):
        raise UnreadableError("ReplacePrefixMatch needs every match of its rule to be a PathPrefix match")


def _retry(raw: Cursor) -> Retry | None:
    if not raw:
        return None
    codes = []
    for code in raw.items("codes"):
        if isinstance(code.value, bool) or not isinstance(code.value, int) or not 400 <= code.value <= 599:
            raise UnreadableError(f"{code.path} must be a status code from 400 to 599")
        codes.append(code.value)
    return Retry(codes=tuple(codes), attempts=max(raw.number("attempts", 1), 1), backoff=raw.seconds("backoff"))


def _value(raw: Cursor, lost: list[str]) -> Text:
    match raw.text("type", "Exact"):
        case "Exact":
            return Text(value=raw.text("value"))
        case "RegularExpression":
            return Text(value=_regex(raw.text("value"), f"{raw.path}.value", lost), regex=True)
        case other:
            raise UnsupportedError(f"{raw.path}.type {other!r} is not supported; use Exact or RegularExpression")


def _regex(pattern: str, path: str, lost: list[str]) -> str:
    """Read a pattern. In place of one that cannot be used stands what covers it, and the sentence is added: the rule is lost, its requests are not let past it (decision 0017)."""
    try:
        if len(pattern) > _MAX_REGEX:
            raise PatternError(f"the pattern has {len(pattern)} characters, {_MAX_REGEX} are the most")
        patterns.pattern(pattern)
    except PatternError as error:
        lost.append(f"{path}: {error}")
        return patterns.covering(pattern)
    return pattern


def _named(raw: list[Cursor], lost: list[str], *, lower: bool) -> tuple[tuple[str, Text], ...]:
    """Read header or query matches; of equal names the first counts."""
    found: dict[str, Text] = {}
    for one in raw:
        name = one.text("name")
        found.setdefault(name.lower() if lower else name, _value(one, lost))
    return tuple(found.items())


def _http_match(raw: Cursor, lost: list[str]) -> Match:
    path = raw.at("path")
    kind = _PATH_KINDS.get(path.text("type", "PathPrefix"))
    if kind is None:
        raise UnsupportedError(
            f"{path.path}.type {path.text('type')!r} is not supported; use one of {', '.join(_PATH_KINDS)}"
        )
    value = path.text("value", "/")
    rank: tuple[int, ...] = ()
    if kind is PathKind.REGEX:
        # A pattern that is lost keeps its place: what takes its requests must not come after a laxer rule.
        rank, value = (len(value),), _regex(value, f"{path.path}.value", lost)
    elif not value.startswith("/"):
        raise UnreadableError(f"{path.path}.value is {value!r}, a path begins with /")
    if kind is PathKind.PREFIX:
        # "/abc/" and "/abc" are the same prefix: matching goes by path segment.
        value = value.rstrip("/") or "/"
    return Match(
        path_kind=kind,
        path=value,
        method=raw.text("method"),
        headers=_named(raw.items("headers"), lost, lower=True),
        query=_named(raw.items("queryParams"), lost, lower=False),
        rank=rank,
    )


def _grpc_match(raw: Cursor, lost: list[str]) -> Match:
    """Read a gRPC match as what the call looks like in HTTP/2: the path `/<service>/<method>`."""
    method = raw.at("method")
    service, name = method.text("service"), method.text("method")
    headers = _named(raw.items("headers"), lost, lower=True)
    exact = method.text("type", "Exact")
    if exact not in {"Exact", "RegularExpression"}:
        raise UnsupportedError(f"{method.path}.type {exact!r} is not supported; use Exact or RegularExpression")
    rank = (int(exact == "Exact"), len(service), len(name))
    if not service and not name:
        return Match(headers=headers, rank=(0, 0, 0))
    if exact == "Exact" and service and name:
        return Match(path_kind=PathKind.EXACT, path=f"/{service}/{name}", headers=headers, rank=rank)
    if exact == "Exact" and service:
        return Match(path_kind=PathKind.PREFIX, path=f"/{service}", headers=headers, rank=rank)
    if exact == "Exact":
        return Match(
            path_kind=PathKind.REGEX, path=f"{patterns.ANY_SERVICE}{re.escape(name)}", headers=headers, rank=rank
        )
    pattern = _regex(f"/{service or '[^/]+'}/{name or '[^/]+'}", method.path, lost)
    return Match(path_kind=PathKind.REGEX, path=pattern, headers=headers, rank=rank)


_MATCHES = {"HTTPRoute": _http_match, "GRPCRoute": _grpc_match}
