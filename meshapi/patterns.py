"""Regular expressions in linear time: RE2's (PyPI `google-re2`), as Envoy takes them, for both planes.

In: a pattern's text; bytes to match. Out: verdicts on the whole of them, and rewritten bytes. Refuses, with PatternError, what RE2 refuses: look-around,
back references, repetitions beyond 1,000, and programs that want more than `MEMORY`. The library is loaded with the first pattern: a
sidecar without one does without its 4 MB. The two that the control plane writes of itself (`WHOLE_PATH`, `ANY_SERVICE`) are done without it.
"""

from __future__ import annotations

import functools
import re
from typing import Any

MEMORY = 1 << 20
"""Bytes a pattern and what it learns by matching may hold; RE2 goes on in less memory, more slowly, and never more than linearly."""
WHOLE_PATH = "^/.*$"
"""What is replaced where a path is rewritten as a whole."""
ANY_SERVICE = "/[^/]+/"
"""What begins the path of a gRPC call to a method of whatever service; the method's name follows."""
_KEPT = 256
_LITERAL = re.compile(r"\^?((?:[^\\.+*?()|\[\]{}^$])*)([*?{])?")
_CALL = re.compile(re.escape(ANY_SERVICE) + r"(\w+)", re.ASCII)
_PIECE = re.compile(rb"\\(.?)", re.DOTALL)


class PatternError(ValueError):
    """Not a pattern, or not a replacement for it; the message says why."""


class Pattern:
    """One regular expression."""

    __slots__ = ("_engine", "groups")

    def __init__(self, text: str) -> None:
        import re2  # noqa: PLC0415 - loaded with the first pattern

        options = re2.Options()
        options.log_errors = False
        options.max_mem = MEMORY
        try:
            self._engine: Any = re2.compile(text.encode(), options)
        except re2.error as error:
            why = error.args[0].decode("utf-8", "replace")
            raise PatternError(f"{text!r} is no regular expression as RE2 reads them: {why}") from None
        self.groups: int = self._engine.groups

    def matches(self, value: bytes) -> bool:
        """Whether all of a value is what the pattern says; bytes that are no UTF-8 are a character each that is not known."""
        if not value.isascii():
            value = value.decode("utf-8", "replace").encode()
        return self._engine.fullmatch(value) is not None

    def replace(self, value: bytes, pieces: list[bytes | int]) -> bytes:
        """Put text and groups (by number) in the place of each match."""
        if not value.isascii():
            value = value.decode("utf-8", "replace").encode()
        made: bytes = self._engine.sub(
            lambda found: b"".join(one if isinstance(one, bytes) else found.group(one) or b"" for one in pieces), value
        )
        return made


class _Call(Pattern):
    """A method of any service: two segments, of which the last is known."""

    __slots__ = ("_last",)

    def __init__(self, method: str) -> None:
        self._last = b"/" + method.encode()
        self.groups = 0

    def matches(self, value: bytes) -> bool:
        return (
            value[:1] == b"/" and value.endswith(self._last) and value.find(b"/", 1) == len(value) - len(self._last) > 1
        )


@functools.lru_cache(_KEPT)
def pattern(text: str) -> Pattern:
    """Compile a pattern, or take the one compiled before; raises PatternError."""
    call = _CALL.fullmatch(text)
    return Pattern(text) if call is None else _Call(call[1])


class Substitution:
    r"""A pattern with what takes the place of its matches, in RE2's form: `\1` is a group, `\0` the whole match, `\\` a backslash."""

    __slots__ = ("_pattern", "_pieces", "_whole")

    def __init__(self, text: str, replacement: str) -> None:
        self._whole = replacement.encode() if text == WHOLE_PATH and "\\" not in replacement else None
        self._pieces: list[bytes | int] = []
        if self._whole is not None:
            return
        self._pattern = pattern(text)
        raw, at = replacement.encode(), 0
        for found in _PIECE.finditer(raw):
            self._pieces.append(raw[at : found.start()])
            at = found.end()
            if found[1] == b"\\":
                self._pieces.append(b"\\")
            elif found[1].isdigit() and int(found[1]) <= self._pattern.groups:
                self._pieces.append(int(found[1]))
            else:
                raise PatternError(
                    f"{replacement!r} is no replacement for {text!r}: it has groups up to {self._pattern.groups}, and \\{found[1].decode()} is none"
                )
        self._pieces.append(raw[at:])

    def apply(self, value: bytes) -> bytes:
        """Replace every match in a value."""
        if self._whole is not None:
            return self._whole if value[:1] == b"/" and b"\n" not in value else value
        return self._pattern.replace(value, self._pieces)


def beginning(text: str) -> str:
    """Tell what every match of a pattern begins with, whoever can read the rest of it; empty where that is not plain to see."""
    found = _LITERAL.match(text)
    if found is None or "|" in text:
        return ""
    return found[1][:-1] if found[2] else found[1]


def covering(text: str) -> str:
    """Write a pattern of whatever one that cannot be read may have matched, and more where that is not plain to see."""
    return re.escape(beginning(text)) + ".*"
