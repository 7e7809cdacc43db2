"""The configuration in force as JSON, written in slices: it is walked as far as is asked for, and what was frozen stays as it was when the dump began.

In: nouns of `config`, a clock. Out: slices of one JSON document. Never a secret: keys are no part of what is shown, certificates and roots are public.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from dataplane.config import Secret, TlsContext
from meshapi.records import fields, is_record

BYTES: Final = 32 * 1024
"""Of a slice, and those of one value more."""
SECONDS: Final = 0.0005
"""After so long a slice ends; it is looked at the clock every few pieces."""
_LOOKS = 16
_HIDDEN = frozenset(("key",))


def slices(value: Any, clock: Callable[[], float]) -> Iterator[bytes]:
    """Write a value down."""
    held: list[str] = []
    size = 0
    until = clock() + SECONDS
    for index, piece in enumerate(_pieces(value, "\n")):
        held.append(piece)
        size += len(piece)
        if size >= BYTES or (index % _LOOKS == 0 and clock() >= until):
            yield "".join(held).encode()
            held.clear()
            size = 0
            until = clock() + SECONDS
    held.append("\n")
    yield "".join(held).encode()


def _pieces(value: Any, margin: str) -> Iterator[str]:
    """Write nouns as what JSON has; `margin` is what a line begins with."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if is_record(value):
        yield from _mapped(_fields(value), margin)
    elif isinstance(value, Mapping):
        yield from _mapped(((str(key), one) for key, one in value.items()), margin)
    elif isinstance(value, tuple | list | frozenset | set):
        yield from _listed(iter(value), margin)
    else:
        yield json.dumps(value)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    hide = _HIDDEN if isinstance(value, Secret | TlsContext) else frozenset[str]()
    for field in fields(value):
        if field.name not in hide:
            yield field.name, getattr(value, field.name)


def _mapped(items: Iterator[tuple[str, Any]], margin: str) -> Iterator[str]:
    inner = margin + "  "
    before = "{"
    for key, one in items:
        yield f"{before}{inner}{json.dumps(key)}: "
        yield from _pieces(one, inner)
        before = ","
    yield "{}" if before == "{" else margin + "}"


def _listed(items: Iterator[Any], margin: str) -> Iterator[str]:
    inner = margin + "  "
    before = "["
    for one in items:
        yield before + inner
        yield from _pieces(one, inner)
        before = ","
    yield "[]" if before == "[" else margin + "]"
