"""String matches, header and query values, and the form of a path that routes are matched against.

In: `config.StringMatch` nouns, raw request parts. Out: verdicts. Refuses nothing: decoding has checked the nouns
(a regular expression that does not compile was refused there).
"""

from __future__ import annotations

import re

from dataplane.config import StringMatch
from dataplane.protocol.events import Headers
from meshapi.patterns import Pattern, pattern

_PRESENT = 0
_EXACT = 1
_PREFIX = 2
_SUFFIX = 3
_CONTAINS = 4
_REGEX = 5

_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASH = re.compile(rb"%2F|%5C|\\", re.IGNORECASE)
_SEMICOLON = re.compile(rb"%3B", re.IGNORECASE)
_PARAMETERS = re.compile(rb";[^/]*")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Matcher:
    """One compiled `StringMatch`."""

    __slots__ = ("_fold", "_invert", "_op", "_regex", "_value")

    def __init__(self, match: StringMatch) -> None:
        self._invert = match.invert
        self._fold = match.ignore_case
        self._regex: Pattern | None = None
        self._op = _PRESENT
        value = ""
        for op, text in (
            (_EXACT, match.exact),
            (_PREFIX, match.prefix),
            (_SUFFIX, match.suffix),
            (_CONTAINS, match.contains),
            (_REGEX, match.regex),
        ):
            if text is not None:
                self._op, value = op, text
        if self._op == _REGEX:
            self._regex = pattern(value)
        raw = value.encode()
        self._value = raw.lower() if match.ignore_case else raw

    def test(self, value: bytes | None) -> bool:
        """Judge a value; None is one that is not there: it fails, inverted or not, unless presence is asked for."""
        if value is None:
            return self._invert and self._op == _PRESENT
        return self._holds(value) != self._invert

    def _holds(self, value: bytes) -> bool:
        op = self._op
        if op == _PRESENT:
            return True
        if op == _REGEX:
            return self._regex is not None and self._regex.matches(value)
        if self._fold:
            value = value.lower()
        if op == _EXACT:
            return value == self._value
        if op == _PREFIX:
            return value.startswith(self._value)
        if op == _SUFFIX:
            return value.endswith(self._value)
        return self._value in value


def joined(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of a field, its lines joined by commas (RFC 9110, section 5.2), or None."""
    found: bytes | None = None
    for field in headers:
        if field[0] == name:
            found = field[1] if found is None else found + b"," + field[1]
    return found


def query_value(path: bytes, name: bytes) -> bytes | None:
    """Return the first value of a query parameter, percent-decoded, or None."""
    query = path.partition(b"?")[2].partition(b"#")[0]
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name or decode(key) == name:
            return decode(value)
    return None


def decode(value: bytes) -> bytes:
    """Undo percent encoding."""
    return _PERCENT.sub(lambda m: bytes((int(m[1], 16),)), value) if b"%" in value else value


def without_query(path: bytes) -> bytes:
    """Cut the query and fragment off."""
    at = path.find(b"?")
    if at >= 0:
        path = path[:at]
    at = path.find(b"#")
    return path[:at] if at >= 0 else path


def normal_path(path: bytes) -> bytes:
    """Return the path as routes see it: no query, unreserved bytes decoded, dot segments resolved, slashes single and forward.

    What is forwarded stays as it came. `/a/%2e%2e/admin` and `/a//../admin` must not slip past a rule for `/admin`.
    `%2F` stays what it is, as in Envoy: a part of a segment.
    """
    path = without_query(path)
    return _resolve(_PERCENT.sub(_decode_unreserved, path)) if _odd(path) else path


def other_readings(path: bytes) -> list[bytes]:
    """Return what else than `normal_path` a server may take a path for, which gets it as it came.

    Some resolve nothing and read `/admin/../public` as something of `/admin`; some decode slashes, some know path parameters
    (`/admin;x`, RFC 3986, section 3.3) and take them off, before decoding or after. A rule has to hold for all of them, or
    it can be walked around.
    """
    bare = without_query(path)
    if not _odd(bare):
        return []
    decoded: bytes = _PERCENT.sub(_decode_unreserved, bare)
    bared: bytes = _PARAMETERS.sub(b"", decoded)
    slashed: bytes = _SLASH.sub(b"/", decoded)
    late: bytes = _PARAMETERS.sub(b"", _SEMICOLON.sub(b";", slashed))
    found = {decoded, bared, slashed, late, _SLASH.sub(b"/", bared)}
    found |= {_resolve(one) for one in found}
    found.discard(_resolve(decoded))
    return sorted(found)


def _odd(path: bytes) -> bool:
    return b"%" in path or b"//" in path or b"/." in path or b";" in path or b"\\" in path


def odd(path: bytes) -> bool:
    """Tell whether servers may take a path for different things."""
    return _odd(path)


def _resolve(path: bytes) -> bytes:
    path = path.replace(b"\\", b"/")
    if b"//" not in path and b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment and segment != b".":
            kept.append(segment)
    trailing = segments[-1] in {b"", b".", b".."} and kept
    return b"/" + b"/".join(kept) + (b"/" if trailing else b"")


def _decode_unreserved(found: re.Match[bytes]) -> bytes:
    byte = int(found[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else found[0].upper()
