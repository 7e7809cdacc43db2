"""What a stream promises its receiver, on real sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from contextlib import suppress

import pytest

from dataplane.net import lingering
from dataplane.net import stream as stream_module
from dataplane.net.outlet import HIGH_MARK, LOW_MARK
from dataplane.net.splice import Pump
from tests.support.net import Echo, Heard, Net, net


async def test_stream_echoes_what_it_receives() -> None:
    """Bytes in come out as they were."""
    async with net() as n:
        port = n.serve(Echo)
        client = n.connect(port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"hello")

        assert await loop.sock_recv(client, 100) == b"hello"


async def test_stream_tells_the_end_once_and_the_loss_last() -> None:
    """A peer that ends, and an answer that ends, is `ended` then `lost ended`."""
    async with net() as n:
        echo = Echo()
        peer = n.pair(echo)
        peer.sendall(b"last words")
        peer.shutdown(socket.SHUT_WR)

        await echo.hear("lost ended")

        assert echo.calls == ["ended", "lost ended"]
        assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"last words"
        assert await asyncio.get_running_loop().sock_recv(peer, 100) == b""


async def test_stream_keeps_a_half_close() -> None:
    """After the peer's end bytes can still be sent to it."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        peer.shutdown(socket.SHUT_WR)
        await heard.hear("ended")

        assert heard.stream
        heard.stream.write(b"still here")

        assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"still here"
        heard.stream.close()
        await heard.hear("lost closed")


async def test_our_own_end_leaves_the_peer_sending() -> None:
    """`write_eof` ends one direction only."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.write(b"done")
        heard.stream.write_eof()
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(peer, 100) == b"done"
        assert await loop.sock_recv(peer, 100) == b""

        peer.sendall(b"and you?")

        assert await heard.get(8) == b"and you?"
        peer.close()
        await heard.hear("lost ended")


async def test_writes_of_one_turn_leave_together() -> None:
    """A turn's pieces arrive as one segment."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        for piece in (b"a", b"b", b"c"):
            heard.stream.write(piece)

        assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"abc"
        heard.stream.close()


async def test_more_than_the_kernel_takes_waits_and_drains() -> None:
    """`high` rises above the mark and `drained` comes when it falls."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        size = 0
        while heard.stream.waiting <= HIGH_MARK:
            for _ in range(8):
                heard.stream.write(b"x" * 100_000)
                size += 100_000
            await asyncio.sleep(0.002)
        assert heard.stream.waiting > HIGH_MARK

        heard.calls.clear()
        got = 0
        while got < size:
            got += len(await asyncio.get_running_loop().sock_recv(peer, 1 << 20))

        assert heard.calls == ["drained"]
        assert heard.stream.waiting <= LOW_MARK
        assert not heard.stream.high
        heard.stream.close()


async def test_many_small_pieces_survive_partial_sends() -> None:
    """Every byte arrives in order however the kernel cuts the queue."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        pieces = [bytes([i % 251]) * (i % 3000) for i in range(3000)]
        for piece in pieces:
            heard.stream.write(piece)
        heard.stream.close()
        got = b""
        while data := await asyncio.get_running_loop().sock_recv(peer, 1 << 16):
            got += data

        assert got == b"".join(pieces)
        peer.close()
        await heard.hear("lost closed")


async def test_paused_stream_receives_nothing_until_resumed() -> None:
    """The kernel's buffers fill instead of ours."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.pause()
        peer.sendall(b"wait for me")
        await asyncio.sleep(0.01)
        assert not heard.data

        heard.stream.resume()

        assert await heard.get(11) == b"wait for me"
        heard.stream.close()


async def test_pause_inside_received_stops_at_once() -> None:
    """A receiver that pauses in the middle of a burst hears nothing more of it."""

    class Once(Heard):
        def received(self, data: bytes) -> None:
            super().received(data)
            assert self.stream
            self.stream.pause()

    async with net() as n:
        once = Once()
        peer = n.pair(once)
        task = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(peer, b"x" * 1_000_000))
        await once.get(1)
        await asyncio.sleep(0.01)
        seen = len(once.data)
        assert seen <= 65536
        while len(once.data) < 1_000_000:
            assert once.stream
            once.stream.resume()
            await asyncio.sleep(0)
        await task
        assert once.stream
        once.stream.close()


async def test_reset_is_told_as_reset() -> None:
    """RST is no proper end."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

        await heard.hear("lost reset")


async def test_reset_is_told_while_paused() -> None:
    """A stream that does not read still learns that its peer broke off."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.pause()
        await asyncio.sleep(0.005)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

        await heard.hear("lost reset")


async def test_close_sends_what_waits_first() -> None:
    """`close` is no abort."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.write(b"z" * 3_000_000)
        heard.stream.close()
        got = 0
        while data := await asyncio.get_running_loop().sock_recv(peer, 1 << 20):
            got += len(data)

        assert got == 3_000_000
        peer.close()
        await heard.hear("lost closed")


async def test_close_hears_nothing_more() -> None:
    """After `close` only `lost` comes, whatever the peer still sends."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.close()
        peer.sendall(b"too late")
        await heard.hear("lost closed")
        peer.close()
        await n.settle(lambda: n.poller.connections == 0)

        assert heard.calls == ["lost closed"]
        assert not heard.data


async def read_out(sock: socket.socket) -> None:
    """Read to the end."""
    while await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1_000_000), 5):
        pass


async def test_close_gives_up_on_a_peer_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that never reads cannot hold a closed connection for ever, and what it missed must not look finished."""
    monkeypatch.setattr(stream_module, "CLOSE_SECONDS", 0.05)
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.write(b"z" * 20_000_000)
        heard.stream.close()

        await heard.hear("lost close_timeout")
        with pytest.raises(ConnectionResetError):
            await read_out(peer)


@pytest.mark.parametrize("bypassed", [False, True], ids=["queue", "pipe"])
async def test_close_of_a_blocked_stream_gives_up_too(monkeypatch: pytest.MonkeyPatch, bypassed: bool) -> None:
    """The kernel has said that it takes nothing, long before `close`: nothing else would call the stream again."""
    monkeypatch.setattr(stream_module, "CLOSE_SECONDS", 0.05)
    async with net() as n:
        heard, source = Heard(), Heard()
        taker = n.pair(heard)
        assert heard.stream
        if bypassed:
            peer = n.pair(source)
            assert source.stream
            source.stream.pump = heard.stream.feed = pump = Pump(source.stream, heard.stream)
            for _ in range(50):
                with suppress(BlockingIOError):
                    peer.send(b"z" * 1_000_000)
                await asyncio.sleep(0)
            assert pump.held > 0
        else:
            heard.stream.write(b"z" * 20_000_000)
            await n.settle(lambda: heard.stream is not None and 0 < heard.stream.waiting < 20_000_000)
        heard.stream.close()

        await heard.hear("lost close_timeout")
        with pytest.raises(ConnectionResetError):
            await read_out(taker)
        if bypassed:
            assert source.stream
            source.stream.abort()


async def test_close_after_our_own_end_lingers_no_longer_than_another() -> None:
    """Our end was told before `close`: there is nothing to send, and the peer has its second to close."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)
        assert heard.stream
        heard.stream.write_eof()
        assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
        heard.stream.close()

        async with asyncio.timeout(2.5):
            await heard.hear("lost closed")
            await n.settle(lambda: n.poller.connections == 0)


async def test_peer_that_never_closes_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our side closed, theirs does not: the descriptor is freed after the linger time."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.05)
    async with net() as n:
        heard = Heard()
        n.pair(heard)
        assert heard.stream
        heard.stream.close()
        await heard.hear("lost closed")
        await n.settle(lambda: n.poller.connections == 0)


async def test_abort_resets_and_is_told_after_the_call() -> None:
    """`lost` never comes from inside the receiver's own call."""

    class Aborting(Heard):
        def received(self, data: bytes) -> None:
            assert self.stream
            self.stream.abort()
            self.note("after abort")

    async with net() as n:
        heard = Aborting()
        peer = n.pair(heard)
        peer.sendall(b"x")
        await heard.hear("lost aborted")

        assert heard.calls == ["after abort", "lost aborted"]
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(peer, 1)


async def test_writes_to_a_dead_stream_are_dropped() -> None:
    """Nobody need ask first whether a stream is alive."""
    async with net() as n:
        heard = Heard()
        n.pair(heard)
        assert heard.stream
        stream = heard.stream
        stream.abort()
        stream.write(b"lost")
        stream.write_eof()
        stream.pause()
        stream.resume()
        stream.close()
        stream.abort()
        await heard.hear("lost aborted")

        assert stream.waiting == 0
        assert heard.calls == ["lost aborted"]


async def test_receiver_that_raises_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Its connection is aborted and counted; its neighbour does not notice."""

    class Broken(Heard):
        def received(self, data: bytes) -> None:
            raise ValueError("a defect")

    async with net() as n:
        n.defects = 1
        broken, echo = Broken(), Echo()
        bad, good = n.pair(broken), n.pair(echo)
        bad.sendall(b"x")
        good.sendall(b"y")
        await broken.hear("lost internal_error")

        assert await asyncio.get_running_loop().sock_recv(good, 1) == b"y"
        assert "a defect" in caplog.text
        assert n.poller.failures == 1
        assert echo.stream
        echo.stream.close()


async def test_stream_closed_in_a_batch_is_not_touched_by_it() -> None:
    """Two connections ready at once, where the first one's bytes close the second."""

    class Killer(Heard):
        victim: Heard

        def received(self, data: bytes) -> None:
            super().received(data)
            assert self.victim.stream
            self.victim.stream.abort()

    async with net() as n:
        first, second = Killer(), Killer()
        first.victim, second.victim = second, first
        one, two = n.pair(first), n.pair(second)
        one.sendall(b"x")
        two.sendall(b"x")
        await n.settle(lambda: first.gone or second.gone)

        survivor, dead = (second, first) if first.gone else (first, second)
        assert not dead.data
        assert survivor.stream
        survivor.stream.abort()
        await n.settle(lambda: first.gone and second.gone)


async def test_fast_peer_does_not_starve_another() -> None:
    """While one stream is flooded, another is answered within a few turns."""
    async with net() as n:
        sink, echo = Heard(), Echo()
        flood, quiet = n.pair(sink), n.pair(echo)
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(loop.sock_sendall(flood, b"x" * 30_000_000))
        await sink.get(1)
        for _ in range(20):
            await loop.sock_sendall(quiet, b"ping")
            assert await asyncio.wait_for(loop.sock_recv(quiet, 10), 1) == b"ping"
        await task
        for heard in (sink, echo):
            assert heard.stream
            heard.stream.close()


async def test_counters_count_bytes_and_connections() -> None:
    """What goes in and out is counted on the poller."""
    async with net() as n:
        echo = Echo()
        peer = n.pair(echo)
        peer.sendall(b"12345")
        await asyncio.get_running_loop().sock_recv(peer, 10)

        assert (n.poller.connections, n.poller.bytes_in, n.poller.bytes_out) == (1, 5, 5)
        assert echo.stream
        echo.stream.close()


async def answer_and_close_unread(n: Net, peer: socket.socket, heard: Heard, answer: bytes, *, fill: int) -> None:
    """The peer answers without having read and closes; only then is the receiver's poller given a turn.

    The first bytes make the close a reset (RFC 1122, section 4.2.2.13), as with a server that refuses an upload.
    """
    assert heard.stream
    heard.stream.write(b"u" * fill)
    await n.settle(lambda: select.select([peer], [], [], 0)[0] != [])
    peer.sendall(answer)
    peer.close()
    heard.stream.write(b"more of it")


@pytest.mark.parametrize("fill", [1, 8_000_000], ids=["room to send", "blocked"])
async def test_what_a_peer_said_before_it_stopped_taking_is_read(fill: int) -> None:
    """A server that answers half an upload and closes is heard to its last byte; then the connection is lost, as a reset."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)

        await answer_and_close_unread(n, peer, heard, b"413" * 10_000, fill=fill)
        await heard.until(lambda _: heard.gone)

        assert heard.data == b"413" * 10_000
        assert [call for call in heard.calls if call not in {"drained", "ended"}] == ["lost reset"]


async def test_writers_are_woken_when_nothing_can_be_sent_any_more() -> None:
    """Who waits for room would else keep its own source stopped while the answer is still being read."""
    async with net() as n:
        heard = Heard()
        peer = n.pair(heard)

        await answer_and_close_unread(n, peer, heard, b"413", fill=8_000_000)
        await heard.until(lambda _: heard.gone)

        assert heard.calls.index("drained") < heard.calls.index("lost reset")


async def test_close_after_a_failed_send_is_the_end() -> None:
    """The receiver closes on the answer it could still read: nothing more is waited for."""

    class Closing(Heard):
        def received(self, data: bytes) -> None:
            super().received(data)
            assert self.stream
            self.stream.close()

    async with net() as n:
        heard = Closing()
        peer = n.pair(heard)

        await answer_and_close_unread(n, peer, heard, b"413", fill=8_000_000)
        await heard.until(lambda _: heard.gone)

        assert heard.data == b"413"
        assert heard.calls[-1] == "lost closed"
