"""Route configurations: the rows of a snapshot in Envoy's words.

In: the rows of one port, in final order. Out: a RouteConfiguration with one virtual host for every authority, for routing goes by the
original destination. Timeouts are always written: Envoy's default of 15 s is what nobody wants here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.compiler.snapshot import Answer, Forward, PortRoutes, RouteRow, Target
from controlplane.model.traffic import Headers, Match, PathChange, PathKind, Redirect, Retry, Text
from controlplane.resources import levels
from controlplane.resources.envoy import facts, make, seconds
from meshapi import patterns, xds

_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_MILLION = 1_000_000


def plain_routes(name: str, cluster: str) -> Any:
    """Everything to one cluster: what holds with no route attached."""
    return _configuration(name, [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": seconds(0)}}])


def no_routes(name: str) -> Any:
    """Nothing matches."""
    return _configuration(name, [])


def routes(name: str, cluster: str, attached: PortRoutes | None, level: int = xds.CONTRACT) -> Any:
    """Write the routes of a port for a reader of a level of the contract; `cluster` is the Service's own."""
    if attached is None or attached.kind not in {"HTTPRoute", "GRPCRoute"}:
        return plain_routes(name, cluster)
    rows = (levels.written_to(level, row) for row in attached.rows)
    return _configuration(name, [made for row in rows for made in _row(row, level)])


def _configuration(name: str, rows: list[dict[str, Any]]) -> Any:
    return make(
        "envoy.config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=[{"name": "*", "domains": ["*"], "routes": rows}],
    )


def _row(row: RouteRow, level: int) -> Iterator[dict[str, Any]]:
    """Write a row. Where a matched prefix is replaced by nothing, it is written as two: `/foo` alone, and what is below it."""
    shared = {
        "name": f"{row.route}#{row.rule}",
        "metadata": facts(route=str(row.route), rule=row.rule),
        **_header_changes(row.request_headers, row.response_headers),
    }
    change = _prefix_change(row)
    prefix = row.match.path
    if change is None or prefix == "/" or change.value.strip("/"):
        replacement = None
        if change is not None:
            bare = change.value.rstrip("/")
            replacement = f"{bare}/" if prefix == "/" else bare
        yield {**shared, "match": _match(row.match), **_action(row, level, replacement)}
        return
    yield {**shared, "match": {**_match(row.match, bare=True), "path": prefix}, **_action(row, level, "/")}
    yield {**shared, "match": {**_match(row.match, bare=True), "prefix": f"{prefix}/"}, **_action(row, level, "/")}


def _prefix_change(row: RouteRow) -> PathChange | None:
    action = row.action
    path = action.path if isinstance(action, Redirect) else None
    if isinstance(action, Forward) and action.rewrite:
        path = action.rewrite.path
    return path if path and not path.whole else None


def _match(match: Match, *, bare: bool = False) -> dict[str, Any]:
    """Write a match; `bare` leaves the path to the caller."""
    headers = [(":method", Text(value=match.method))] if match.method else []
    headers += match.headers
    return {
        **({} if bare else _path(match)),
        "headers": [{"name": name, "string_match": _text(value)} for name, value in headers],
        "query_parameters": [{"name": name, "string_match": _text(value)} for name, value in match.query],
    }


def _path(match: Match) -> dict[str, Any]:
    if match.path_kind is PathKind.EXACT:
        return {"path": match.path}
    if match.path_kind is PathKind.REGEX:
        return {"safe_regex": {"regex": match.path}}
    return {"prefix": "/"} if match.path == "/" else {"path_separated_prefix": match.path}


def _text(value: Text) -> dict[str, Any]:
    return {"safe_regex": {"regex": value.value}} if value.regex else {"exact": value.value}


def _action(row: RouteRow, level: int, prefix: str | None) -> dict[str, Any]:
    match row.action:
        case Answer() as answer:
            return {"direct_response": _answer(answer, f"Rule {row.rule} of {row.route}", level)}
        case Redirect() as redirect:
            return {"redirect": _redirect(redirect, prefix)}
        case Forward() as forward:
            return {"route": _forward(forward, prefix)}


def _answer(answer: Answer, rule: str, level: int) -> dict[str, Any]:
    if level < levels.SAYS_WHY:
        return {"status": answer.status}
    return {"status": answer.status, "body": {"inline_string": f"{rule} {answer.why}.\n"}}


def _redirect(redirect: Redirect, prefix: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"response_code": _CODES[redirect.status]}
    port = redirect.port or {"https": 443, "http": 80}.get(redirect.scheme, 0)
    if redirect.scheme:
        made["scheme_redirect"] = redirect.scheme
    if redirect.hostname:
        made["host_redirect"] = redirect.hostname
    if port:
        made["port_redirect"] = port
    if prefix is not None:
        made["prefix_rewrite"] = prefix
    elif redirect.path:
        made["path_redirect"] = redirect.path.value
    return made


def _forward(forward: Forward, prefix: str | None) -> dict[str, Any]:
    status = "SERVICE_UNAVAILABLE" if forward.unresolved_status == 503 else "INTERNAL_SERVER_ERROR"
    timeout = forward.timeout
    if not forward.retry and forward.try_timeout:
        # With one try, its limit and the request's are the same thing.
        timeout = min(timeout or forward.try_timeout, forward.try_timeout)
    made: dict[str, Any] = {"cluster_not_found_response_code": status, "timeout": seconds(timeout)}
    only = forward.targets[0]
    if len(forward.targets) == 1 and not only.request_headers and not only.response_headers:
        made["cluster"] = only.cluster
    else:
        made["weighted_clusters"] = {"clusters": [_target(target) for target in forward.targets]}
    if forward.retry:
        made["retry_policy"] = _retry(forward.retry, forward.try_timeout)
    if forward.rewrite and forward.rewrite.hostname:
        made["host_rewrite_literal"] = forward.rewrite.hostname
    if prefix is not None:
        made["prefix_rewrite"] = prefix
    elif forward.rewrite and forward.rewrite.path:
        literal = forward.rewrite.path.value.replace("\\", "\\\\")
        made["regex_rewrite"] = {"pattern": {"regex": patterns.WHOLE_PATH}, "substitution": literal}
    if forward.mirrors:
        made["request_mirror_policies"] = [_mirror(name, fraction) for name, fraction in forward.mirrors]
    return made


def _target(target: Target) -> dict[str, Any]:
    return {
        "name": target.cluster,
        "weight": {"value": target.weight},
        **_header_changes(target.request_headers, target.response_headers),
    }


def _mirror(cluster: str, fraction: float) -> dict[str, Any]:
    share = {"numerator": round(fraction * _MILLION), "denominator": "MILLION"}
    return {"cluster": cluster, "runtime_fraction": {"default_value": share}}


def _retry(retry: Retry, try_timeout: float) -> dict[str, Any]:
    on = "connect-failure,refused-stream,reset"
    made: dict[str, Any] = {"num_retries": {"value": retry.attempts}}
    if retry.codes:
        on += ",retriable-status-codes"
        made["retriable_status_codes"] = list(retry.codes)
    if try_timeout:
        made["per_try_timeout"] = seconds(try_timeout)
    if retry.backoff:
        made["retry_back_off"] = {
            "base_interval": seconds(retry.backoff),
            "max_interval": seconds(retry.backoff * 10),
        }
    return {**made, "retry_on": on}


def _header_changes(request: Headers | None, response: Headers | None) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for side, change in (("request", request), ("response", response)):
        if change:
            options = [_option(pair, "OVERWRITE_IF_EXISTS_OR_ADD") for pair in change.set]
            options += [_option(pair, "APPEND_IF_EXISTS_OR_ADD") for pair in change.add]
            made[f"{side}_headers_to_add"] = options
            made[f"{side}_headers_to_remove"] = list(change.remove)
    return made


def _option(pair: tuple[str, str], action: str) -> dict[str, Any]:
    # A percent sign begins a command in Envoy's header values; doubled it is itself.
    return {
        "header": {"key": pair[0], "value": pair[1].replace("%", "%%")},
        "append_action": action,
        "keep_empty_value": True,
    }
