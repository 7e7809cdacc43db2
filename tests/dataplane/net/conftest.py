"""These tests run on the sidecar's own loop and, to see that any loop will do, on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

from dataplane.net.loop import TrafficLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"traffic": TrafficLoop, "uvloop": uvloop.new_event_loop}
