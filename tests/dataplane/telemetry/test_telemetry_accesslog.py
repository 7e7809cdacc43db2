"""Lines that never make traffic wait."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dataplane.telemetry import accesslog
from dataplane.telemetry.accesslog import AccessLog
from tests.dataplane.proxy.rig import Rig

GET = b"GET /a%22b?q HTTP/1.1\r\nHost: web\r\nx-request-id: 7\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@pytest.fixture
def logged() -> Any:
    """Make a rig whose requests are logged in a form, and what was written."""
    made: list[Rig] = []

    def make(form: str, write: Callable[[bytes], int], **more: Any) -> tuple[Rig, AccessLog]:
        rig = Rig()
        made.append(rig)
        log = rig.runtime.access_log = AccessLog(form, write, rig.runtime.timers, **more)
        client = rig.client().send(GET)
        rig.servers[0].send(OK)
        client.read()
        return rig, log

    yield make
    for rig in made:
        rig.close()


def test_json_line_has_the_facts(logged: Any) -> None:
    """One object a request, written a moment later."""
    written: list[bytes] = []
    rig, _ = logged("json", lambda data: (written.append(data), len(data))[1])
    assert written == []
    rig.run(accesslog.FLUSH_SECONDS + 0.05)
    facts = json.loads(b"".join(written))

    assert (facts["method"], facts["path"], facts["response_code"], facts["bytes_sent"]) == ("GET", "/a%22b?q", 200, 2)
    assert (facts["request_id"], facts["upstream_cluster"], facts["response_flags"]) == ("7", "c", "-")


def test_text_line_quotes_what_peers_sent(logged: Any) -> None:
    """Nobody can forge a line."""
    written: list[bytes] = []
    _, log = logged("text", lambda data: (written.append(data), len(data))[1])
    log.flush()

    assert b'] "GET /a%22b?q HTTP/1.1" "outbound" 200 "-"' in written[0]
    assert written[0].count(b"\n") == 1


def test_reader_that_is_slow_gets_the_rest_later(logged: Any) -> None:
    """A partial write is continued, a full pipe is tried again."""
    got = b""
    takes = [0, 5, 10_000]

    def write(data: bytes) -> int:
        nonlocal got
        taken = takes.pop(0)
        got += data[:taken]
        return min(taken, len(data))

    _, log = logged("json", write)
    for _ in range(3):
        log.flush()

    assert json.loads(got)["response_code"] == 200
    assert log.dropped == 0


def test_sampled_log_takes_its_share_and_every_failure(logged: Any) -> None:
    """What went wrong is always of interest."""
    written: list[bytes] = []
    rig, log = logged("json", lambda data: (written.append(data), len(data))[1], share=0.0)
    rig.dialer.refused |= {"10.1.0.1", "10.1.0.2"}
    for client in range(2):
        rig.client().send(GET)
        del client
    log.flush()

    assert all(json.loads(line)["response_code"] == 503 for line in b"".join(written).splitlines())


def test_lines_beyond_the_bound_are_dropped_and_counted(logged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log nobody reads costs no memory."""
    monkeypatch.setattr(accesslog, "MOST_BYTES", 1)
    rig, log = logged("json", len)
    rig.client().send(GET)
    rig.servers[-1].send(OK)

    assert log.dropped == 1
