"""These tests run on the sidecar's own loop and, to see that any loop will do, on uvloop; those of TLS share an authority."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from dataplane.net.loop import TrafficLoop
from tests.support.certs import Authority


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"traffic": TrafficLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom both ends trust."""
    return Authority()
