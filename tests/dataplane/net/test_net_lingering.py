"""A client that is still sending when we close, as one that writes its whole upload before it reads."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.net import lingering
from tests.support.net import Heard, Net, net

ANSWER = b"413"


async def closing(n: Net) -> tuple[Heard, asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that was answered and closed by us, and its client."""
    port = n.serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = await n.first()
    assert heard.stream
    heard.stream.write(ANSWER)
    heard.stream.close()
    await heard.hear("lost closed")
    return heard, reader, writer


async def test_client_that_sends_past_our_close_still_reads_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reset destroys it while the upload goes on, however much longer than the silence allowed that takes."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.05)
    async with net() as n:
        _, reader, writer = await closing(n)
        for _ in range(40):
            writer.write(b"u" * 100_000)
            await writer.drain()
            await asyncio.sleep(0.01)

        assert await reader.read(100) == ANSWER
        assert await reader.read(100) == b""
        assert n.poller.connections == 1
        writer.close()
        await writer.wait_closed()
        await n.settle(lambda: n.poller.connections == 0)


async def sending(writer: asyncio.StreamWriter) -> None:
    """Never stop."""
    while True:
        writer.write(b"u" * 100_000)
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("name", "value"), [("LINGER_BYTES", 1_000_000), ("LINGER_MOST", 0.1)])
async def test_client_that_never_stops_sending_is_cut(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    """Bytes and time are bounded; silence is, too (test_peer_that_never_closes_is_let_go_after_a_while)."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.02)
    monkeypatch.setattr(lingering, name, value)
    async with net() as n:
        _, _, writer = await closing(n)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(sending(writer), 5)
        writer.close()
