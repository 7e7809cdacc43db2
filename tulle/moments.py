"""Moments and lengths of time as people read them.

In: RFC 3339 or seconds since 1970. Out: datetimes, and lengths in their largest unit, as kubectl writes them.
"""

from __future__ import annotations

import datetime as dt

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def when(value: object) -> dt.datetime | None:
    """Read a moment; None when it is none."""
    try:
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        moment = dt.datetime.fromisoformat(str(value))
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def span(length: dt.timedelta) -> str:
    """Write a length of time; below two of a unit the next smaller one is used."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
