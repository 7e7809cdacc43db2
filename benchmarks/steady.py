"""Asks at a steady rate whether answers come or not, each connection in its turn: an open loop, as users are.

    python -m benchmarks.steady PORT CONNECTIONS RATE SECONDS

h2load keeps a clock for each connection, and all of them start as one: a thousand requests a second over twenty connections
come as fifty bursts, and a proxy wakes for each burst instead of for each request. Out: a line of JSON, the latencies in
milliseconds counted from when a request was due. What is due while every connection waits is asked as soon as one is free,
until the time is over. Refuses any answer but 200 with a body of so many bytes as it says.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from collections import deque
from contextlib import ExitStack, closing

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
LAST_SECONDS = 5.0
"""How long the last answers may take."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class AnswerError(RuntimeError):
    """An answer that is none; the message says what came."""


class Connection:
    """One connection, and the request it waits for."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._got = b""

    def fileno(self) -> int:
        """What `select` asks."""
        return self.socket.fileno()

    def ask(self, due: float) -> None:
        """Send a request that was due then."""
        self.due = due
        self.socket.sendall(REQUEST)

    def answered(self) -> bool:
        """Take what has come; whether that was the answer's end."""
        data = self.socket.recv(65536)
        if not data:
            raise AnswerError(f"the connection ended after {self._got[:200]!r}")
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return False
        length = _LENGTH.search(head + b"\r\n")
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise AnswerError(f"an answer was not 200 with a length: {head[:200]!r}")
        if len(body) < int(length[1]):
            return False
        self._got = b""
        return True


def ask(port: int, connections: int, rate: float, seconds: float) -> list[float]:
    """Ask for so many seconds; return the latencies in milliseconds. Raises AnswerError or OSError."""
    every: list[Connection] = []
    with ExitStack() as stack:
        for _ in range(connections):
            every.append(Connection(port))
            stack.enter_context(closing(every[-1].socket))
        return _asked(every, rate, seconds)


def _asked(every: list[Connection], rate: float, seconds: float) -> list[float]:
    free = deque(every)
    latencies: list[float] = []
    begin = time.monotonic()
    asked, waiting = 0, 0
    while True:
        now = time.monotonic()
        while free and begin + asked / rate <= now < begin + seconds:
            connection = free.popleft()
            connection.ask(begin + asked / rate)
            asked += 1
            waiting += 1
        if now >= begin + seconds and not waiting:
            return latencies
        if now >= begin + seconds + LAST_SECONDS:
            raise AnswerError(f"{waiting} answers did not come")
        due = begin + asked / rate if now < begin + seconds else now + LAST_SECONDS
        for connection in select.select(every, [], [], max(due - now, 0.0) if free else LAST_SECONDS)[0]:
            if connection.answered():
                latencies.append((time.monotonic() - connection.due) * 1000)
                free.append(connection)
                waiting -= 1


if __name__ == "__main__":
    port, connections, rate, seconds = sys.argv[1:]
    try:
        print(json.dumps(ask(int(port), int(connections), float(rate), float(seconds))))
    except (AnswerError, OSError) as problem:
        raise SystemExit(str(problem)) from problem
