"""What is no HTTP costs a line, not a traceback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest
from aiohttp import web

from controlplane import admin
from controlplane.app import port_of
from controlplane.xds.asking import NotAnsweredError, Told


def _nobody(namespace: str, pod: str, asked: str) -> AbstractAsyncContextManager[Told]:
    raise NotAnsweredError(421, f"{pod} of {namespace} is not here to be asked for {asked}")


@pytest.mark.parametrize("data", [b"\x00\xff\x00\r\n\r\n", b"GET / HTTP/1.1\r\nhost : x\r\n\r\n"])
async def test_garbage_is_answered_and_logged_in_one_line(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The line says where, who and what."""
    caplog.set_level(logging.INFO)
    report = admin.Report(missing=list, samples=list, proxies=list, snapshot=dict, ask=_nobody)
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


async def test_who_goes_before_its_answer_is_there_costs_no_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was interrupted, or lost patience with a replica that stood still."""

    @asynccontextmanager
    async def told(namespace: str, pod: str, asked: str) -> AsyncIterator[Told]:
        yield Told(status=200, kind="text/plain", body=b"late")

    async def gone(response: web.StreamResponse, request: web.Request) -> None:
        raise ConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.StreamResponse, "prepare", gone)
    report = admin.Report(missing=list, samples=list, proxies=list, snapshot=dict, ask=told)
    runner = await admin.serve(report, host="127.0.0.1", port=0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
        writer.write(b"GET /sidecars/shop/web/config HTTP/1.1\r\nhost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    finally:
        await runner.cleanup()

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
