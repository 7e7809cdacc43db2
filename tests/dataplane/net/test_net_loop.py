"""The traffic loop is an event loop like any other, with and without a poller, idle and under load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import pytest

from dataplane.net.loop import TrafficLoop
from dataplane.net.poller import Poller
from tests.support.net import Echo, net


def run(main: object) -> object:
    with asyncio.Runner(loop_factory=TrafficLoop) as runner:
        return runner.run(main)  # type: ignore[arg-type]


@pytest.mark.parametrize("polling", [False, True], ids=["alone", "with a poller"])
def test_everything_asyncio_offers_works(polling: bool) -> None:
    """Subprocesses, threads, signals, servers, timers and callbacks from elsewhere."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        poller = Poller(loop) if polling else None
        child = await asyncio.create_subprocess_exec("echo", "from a child", stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate()
        assert out == b"from a child\n"
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(got.wait(), 5)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        server.close()
        await server.wait_closed()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        later = asyncio.Event()
        threading.Timer(0.01, lambda: loop.call_soon_threadsafe(later.set)).start()
        await asyncio.wait_for(later.wait(), 5)
        if poller is not None:
            poller.close()

    run(main())


def test_loop_has_its_turn_under_traffic() -> None:
    """Connections that never rest delay neither timers nor tasks."""

    class Storm(Echo):
        """Answers at once, so that its poller always has something to do."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with net() as n:
            left, right = Storm(), Storm()
            peer = n.pair(left)
            # Two streams of ours, back to back, keep each other busy.
            right.stream = None
            near, far = left, right
            assert near.stream
            ours = n.poller
            from dataplane.net.stream import Stream

            far.stream = Stream(ours, peer.detach(), far, ("127.0.0.1", 1))
            far.stream.start()
            near.stream.write(b"x" * 1000)
            start = loop.time()
            for _ in range(10):
                await asyncio.sleep(0.01)
            took = loop.time() - start
            assert ours.bytes_in > 10_000
            near.stream.abort()
            far.stream.abort()
            await n.settle(lambda: left.gone and right.gone)
            return took

    took = run(main())

    assert isinstance(took, float)
    assert took < 1.0


def test_closed_descriptor_can_still_be_unregistered() -> None:
    """Asyncio closes sockets before it forgets them; the number is then reused."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            near, far = socket.socketpair()
            near.setblocking(False)
            loop.add_reader(near, lambda: None)
            near.close()
            loop.remove_reader(near)
            far.close()

    run(main())


def test_interrupt_ends_the_wait() -> None:
    """Ctrl-C reaches a loop that waits for nothing else."""

    async def main() -> None:
        Poller(asyncio.get_running_loop())
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        await asyncio.Event().wait()

    # A shell's background job begins with SIGINT ignored, and Python then leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main())
    finally:
        signal.signal(signal.SIGINT, before)
