"""An asyncio event loop that waits in the poller, so that traffic meets no event loop at all.

asyncio asks its selector to wait and then runs callbacks. Here the selector is the poller: sockets of traffic are served
inside that wait, batch after batch, and it only returns when one of the loop's own descriptors is ready, a timer is due,
or a callback was scheduled. In: nothing but the standard library's loop. Out: `TrafficLoop`, a loop like any other.
Refuses nothing.
"""

import asyncio
import contextlib
import math
import selectors
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from typing import IO, Any, Protocol, TypeVarTuple

from dataplane.net.poller import IN, OUT, Poller, Wish
from dataplane.net.system import Kernel

_Ts = TypeVarTuple("_Ts")


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


File = int | _HasFileno


def _number(file: File) -> int:
    return file if isinstance(file, int) else file.fileno()


class TrafficSelector(selectors.BaseSelector):
    """What the loop waits in: its own few descriptors, and the poller that serves all others meanwhile."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.wish = Wish()
        self._poller: Poller | None = None
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._map = _Registered(self._keys, self._find)
        self._ready: list[tuple[selectors.SelectorKey, int]] = []

    # --- for the poller -----------------------------------------------------------------------------------------------

    def adopt(self, poller: Poller) -> bool:
        """Let a poller do the waiting, the first one that asks."""
        if self._poller is not None:
            return False
        self._poller = poller
        return True

    def release(self) -> None:
        """The poller is closed: wait alone again."""
        self._poller = None
        self.wish.made = True

    def note(self, fd: int, mask: int) -> None:
        """One of the loop's own descriptors is ready."""
        key = self._keys.get(fd)
        if key is not None:
            events = 0
            if mask & ~OUT:
                events |= selectors.EVENT_READ
            if mask & ~IN:
                events |= selectors.EVENT_WRITE
            if events & key.events:
                self.wish.made = True
                self._ready.append((key, events & key.events))

    # --- for the loop -------------------------------------------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a descriptor of the loop's own."""
        key = selectors.SelectorKey(fileobj, _number(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"descriptor {key.fd} is registered already")
        self.kernel.add(key.fd, _mask(events))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch it no more."""
        key = self._keys.pop(self._find(fileobj))
        with contextlib.suppress(OSError):
            self.kernel.forget(key.fd)  # fails when it was closed first, which is as good
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch it for something else."""
        fd = self._find(fileobj)
        if events != self._keys[fd].events:
            self.kernel.change(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve traffic until the loop has something to do; return its own descriptors that are ready."""
        milliseconds = -1 if timeout is None else max(math.ceil(timeout * 1000), 0)
        self.wish.made = milliseconds == 0
        if self._poller is not None:
            self._poller.drive(milliseconds)
        else:
            kernel = self.kernel
            for index in range(kernel.wait(milliseconds)):
                self.note(kernel.event_fd(index), kernel.event_mask(index))
        ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        """Close the epoll set."""
        self._keys.clear()
        self.kernel.shut()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The loop's own descriptors; from Python 3.13 on the loop looks them up here, by number or by file."""
        return self._map

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """What a descriptor is registered for; raises KeyError."""
        return self._keys[self._find(fileobj)]

    def _find(self, fileobj: File | IO[Any]) -> int:
        """The number of a registered file, also of one closed meanwhile."""
        try:
            return _number(fileobj)
        except ValueError:
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key.fd
            raise KeyError(f"{fileobj!r} is not registered") from None


class _Registered(Mapping[Any, selectors.SelectorKey]):
    """Descriptors by number or file, as `selectors` has it."""

    def __init__(self, keys: dict[int, selectors.SelectorKey], find: Callable[[Any], int]) -> None:
        self._keys = keys
        self._find = find

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[self._find(fileobj)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _mask(events: int) -> int:
    return (IN if events & selectors.EVENT_READ else 0) | (OUT if events & selectors.EVENT_WRITE else 0)


class TrafficLoop(asyncio.SelectorEventLoop):
    """The loop: whatever is scheduled ends the selector's wait."""

    def __init__(self) -> None:
        self.driver = TrafficSelector()
        super().__init__(self.driver)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback for the next iteration."""
        self.driver.wish.made = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback for a time; the wait under way may be too long for it."""
        self.driver.wish.made = True
        return super().call_at(when, callback, *args, context=context)
