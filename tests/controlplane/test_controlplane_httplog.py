"""What is no HTTP costs a line, not a traceback."""

from __future__ import annotations

import asyncio
import logging

import pytest

from controlplane import admin
from controlplane.app import port_of


@pytest.mark.parametrize("data", [b"\x00\xff\x00\r\n\r\n", b"GET / HTTP/1.1\r\nhost : x\r\n\r\n"])
async def test_garbage_is_answered_and_logged_in_one_line(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The line says where, who and what."""
    caplog.set_level(logging.INFO)
    report = admin.Report(missing=list, samples=list, proxies=list, snapshot=dict)
    runner = await admin.serve(report, host="127.0.0.1", port=0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
        writer.write(data)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        await runner.cleanup()

    assert answer.startswith(b"HTTP/1.0 400")
    (record,) = caplog.records
    assert record.getMessage().startswith("admin: what 127.0.0.1 sent is no HTTP: ")
    assert (record.levelname, record.exc_info, record.getMessage().count("\n")) == ("WARNING", None, 0)
