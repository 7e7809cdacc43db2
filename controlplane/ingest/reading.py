"""A cursor over raw YAML data that knows where it is, so a wrong shape is refused with its path and in a sentence.

In: whatever the API server handed out. Out: text, numbers, lists. Refuses, with UnreadableError, values of the wrong type;
absent ones have defaults.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from controlplane.model.ports import NO_PORTS, Ports, ports

_DURATION = re.compile(r"(?:\d{1,5}(?:h|m|s|ms)){1,4}\Z")
_PART = re.compile(r"(\d+)(ms|h|m|s)")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_KEPT = 65_536
"""Addresses whose form is remembered: the same ones come with each change of their slice."""
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class UnreadableError(ValueError):
    """A value of the wrong shape; the message says where and what would be right."""


class Cursor:
    """One value inside an object, and the path that led there."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "") -> None:
        self.value = value
        self.path = path

    def at(self, key: str) -> Cursor:
        """Step into a field; an absent one is an empty cursor. Refuses to step into what is no mapping."""
        if self.value is None:
            return Cursor(None, f"{self.path}.{key}")
        if not isinstance(self.value, Mapping):
            raise UnreadableError(f"{self.path or 'the object'} must be a mapping")
        return Cursor(self.value.get(key), f"{self.path}.{key}" if self.path else key)

    def __bool__(self) -> bool:
        return self.value is not None

    def items(self, key: str) -> list[Cursor]:
        """Step into each element of a list field."""
        found = self.at(key)
        if found.value is None:
            return []
        if not isinstance(found.value, list | tuple):
            raise UnreadableError(f"{found.path} must be a list")
        return [Cursor(value, f"{found.path}[{index}]") for index, value in enumerate(found.value)]

    def text(self, key: str, default: str = "") -> str:
        """Read a text field."""
        found = self.at(key)
        if found.value is None:
            return default
        if not _is_text(found.value):
            raise UnreadableError(f"{found.path} must be text")
        return str(found.value)

    def number(self, key: str, default: int = 0) -> int:
        """Read a whole-number field."""
        found = self.at(key)
        if found.value is None:
            return default
        if isinstance(found.value, bool) or not isinstance(found.value, int):
            raise UnreadableError(f"{found.path} must be a whole number")
        return found.value

    def port(self, key: str) -> int:
        """Read a port field; 0 when absent."""
        return a_port(self.number(key), f"{self.path}.{key}")

    def flag(self, key: str, *, default: bool) -> bool:
        """Read a boolean field."""
        found = self.at(key)
        if found.value is None:
            return default
        if not isinstance(found.value, bool):
            raise UnreadableError(f"{found.path} must be true or false")
        return found.value

    def texts(self, key: str) -> dict[str, str]:
        """Read a mapping of text to text (labels, annotations); entries of other shapes are left out."""
        found = self.at(key).value
        if not isinstance(found, Mapping):
            return {}
        return {name: value for name, value in found.items() if _is_text(name) and _is_text(value)}

    def words(self, key: str) -> tuple[str, ...]:
        """Read a list of text."""
        found = self.items(key)
        for one in found:
            if not _is_text(one.value):
                raise UnreadableError(f"{one.path} must be text")
        return tuple(one.value for one in found)

    def seconds(self, key: str, default: float = 0.0) -> float:
        """Read a duration in Gateway API form (GEP-2257): `1h`, `500ms`, `1m30s`."""
        raw = self.text(key)
        if not raw:
            return default
        if not _DURATION.match(raw):
            raise UnreadableError(f"{self.path}.{key} is {raw!r}, a duration looks like 500ms, 10s or 1m30s")
        return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(raw))


def a_port(number: int, path: str) -> int:
    """Check a port's number, which was read at a path; 0 stands for none."""
    if number and not 0 < number < 65536:
        raise UnreadableError(f"{path} is {number}, ports go from 1 to 65535")
    return number


def _is_text(value: object) -> bool:
    """Whether a value is text that can be written down: JSON can name half a character (a lone surrogate), UTF-8 cannot."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


@functools.lru_cache(_KEPT)
def canonical_ip(raw: str) -> str:
    """Write an address the one way names use it; empty when it is none."""
    try:
        return str(ipaddress.ip_address(raw))
    except ValueError:
        return ""


def timestamp(raw: Any) -> str:
    """Read a time as text that sorts by age; YAML parsers may have made a datetime of it."""
    if isinstance(raw, dt.datetime):
        return raw.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return raw if isinstance(raw, str) else ""


def port_list(raw: str) -> Ports:
    """Read an annotation like `25,3306,8000-8010`; what is no port is left out, for admission has refused it already."""
    if not raw:
        return NO_PORTS
    parts = (part.strip().partition("-") for part in raw.split(","))
    return ports(
        (int(low), int(high or low)) for low, _, high in parts if _PORT.match(low) and (not high or _PORT.match(high))
    )
