"""Bytes between programs in containers and whoever talks with them: logs, exec, probes.

In: a running `Process` and where its input comes from and its outputs go. Out: an exit code, when the program has ended and everything
it wrote is delivered. A receiver that is slow makes the program wait, nothing is kept for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from devcluster.runtime.logs import LogFile
from devcluster.runtime.spawner import Process

_CHUNK: Final = 64 << 10
_CAPTURED: Final = 10 << 10
Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The other ends of a program's standard streams."""

    stdin: AsyncIterator[bytes] | None = None
    stdout: Sink | None = None
    stderr: Sink | None = None
    tty: bool = False
    resizes: AsyncIterator[tuple[int, int]] | None = None
    """(columns, rows) of the terminal, as they change."""


class LogPipe(asyncio.Protocol):
    """One output of a container, written to its log."""

    def __init__(self, log: LogFile, name: str) -> None:
        self._log = log
        self._name = name
        self.ended = asyncio.Event()

    async def open(self) -> int:
        """Make the pipe and give the program's end."""
        ours, theirs = os.pipe()
        await asyncio.get_running_loop().connect_read_pipe(lambda: self, os.fdopen(ours, "rb", 0))
        return theirs

    def data_received(self, data: bytes) -> None:
        """Something was written."""
        self._log.write(self._name, data)

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody writes any more."""
        self.ended.set()


async def execute(process: Process, argv: Sequence[str], streams: Streams) -> int:
    """Run a program in a container with these streams and return its exit code; raises StartError."""
    if streams.tty:
        return await _on_terminal(process, argv, streams)
    (their_in, our_in), (our_out, their_out), (our_err, their_err) = (os.pipe() for _ in range(3))
    running = process.execute(argv, [their_in, their_out, their_err])
    for descriptor in (their_in, their_out, their_err):
        os.close(descriptor)
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(_feed(our_in, streams.stdin))
        group.create_task(_drain(our_out, streams.stdout))
        group.create_task(_drain(our_err, streams.stderr))
        await asyncio.wait({running})
        feeding.cancel()
    return running.result()


async def _on_terminal(process: Process, argv: Sequence[str], streams: Streams) -> int:
    terminal, running = process.execute_on_terminal(argv)
    await asyncio.wait({terminal, running}, return_when=asyncio.FIRST_COMPLETED)
    if terminal.cancelled() or not terminal.done():
        return await running
    master = terminal.result()
    try:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(os.dup(master), streams.stdin))
            resizing = group.create_task(_resize(master, streams.resizes))
            group.create_task(_drain(os.dup(master), streams.stdout))
            await asyncio.wait({running})
            feeding.cancel()
            resizing.cancel()
    finally:
        os.close(master)
    return running.result()


async def capture(process: Process, argv: Sequence[str]) -> tuple[int, str]:
    """Run a program in a container; gives its code and the beginning of what it wrote."""
    written = bytearray()

    async def keep(data: bytes) -> None:
        written.extend(data[: _CAPTURED - len(written)])

    code = await execute(process, argv, Streams(stdout=keep, stderr=keep))
    return code, written.decode(errors="replace")


async def _drain(descriptor: int, sink: Sink | None) -> None:
    reader = asyncio.StreamReader(limit=_CHUNK)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        with contextlib.suppress(OSError):  # a receiver has gone, or the last user of a terminal has
            while data := await reader.read(_CHUNK):
                if sink is not None:
                    await sink(data)
    finally:
        transport.close()


async def _feed(descriptor: int, source: AsyncIterator[bytes] | None) -> None:
    if source is None:
        os.close(descriptor)
        return
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(descriptor, "wb", 0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        with contextlib.suppress(OSError):
            async for data in source:
                writer.write(data)
                await writer.drain()
    finally:
        transport.close()


async def _resize(master: int, sizes: AsyncIterator[tuple[int, int]] | None) -> None:
    if sizes is None:
        return
    async for columns, rows in sizes:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
