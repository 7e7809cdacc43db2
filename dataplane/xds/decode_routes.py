"""Route configurations, from Envoy's messages to nouns.

In: RouteConfiguration messages, pushed or inline. Out: `RouteTable`. Refuses matches and actions it does not carry out, each with where
it stands; ignoring one would send requests elsewhere.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import (
    DirectResponse,
    Forward,
    HeaderChange,
    Redirect,
    RetryPolicy,
    Route,
    RouteMatch,
    RouteTable,
    StringMatch,
    Target,
    VirtualHost,
)
from dataplane.xds.reading import (
    BadPatternError,
    RefusedError,
    both,
    choice,
    flag,
    header_change,
    in_target,
    kind_of,
    maybe_seconds,
    number,
    plain,
    regex,
    rewrite,
    seconds,
    string_match,
    unpacked,
    upgrades,
)
from dataplane.xds.watched import lose
from meshapi import patterns, xds
from meshapi.records import record

ENVOY_TIMEOUT = 15.0
"""What a route without a timeout has in Envoy; Tulle's own routes always say."""
_STATUS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
RETRIED = frozenset(
    {
        *("5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "refused-stream"),
        *("retriable-4xx", "retriable-status-codes"),
        *("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"),
    }
)
"""What a request may be sent again for; the last five are gRPC's."""
_LOST = DirectResponse(status=500, body=b"A pattern of this route cannot be used. The sidecar's log says which.\n")
_ELSEWHERE = "PreviousHostsPredicate"
_NOT_FOUND = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}


def route_table(message: Any) -> RouteTable:
    """Read a RouteConfiguration."""
    where = f"route configuration {message.name}"
    return RouteTable(
        name=message.name,
        hosts=tuple(_host(host, f"{where}, virtual host {host.name}") for host in message.virtual_hosts),
        request_headers=header_change(message, "request", where),
        response_headers=header_change(message, "response", where),
    )


def _host(message: Any, where: str) -> VirtualHost:
    if not message.domains:
        raise RefusedError(f"{where}: domains are missing")
    given = _Given(
        retry=_retry(message.retry_policy, where) if message.HasField("retry_policy") else None,
        request=header_change(message, "request", where),
        response=header_change(message, "response", where),
    )
    routes = (_route(r, given, f"{where}, route {r.name or index}") for index, r in enumerate(message.routes))
    return VirtualHost(domains=tuple(message.domains), routes=tuple(routes))


@record(kw_only=False)
class _Given:
    """What a virtual host says for all its routes."""

    retry: RetryPolicy | None
    request: HeaderChange | None
    response: HeaderChange | None


def _route(message: Any, given: _Given, where: str) -> Route:
    """Read a route. One with a pattern that is not RE2's is lost alone, and answers all that may have been its requests (decision 0017)."""
    request = header_change(message, "request", where)
    response = header_change(message, "response", where)
    lost: list[str] = []
    match = _match(message.match, where, lost)
    action: Forward | Redirect | DirectResponse | None = None
    try:
        action = _action(message, given, where)
    except BadPatternError as error:
        lost.append(str(error))
    if lost:
        lose(message, "; ".join(lost))
    name = _name(message)
    return Route(
        match=match,
        action=_LOST if action is None or lost else action,
        name=name,
        request_headers=both(request, given.request),
        response_headers=both(response, given.response),
    )


def _name(message: Any) -> str:
    """Name a route as users know it: `<Kind>/<namespace>/<name>#<rule>` where the control plane says, else Envoy's own name."""
    facts = message.metadata.filter_metadata
    if xds.METADATA in facts:
        told = dict(plain(facts[xds.METADATA]))
        if "route" in told:
            return f"{told['route']}#{told.get('rule', 0)}"
    name: str = message.name
    return name


def _match(message: Any, where: str, lost: list[str]) -> RouteMatch:
    """Read a match. In place of a pattern nobody can read stands what every match of it has, so that its requests go nowhere else."""
    if not flag(message, "case_sensitive", default=True):
        raise RefusedError(f"{where}: paths are always compared with their case")
    headers: list[tuple[str, StringMatch]] = []
    method: StringMatch | None = None
    for one in message.headers:
        name, value = one.name.lower(), _header(one, where, lost)
        if value is None:
            continue
        if name == ":method" and method is None:
            method = value
        else:
            headers.append((name, value))
    if message.HasField("grpc"):
        headers.append(("content-type", StringMatch(prefix="application/grpc")))
    which = message.WhichOneof("path_specifier")
    kinds = {"path": "path", "prefix": "prefix", "path_separated_prefix": "separated_prefix", "safe_regex": "regex"}
    if which not in kinds:
        raise RefusedError(f"{where}: a match by {which or 'nothing'} is not supported")
    query = tuple((one.name, _kept_query(one, where, lost)) for one in message.query_parameters)
    kind, path = kinds[which], getattr(message, which)
    if kind == "regex":
        try:
            path = regex(path.regex, where)
        except BadPatternError as error:
            lost.append(str(error))
            kind, path = "prefix", patterns.beginning(path.regex)
    return RouteMatch(**{kind: path}, method=method, headers=tuple(headers), query=query)


def _header(message: Any, where: str, lost: list[str]) -> StringMatch | None:
    """Read what a header must be; None for anything, where what does not match a lost pattern may lack the header as well."""
    try:
        return header_match(message, where)
    except BadPatternError as error:
        lost.append(str(error))
        return None if message.invert_match else StringMatch(present=True)


def _kept_query(message: Any, where: str, lost: list[str]) -> StringMatch:
    try:
        return _query(message, where)
    except BadPatternError as error:
        lost.append(str(error))
        return StringMatch(present=True)


def header_match(message: Any, where: str) -> StringMatch:
    """Read what a header's value must be."""
    if message.treat_missing_header_as_empty:
        raise RefusedError(f"{where}: treat_missing_header_as_empty is not supported")
    invert = bool(message.invert_match)
    match message.WhichOneof("header_match_specifier"):
        case "string_match":
            return string_match(message.string_match, where, invert=invert)
        case "present_match":
            return StringMatch(present=True, invert=invert != (not message.present_match))
        case None:
            return StringMatch(present=True, invert=invert)
        case "exact_match":
            return StringMatch(exact=message.exact_match, invert=invert)
        case "prefix_match":
            return StringMatch(prefix=message.prefix_match, invert=invert)
        case "suffix_match":
            return StringMatch(suffix=message.suffix_match, invert=invert)
        case "contains_match":
            return StringMatch(contains=message.contains_match, invert=invert)
        case "safe_regex_match":
            return StringMatch(regex=regex(message.safe_regex_match.regex, where), invert=invert)
        case other:
            raise RefusedError(f"{where}: a header match by {other} is not supported")


def _query(message: Any, where: str) -> StringMatch:
    which = message.WhichOneof("query_parameter_match_specifier")
    if which == "string_match":
        return string_match(message.string_match, where)
    return StringMatch(present=True, invert=which == "present_match" and not message.present_match)


def _action(message: Any, given: _Given, where: str) -> Forward | Redirect | DirectResponse:
    match message.WhichOneof("action"):
        case "route":
            return _forward(message.route, given, where)
        case "redirect":
            return _redirect(message.redirect, where)
        case "direct_response":
            body, status = message.direct_response.body, message.direct_response.status
            if not 200 <= status < 600:
                raise RefusedError(f"{where}: {status} is no status of an answer; use 200 to 599")
            if body.WhichOneof("specifier") in {"filename", "environment_variable"}:
                raise RefusedError(f"{where}: the body of a direct response must be inline")
            return DirectResponse(status=status, body=body.inline_bytes or body.inline_string.encode())
        case other:
            raise RefusedError(f"{where}: the action {other or 'nothing'} is not supported")


def _redirect(message: Any, where: str) -> Redirect:
    scheme = message.scheme_redirect or ("https" if message.https_redirect else "")
    replaces = message.WhichOneof("path_rewrite_specifier") == "prefix_rewrite"
    return Redirect(
        status=_STATUS[choice(message, "response_code", where)],
        scheme=in_target(scheme, where) or None,
        host=in_target(message.host_redirect, where) or None,
        port=message.port_redirect or None,
        path=in_target(message.path_redirect, where) or None,
        prefix=in_target(message.prefix_rewrite, where) if replaces else None,
    )


def _forward(message: Any, given: _Given, where: str) -> Forward:
    return Forward(
        targets=_targets(message, where),
        timeout=seconds(message, "timeout", ENVOY_TIMEOUT),
        idle=maybe_seconds(message, "idle_timeout"),
        duration=maybe_seconds(message.max_stream_duration, "max_stream_duration"),
        grpc_duration=_grpc_duration(message.max_stream_duration),
        upgrades=upgrades(message.upgrade_configs),
        retry=_retry(message.retry_policy, where) if message.HasField("retry_policy") else given.retry,
        prefix_rewrite=in_target(message.prefix_rewrite, where) or None,
        regex_rewrite=_regex_rewrite(message, where),
        host_rewrite=in_target(message.host_rewrite_literal, where) or None,
        mirrors=tuple(_mirror(one, where) for one in message.request_mirror_policies),
        not_found_status=_NOT_FOUND[choice(message, "cluster_not_found_response_code", where)],
    )


def _grpc_duration(limits: Any) -> tuple[float, float] | None:
    """Read what a call's own time-out is held to; an offset without a cap says nothing, as in Envoy."""
    offset = seconds(limits, "grpc_timeout_header_offset", 0.0)
    most = maybe_seconds(limits, "grpc_timeout_header_max")
    return None if most is None else (most, offset)


def _regex_rewrite(message: Any, where: str) -> tuple[str, str] | None:
    if not message.HasField("regex_rewrite"):
        return None
    substitution = in_target(message.regex_rewrite.substitution, where)
    return rewrite(message.regex_rewrite.pattern.regex, substitution, where)


def _targets(message: Any, where: str) -> tuple[Target, ...]:
    match message.WhichOneof("cluster_specifier"):
        case "cluster":
            return (Target(cluster=message.cluster),)
        case "weighted_clusters":
            weighted = message.weighted_clusters
            targets = tuple(_target(one, where) for one in weighted.clusters)
            if not sum(target.weight for target in targets):
                raise RefusedError(f"{where}: the weights of its clusters add up to nothing")
            return targets
        case other:
            raise RefusedError(f"{where}: a cluster chosen by {other or 'nothing'} is not supported")


def _target(message: Any, where: str) -> Target:
    return Target(
        cluster=message.name,
        weight=number(message, "weight", 0),
        request_headers=header_change(message, "request", where),
        response_headers=header_change(message, "response", where),
    )


def _mirror(message: Any, where: str) -> tuple[str, float]:
    if not message.HasField("runtime_fraction"):
        return message.cluster, 1.0
    share = message.runtime_fraction.default_value
    scale = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
    return message.cluster, share.numerator / scale[choice(share, "denominator", where)]


def _retry(message: Any, where: str) -> RetryPolicy:
    on = frozenset(word.strip() for word in message.retry_on.split(",") if word.strip())
    if unknown := on - RETRIED:
        raise RefusedError(f"{where}: retrying on {', '.join(sorted(unknown))} is not supported")
    for one in message.retry_host_predicate:
        # That a retry goes to an endpoint not tried before is what the sidecar does anyway.
        if kind_of(unpacked(one.typed_config, f"{where}: retry host predicate {one.name}")) != _ELSEWHERE:
            raise RefusedError(f"{where}: retry host predicate {one.name} is not supported")
    base, longest = 0.025, 0.25
    if message.HasField("retry_back_off"):
        base = seconds(message.retry_back_off, "base_interval", base)
        longest = seconds(message.retry_back_off, "max_interval", base * 10)
    return RetryPolicy(
        on=on,
        codes=frozenset(message.retriable_status_codes),
        attempts=number(message, "num_retries", 1),
        per_try_timeout=seconds(message, "per_try_timeout", 0.0),
        per_try_idle=seconds(message, "per_try_idle_timeout", 0.0),
        backoff=(base, longest),
    )
