"""What a connection manager does to a path before anything looks at it, as it will be forwarded.

In: `config.PathRule`; per request its path. Out: the path, or a verdict: refuse it, or send the client to the path. Routes and rules compare a form
of their own of whatever comes out (`paths.normal_path`). Paths that do not begin with a slash (`*`) are left alone.
"""

from __future__ import annotations

import re

from dataplane.config import PathRule

GO_ON = 0
REJECT = 1
REDIRECT = 2

_ESCAPED = re.compile(rb"%2f|%5c", re.IGNORECASE)
_UNRESERVED = re.compile(rb"%(2d|2e|5f|7e|3[0-9]|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])", re.IGNORECASE)
"""Escapes that say the same as the character itself (RFC 3986, section 2.3)."""
_SLASHES = re.compile(rb"/{2,}")


def shaped(rule: PathRule, target: bytes) -> tuple[int, bytes]:
    """Say what becomes of a request target, in Envoy's order: escaped slashes, then dot segments, then double slashes."""
    path, mark, rest = _split(target)
    verdict = GO_ON
    if not path.startswith(b"/"):
        return verdict, target
    if rule.escaped_slashes != "keep" and _ESCAPED.search(path):
        if rule.escaped_slashes == "reject":
            return REJECT, target
        path = _ESCAPED.sub(lambda found: b"/" if found[0][1] == 50 else b"\\", path)  # %2F or %5C
        verdict = REDIRECT if rule.escaped_slashes == "redirect" else GO_ON
    if rule.normalize:
        path = _resolved(path)
    if rule.merge_slashes:
        path = _SLASHES.sub(b"/", path)
    return verdict, path + mark + rest


def _split(target: bytes) -> tuple[bytes, bytes, bytes]:
    at = min((found for found in (target.find(b"?"), target.find(b"#")) if found >= 0), default=len(target))
    return target[:at], target[at : at + 1], target[at + 1 :]


def _resolved(path: bytes) -> bytes:
    """Undo needless escapes and remove dot segments (RFC 3986, section 5.2.4), also with parameters; backslashes are slashes."""
    kept: list[bytes] = []
    path = _UNRESERVED.sub(lambda found: bytes((int(found[1], 16),)), path)
    segments = path.replace(b"\\", b"/").split(b"/")[1:]
    for index, segment in enumerate(segments):
        dots = segment.partition(b";")[0]
        if dots == b".." and kept:
            kept.pop()
        if dots not in {b".", b".."}:
            kept.append(segment)
        elif index == len(segments) - 1:
            kept.append(b"")
    return b"/" + b"/".join(kept)
