"""String matches, and the values of headers and query parameters.

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
