"""Run kopf beside the control plane: a thread and a loop of its own, started again when it fails.

In: a trigger in the control plane's loop and a connection. Out: triggers across, by `call_soon_threadsafe`. The thread is needed, not a convenience: when kopf ends it cancels
every task of its loop that began after it did ("the loop is not fully ours", its source says), which would be all streams of all sidecars; it also takes
SIGTERM for itself where it can, and a burst of its events must not hold up a push (decision 0006). Refuses nothing: a failure is logged and kopf begins anew.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import ssl
import threading
from dataclasses import dataclass
from typing import Any

import kopf

from controlplane.feed.objects import Ref
from controlplane.kube.connect import Connection
from controlplane.operator import handlers
from controlplane.operator.handlers import Trigger

LOGIN_MINUTES = 20
"""A service-account token on disk lives an hour or more and is renewed at four fifths; so often it is read again."""
IDENTITY: Any = "tulle"
"""What kopf calls itself; nobody asks, for peering is off."""
RESTART_SECONDS = 3.0
JOIN_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Login(kopf.ConnectionInfo):
    """Credentials for kopf that trust the API server as the rest of the control plane does; kopf's own are stricter from Python 3.13 on."""

    connection: Connection

    def as_ssl_context(self) -> ssl.SSLContext:
        """Give the context of our own connection."""
        return self.connection.ssl_context()


def login(connection: Connection) -> kopf.ConnectionInfo:
    """Credentials for kopf from our own connection."""
    expires = None
    if connection.token_file is not None:
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=LOGIN_MINUTES)
    return Login(server=connection.server, token=connection.token() or None, expiration=expires, connection=connection)


class Operator:
    """kopf in its thread."""

    def __init__(self, trigger: Trigger, connection: Connection, installation: str) -> None:
        self._trigger = trigger
        self._connection = connection
        self._installation = installation
        self._stop = threading.Event()
        self.restarts = 0

    async def run(self) -> None:
        """Run until cancelled, then end the thread."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def across(ref: Ref, version: str) -> None:
            loop.call_soon_threadsafe(self._trigger, ref, version)

        thread = threading.Thread(target=self._thread, args=(across, loop, ended), name="kopf", daemon=True)
        thread.start()
        try:
            await ended.wait()
        finally:
            self._stop.set()
            if not ended.is_set():
                try:
                    async with asyncio.timeout(JOIN_SECONDS):
                        await ended.wait()
                except TimeoutError:
                    log.warning("kopf did not end within %s s", JOIN_SECONDS)

    def _thread(self, trigger: Trigger, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            while not self._stop.is_set():
                self._once(trigger)
                if not self._stop.wait(RESTART_SECONDS):
                    self.restarts += 1
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

    def _once(self, trigger: Trigger) -> None:
        """One life of kopf; the supervisor of whatever goes wrong in it."""
        registry = handlers.build_registry(trigger, lambda: login(self._connection))
        try:
            asyncio.run(
                kopf.operator(
                    registry=registry,
                    settings=handlers.operator_settings(self._installation),
                    # Given, because kopf's own guess looks its user up, and the user of a pod has no name.
                    identity=IDENTITY,
                    standalone=True,
                    clusterwide=True,
                    stop_flag=self._stop,
                )
            )
        except Exception:
            log.exception("kopf failed; it begins anew in %s s", RESTART_SECONDS)
        else:
            if not self._stop.is_set():
                log.warning("kopf ended by itself; it begins anew in %s s", RESTART_SECONDS)
