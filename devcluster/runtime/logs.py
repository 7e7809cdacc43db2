"""What a container wrote: a file a run, a line an entry, with the time each line came.

In: bytes from a container's two outputs. Out: lines as `kubectl logs` asks for them, also those yet to come: who follows is woken by the
write itself. A file that grows too large is cut by half, the older half goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

LIMIT: Final = 16 << 20
_PART: Final = 16 << 10
"""A longer line is stored in parts, as container runtimes do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What `kubectl logs` asks for."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    tail: int | None = None
    since_seconds: int | None = None
    since_time: str | None = None
    timestamps: bool = False
    limit_bytes: int | None = None

    def begin(self, now: datetime) -> str:
        """Give the stamp before which lines are left out; the empty word leaves out none."""
        if self.since_seconds is not None:
            return _stamp(now - timedelta(seconds=self.since_seconds))
        if self.since_time:
            return _stamp(datetime.fromisoformat(self.since_time))
        return ""


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class LogFile:
    """One run of one container."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+b", buffering=0)
        self._size = 0
        self._rest = {"stdout": b"", "stderr": b""}
        self._written = asyncio.Event()
        self._cuts = 0
        self.closed = False

    def write(self, stream: str, data: bytes) -> None:
        """Add what came on an output."""
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        head = f"{_stamp(datetime.now(UTC))} {stream} ".encode()
        entries = [head + b"F " + line + b"\n" for line in lines]
        while len(rest) > _PART:
            entries.append(head + b"P " + rest[:_PART] + b"\n")
            rest = rest[_PART:]
        self._rest[stream] = rest
        if entries:
            self._append(b"".join(entries))

    def close(self) -> None:
        """Nothing more will come; an unfinished line is kept."""
        if self.closed:
            return
        for stream, rest in self._rest.items():
            if rest:
                self._append(f"{_stamp(datetime.now(UTC))} {stream} P ".encode() + rest + b"\n")
        self.closed = True
        self._file.close()
        self._wake()

    def _append(self, entries: bytes) -> None:
        self._file.write(entries)
        self._size += len(entries)
        if self._size > LIMIT:
            self._cut()
        self._wake()

    def _cut(self) -> None:
        kept = self._path.read_bytes()[-LIMIT // 2 :].partition(b"\n")[2]
        self._path.write_bytes(kept)
        self._size = len(kept)
        self._cuts += 1

    def _wake(self) -> None:
        self._written.set()
        self._written = asyncio.Event()

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        """Give the lines asked for, and with `follow` those to come until the run ends."""
        left = options.limit_bytes if options.limit_bytes is not None else 1 << 62
        position, cuts, first = 0, self._cuts, True
        begin = options.begin(datetime.now(UTC))
        while left > 0:
            written, ended = self._written, self.closed
            if cuts != self._cuts:
                position, cuts = 0, self._cuts
            with self._path.open("rb") as file:
                file.seek(position)
                data = file.read()
            position += len(data)
            text = b"".join(_chosen(data, options, begin, tail=options.tail if first else None))[:left]
            first = False
            left -= len(text)
            if text:
                yield text
            if not options.follow or ended:
                return
            await written.wait()


def _chosen(data: bytes, options: LogOptions, begin: str, *, tail: int | None) -> Iterator[bytes]:
    entries = [entry for entry in data.split(b"\n") if entry and entry[: len(begin)].decode() >= begin]
    if tail is not None and tail >= 0:
        entries = entries[max(0, len(entries) - tail) :]
    for entry in entries:
        stamp, _, flag, text = entry.split(b" ", 3)
        end = b"\n" if flag == b"F" else b""
        yield (stamp + b" " + text if options.timestamps else text) + end
