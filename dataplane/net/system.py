"""The kernel calls of the traffic path; `system.pyx` beside this is its compiled twin, word for word.

In: file descriptors and bytes. Out: bytes, counts, -1 with `error` set (0 for "would block"). Refuses nothing, raises
only for what cannot happen while a descriptor is ours.
"""

import errno
import os
import select
import socket
import struct
import time
from typing import Final

RECEIVE_SIZE: Final = 65536
"""Bytes taken from a socket at once."""
EVENTS: Final = 256
"""Events taken from the epoll set at once."""

_CHUNKS = 64
_WAITS = {errno.EAGAIN, errno.EWOULDBLOCK}


class Kernel:
    """One epoll set, one receive buffer, and the calls on sockets that go with them."""

    __slots__ = ("_epoll", "_events", "address", "epoll", "error", "filled")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._events: list[tuple[int, int]] = []
        self.epoll = self._epoll.fileno()
        self.error = 0
        self.filled = b""
        """What the last `fill` received."""
        self.address: tuple[str, int] = ("", 0)

    def shut(self) -> None:
        """Close the epoll set itself."""
        self._epoll.close()
        self.epoll = -1

    def add(self, fd: int, mask: int) -> None:
        """Watch a descriptor."""
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Watch a descriptor for something else."""
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Watch a descriptor no more; closing does that too."""
        self._epoll.unregister(fd)

    def wait(self, milliseconds: int) -> int:
        """Collect what is ready, waiting for something up to so long (-1: for ever), and tell how many.

        Read them by `event_fd` and `event_mask`. A signal ends the wait after its Python handler has run.
        """
        self._events = self._epoll.poll(milliseconds / 1000 if milliseconds >= 0 else None, EVENTS)
        return len(self._events)

    def event_fd(self, index: int) -> int:
        """The descriptor of an event."""
        return self._events[index][0]

    def event_mask(self, index: int) -> int:
        """What is ready there."""
        return self._events[index][1]

    def receive(self, fd: int, much: bool) -> bytes | None:  # noqa: ARG002 - for the compiled twin
        """Take what has arrived, up to RECEIVE_SIZE; empty at the end, None when nothing is there or on an `error`.

        Where `much` is expected it goes straight into the bytes returned.
        """
        try:
            return os.read(fd, RECEIVE_SIZE)
        except OSError as error:
            self._note(error)
            return None

    def fill(self, fd: int) -> int:
        """As `receive`, into `filled`; returns how many bytes, or -1."""
        data = self.receive(fd, True)
        self.filled = data or b""
        return -1 if data is None else len(data)

    def send(self, fd: int, data: bytes, offset: int) -> int:
        """Give the kernel the bytes from `offset` on; returns how many it took, or -1."""
        try:
            return os.write(fd, memoryview(data)[offset:])
        except OSError as error:
            return self._note(error)

    def send_list(self, fd: int, chunks: list[bytes], offset: int) -> int:
        """Give the kernel the chunks (of the first one from `offset` on) in one call; as `send`."""
        try:
            return os.writev(fd, [memoryview(chunks[0])[offset:], *chunks[1:_CHUNKS]])
        except OSError as error:
            return self._note(error)

    def splice(self, source: int, target: int, count: int) -> int:
        """Move bytes between a socket and a pipe inside the kernel; as `send`, and 0 at the end of `source`."""
        try:
            return os.splice(source, target, count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except OSError as error:
            return self._note(error)

    def accept(self, fd: int) -> int:
        """Take a waiting connection, non-blocking; `address` is its peer. As `send` when there is none."""
        listening = socket.socket(fileno=fd)
        try:
            got, address = listening.accept()
        except OSError as error:
            return self._note(error)
        finally:
            listening.detach()
        self.address = (address[0], address[1])
        got.setblocking(False)
        return got.detach()

    def socket_error(self, fd: int) -> int:
        """Read and clear SO_ERROR."""
        return int.from_bytes(self.option(fd, socket.SOL_SOCKET, socket.SO_ERROR, 4) or b"", "little")

    def option(self, fd: int, level: int, name: int, size: int) -> bytes | None:
        """Read a socket option as bytes, or None with `error` set."""
        borrowed = socket.socket(fileno=fd)
        try:
            return borrowed.getsockopt(level, name, size)
        except OSError as error:
            self._note(error)
            return None
        finally:
            borrowed.detach()

    def nodelay(self, fd: int) -> None:
        """Send small segments at once (TCP_NODELAY)."""
        borrowed = socket.socket(fileno=fd)
        try:
            borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._note(error)
        finally:
            borrowed.detach()

    def reset_on_close(self, fd: int) -> None:
        """Have `close` send a reset and drop what is queued (SO_LINGER of zero)."""
        borrowed = socket.socket(fileno=fd)
        try:
            borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError as error:
            self._note(error)
        finally:
            borrowed.detach()

    def end(self, fd: int) -> None:
        """Shut the sending side down."""
        borrowed = socket.socket(fileno=fd)
        try:
            borrowed.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._note(error)
        finally:
            borrowed.detach()

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def _note(self, error: OSError) -> int:
        self.error = 0 if error.errno in _WAITS else error.errno or errno.EIO
        return -1


def one_heap() -> None:
    """Have all threads allocate where the first one does; uncompiled there is no way to ask for that."""


def trim() -> None:
    """Give memory the C library holds free back to the kernel; uncompiled there is no way to ask for that."""
