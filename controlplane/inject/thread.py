"""Run the webhooks beside the control plane: a thread and a loop of their own, so that nobody who creates a pod waits for a pass or for pushes.

In: how to serve, the certificate to serve with. Out: a port, and in the control plane's own loop, `at_home`, whatever else is to be done. What a review reads of the rest
of the process it reads whole and waits for
nothing: objects of the store and settings, which nobody changes in place. It changes nothing. A failure to listen or to take a certificate, a thread that ends and one that is held end `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import uvloop

from controlplane.kube.connect import load_chain

Serving = Callable[[ssl.SSLContext], AbstractAsyncContextManager[int]]
"""Serves while it is entered, in the thread's loop; gives the port."""
END_SECONDS = 8.0
"""So long the thread may take to end: reviews under way are answered first."""
TURN_SECONDS = 1.0
HELD_LOOKS = 30
"""So many looks, a turn apart, at a loop that does not go round, and the process is to be started anew: the probes ask the other loop, and would never find out."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Admission:
    """The webhooks in their thread; made and run in the control plane's loop."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._home = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        """Of the thread's loop."""
        self._failure: Exception | None = None
        """Why no more can be served: it must not go on until a certificate is over that was to be replaced."""
        self._turns = 0
        """Counted by the thread, as long as its loop goes round."""
        self._port = 0
        self._listening = asyncio.Event()

    async def listening(self) -> int:
        """Wait until it listens; gives the port."""
        await self._listening.wait()
        return self._port

    def certify(self, chain: bytes, key: bytes) -> None:
        """Serve with this certificate (PEM) from the next handshake on."""
        if self._loop is None:
            load_chain(self._context, chain, key)
        else:  # where handshakes are begun: a context must not change meanwhile
            self._loop.call_soon_threadsafe(self._load, chain, key)

    async def run(self) -> None:
        """Serve until cancelled, then end the thread; raises what ended it before, or RuntimeError where it is held."""
        self._loop = uvloop.new_event_loop()
        ended: asyncio.Future[None] = self._home.create_future()
        threading.Thread(target=self._thread, args=(self._loop, ended), name="admission", daemon=True).start()
        try:
            await self._watch(ended)
        except asyncio.CancelledError:
            if not ended.done():
                self._end()
                if not (await asyncio.wait([ended], timeout=END_SECONDS))[0]:
                    log.warning("the webhooks did not end within %s s", END_SECONDS)
            raise

    async def _watch(self, ended: asyncio.Future[None]) -> None:
        """Wait for the thread to end. Looks are counted and no time is measured: while the whole process stands still, nobody looks."""
        turns, unmoved = -1, 0
        while not (await asyncio.wait([ended], timeout=TURN_SECONDS))[0]:
            turns, unmoved = self._turns, unmoved + 1 if self._turns == turns else 0
            if unmoved >= HELD_LOOKS:
                self._end()
                raise RuntimeError(f"the webhooks have been held for {HELD_LOOKS * TURN_SECONDS:g} s")
        ended.result()

    def _end(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    async def at_home(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done in the control plane's loop, from a review or page."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._home))

    def tell(self, call: Callable[..., None], *given: Any) -> None:
        """Have something noted in the control plane's loop, without waiting for it."""
        self._home.call_soon_threadsafe(call, *given)

    def _thread(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        """Live as the thread does; the supervisor of what goes wrong in it."""
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised where `run` waits
            self._ended(ended.set_exception, error)
        except BaseException as error:  # noqa: BLE001 - what ends a program ends a thread without a word
            self._ended(ended.set_exception, RuntimeError(f"the thread of the webhooks was ended by {error!r}"))
        else:
            self._ended(ended.set_result, None)

    def _ended(self, call: Callable[[Any], None], result: Any) -> None:
        if not self._home.is_closed():
            self._home.call_soon_threadsafe(call, result)

    async def _serve(self) -> None:
        async with self._serving(self._context) as port:
            self.tell(self._listens, port)
            while not self._stop.is_set():
                self._turns += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TURN_SECONDS):
                        await self._stop.wait()
        if self._failure is not None:
            raise self._failure

    def _load(self, chain: bytes, key: bytes) -> None:
        try:
            load_chain(self._context, chain, key)
        except Exception as error:  # noqa: BLE001 - raised where `run` waits
            self._failure = error
            self._stop.set()

    def _listens(self, port: int) -> None:
        self._port = port
        self._listening.set()
