"""A whole scrape in one piece, for tests that read it."""

from __future__ import annotations

import time

from dataplane.telemetry import told
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.scrape import Pack, Scrape
from dataplane.telemetry.view import View, rows_of


def slices(view: View, pack: Pack | None = None) -> list[bytes]:
    """Take all slices of a scrape."""
    return list(Scrape(view, time.monotonic, pack))


def text(view: View) -> str:
    """Write everything out as text."""
    return b"".join(slices(view)).decode()


def expose(metrics: Metrics) -> str:
    """Write out what one worker counted."""
    return text(told.together(metrics, rows_of(metrics), []))
