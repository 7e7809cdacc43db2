"""What routes do to requests, read out of Gateway API filters.

In: a cursor on a rule's or a backend's filters. Out: the parts of a `Rule`. Refuses filters the mesh does not carry out with
UnsupportedError: a filter is never skipped, for what it guards would go unguarded (Gateway API, HTTPRouteFilter).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.ingest.reading import Cursor, UnreadableError
from controlplane.model.traffic import Backend, Headers, Mirror, PathChange, Redirect, Rewrite
from meshapi.xds import UNCHANGEABLE

_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+\Z")
"""The name of a header (RFC 9110, section 5.1)."""
_SPACED = re.compile(r"[\0-\x20\x7f]")
REDIRECT_CODES = (301, 302, 303, 307, 308)


class UnsupportedError(UnreadableError):
    """Something valid that this mesh does not carry out; the message names it."""


@dataclass(slots=True, kw_only=True)
class Filters:
    """The filters of one rule or backend, each kind at most once but mirrors."""

    request_headers: Headers | None = None
    response_headers: Headers | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()


def read_filters(raw: list[Cursor], namespace: str) -> Filters:
    """Read a list of filters; raises UnsupportedError or UnreadableError."""
    found = Filters()
    for one in raw:
        match one.text("type"):
            case "RequestHeaderModifier":
                found.request_headers = _headers(one.at("requestHeaderModifier"))
            case "ResponseHeaderModifier":
                found.response_headers = _headers(one.at("responseHeaderModifier"))
            case "RequestRedirect":
                found.redirect = _redirect(one.at("requestRedirect"))
            case "URLRewrite":
                rewrite = one.at("urlRewrite")
                found.rewrite = Rewrite(hostname=_in_target(rewrite, "hostname"), path=_path(rewrite.at("path")))
            case "RequestMirror":
                found.mirrors += (_mirror(one.at("requestMirror"), namespace),)
            case other:
                raise UnsupportedError(f"the filter {other or 'without a type'} at {one.path} is not supported")
    if found.redirect and found.rewrite:
        raise UnreadableError("a rule cannot have both RequestRedirect and URLRewrite")
    return found


def read_backend(raw: Cursor, namespace: str) -> Backend:
    """Read a reference to a backend, with its weight and its own filters."""
    filters = read_filters(raw.items("filters"), namespace)
    if filters.redirect or filters.rewrite or filters.mirrors:
        raise UnsupportedError(f"only header modifiers are supported as filters of a single backend, at {raw.path}")
    weight = raw.number("weight", 1)
    if not 0 <= weight <= 1_000_000:
        raise UnreadableError(f"{raw.path}.weight is {weight}, weights go from 0 to 1000000")
    return Backend(
        group=raw.text("group"),
        kind=raw.text("kind", "Service"),
        namespace=raw.text("namespace") or namespace,
        name=raw.text("name"),
        port=raw.port("port"),
        weight=weight,
        request_headers=filters.request_headers,
        response_headers=filters.response_headers,
    )


def _headers(raw: Cursor) -> Headers:
    """Read header changes; of names that differ in case only the first counts."""
    for name in raw.words("remove"):
        _check_name(name)
    return Headers(set=_pairs(raw.items("set")), add=_pairs(raw.items("add")), remove=raw.words("remove"))


def _check_name(name: str) -> None:
    if name.startswith(":") or name.lower() in UNCHANGEABLE:
        why = "URLRewrite changes the host" if name.lower() == "host" else "each proxy writes its own"
        raise UnsupportedError(f"header {name!r} cannot be changed by a header modifier; {why}")
    if not _TOKEN.match(name):
        raise UnreadableError(f"{name!r} is no name of a header")


def _pairs(raw: list[Cursor]) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, tuple[str, str]] = {}
    for one in raw:
        name, value = one.text("name"), one.text("value")
        _check_name(name)
        if any(c in "\r\n\0" for c in value):
            raise UnreadableError(f"{one.path}.value {value!r} holds a line break or a zero byte, which no header can")
        pairs.setdefault(name.lower(), (name, value))
    return tuple(pairs.values())


def _in_target(raw: Cursor, key: str) -> str:
    """Read text that becomes part of a request line, an authority or a `location`: a space or a line break would end it."""
    value = raw.text(key)
    if _SPACED.search(value):
        raise UnreadableError(f"{raw.path}.{key} {value!r} has a space or a control character in it")
    return value


def _path(raw: Cursor) -> PathChange | None:
    if not raw:
        return None
    match raw.text("type"):
        case "ReplaceFullPath":
            return PathChange(value=_in_target(raw, "replaceFullPath"), whole=True)
        case "ReplacePrefixMatch":
            return PathChange(value=_in_target(raw, "replacePrefixMatch"), whole=False)
        case other:
            raise UnsupportedError(
                f"{raw.path}.type {other!r} is not supported; use ReplaceFullPath or ReplacePrefixMatch"
            )


def _redirect(raw: Cursor) -> Redirect:
    status = raw.number("statusCode", 302)
    if status not in REDIRECT_CODES:
        raise UnsupportedError(f"{raw.path}.statusCode {status} is not supported; use one of {REDIRECT_CODES}")
    scheme = raw.text("scheme")
    if scheme not in {"", "http", "https"}:
        raise UnsupportedError(f"{raw.path}.scheme {scheme!r} is not supported; use http or https")
    return Redirect(
        scheme=scheme,
        hostname=_in_target(raw, "hostname"),
        port=raw.port("port"),
        path=_path(raw.at("path")),
        status=status,
    )


def _mirror(raw: Cursor, namespace: str) -> Mirror:
    fraction = 1.0
    if raw.at("percent"):
        fraction = raw.number("percent") / 100
    elif raw.at("fraction"):
        parts = raw.at("fraction")
        fraction = parts.number("numerator") / max(parts.number("denominator", 100), 1)
    return Mirror(backend=read_backend(raw.at("backendRef"), namespace), fraction=min(max(fraction, 0.0), 1.0))
