"""Follow one kind of object in one version: list it in chunks, then watch it, for ever.

In: a Cluster and a Kind, in the version it is served in. Out: `apply`, `remove` and `retain` on a sink, and how it goes in a `Health`. It resumes from the
last resourceVersion (bookmarks keep that fresh), lists again after 410 Gone or when a watch is refused, or cannot be read, time and again, waits longer and longer with jitter
between failures, and takes a silent connection for a dead one. It raises nothing but cancellation: whatever goes wrong is logged once a change of cause and retried.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
import msgspec

from controlplane.feed import events
from controlplane.feed.events import Added, Deleted, Event, Failed, Modified
from controlplane.feed.health import Health
from controlplane.feed.kinds import Kind
from controlplane.feed.objects import ref_of
from controlplane.feed.shapes import Meta
from controlplane.kube.client import UNREADABLE, ApiError, Cluster, path_of
from controlplane.timing import Collector

WATCH_SECONDS = 280
SILENCE_SECONDS = 150.0
"""Bookmarks come about once a minute."""
FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0
"""Shorter than an ending pod waits for its callers: one that rolls as soon as the API server is back must not be gone before anybody has heard of its successor."""
STEADY_SECONDS = 5.0
"""A watch that lasted so long was no failure: go on at once."""
REFUSALS = 3
"""So many watches refused or not to be read one after the other, and the version to resume from is given up: the server may have been set back, and never reach it,
or what cannot be read is the first thing after it."""
SLICE = 500
"""Objects taken in before others get their turn."""

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where objects go; ObjectStore is one."""

    def apply(self, kind: str, obj: Mapping[str, Any], /) -> object:
        """An object is there, or changed."""

    def remove(self, kind: str, namespace: str, name: str, /) -> object:
        """An object is gone."""

    def retain(self, kind: str, places: set[tuple[str, str]], /) -> object:
        """A whole list was taken in: there are no others than those at these places (namespace, name)."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _GoneError(Exception):
    """The version to resume from, or the list that was being read, is no longer kept by the server."""


class Reflector:
    """The feed of one kind into a sink."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        sink: Sink,
        *,
        within: tuple[str, str] = ("", ""),
        health: Health | None = None,
    ) -> None:
        """Follow `kind` in its first version, in a namespace or under a name alone (`within`, either may be empty)."""
        namespace, name = within
        self._cluster = cluster
        self._kind = kind
        self._sink = sink
        self._path = path_of(kind.first, kind.plural, namespace)
        self._params: Mapping[str, str] = {"fieldSelector": f"metadata.name={name}"} if name else {}
        self._page = msgspec.defstruct("Page", [("items", list[kind.shape]), ("metadata", _ListMeta)])  # type: ignore[name-defined]
        self._read = events.reader(kind.shape)
        self._version = ""
        self._refused = 0
        self.health = health or Health()

    async def run(self) -> None:
        """Follow the kind until cancelled."""
        wait = FIRST_WAIT
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except _GoneError:
                self._version = ""
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError, *UNREADABLE) as error:
                self._failed(error)
            except Exception as error:  # a defect in who takes an object: what it missed is listed again
                log.exception("a defect ended the following of %s for a moment", self._kind.plural)
                self._version = ""
                self._failed(error)
            if clock() - began > STEADY_SECONDS:
                wait = FIRST_WAIT
                continue
            await self._cluster.pause(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            wait = min(wait * 2, LONGEST_WAIT)

    async def _list(self) -> None:
        objects: list[Any] = []
        version = ""
        try:
            async for raw in self._cluster.pages(self._path, self._params):
                page: Any = msgspec.json.decode(raw, type=self._page)
                version = page.metadata.resource_version
                objects.extend(self._kind.kept(obj) for obj in page.items)
                Collector.keep()
        except ApiError as error:
            if error.code == 410:
                raise _GoneError from error
            raise
        places = set()
        for number, obj in enumerate(objects, 1):
            ref = ref_of(self._kind.name, obj)
            places.add((ref.namespace, ref.name))
            self._sink.apply(self._kind.name, obj)
            if not number % SLICE:
                await asyncio.sleep(0)
        self._sink.retain(self._kind.name, places)
        self._version = version
        self._refused = 0
        self.health.listed(version)

    async def _watch(self) -> None:
        seconds = str(int(WATCH_SECONDS * random.uniform(0.8, 1.0)))  # noqa: S311 - spread over the replicas
        params = {
            **self._params,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        try:
            async for line in self._cluster.watch(self._path, params, SILENCE_SECONDS):
                if line:
                    self._take(self._read(line))
                    self._refused = 0
                self.health.heard(self._version)
        except (ApiError, *UNREADABLE) as error:
            if isinstance(error, ApiError) and error.code == 410:
                raise _GoneError from error
            self._refused += 1
            if self._refused >= REFUSALS:
                self._version = ""
            raise

    def _take(self, event: Event[Any]) -> None:
        if isinstance(event, Failed):
            failure = event.object
            raise ApiError(failure.code, failure.reason, failure.message)
        metadata: Meta = event.object.metadata
        self._version = metadata.resource_version or self._version
        match event:
            case Added() | Modified():
                self._sink.apply(self._kind.name, self._kind.kept(event.object))
            case Deleted():
                self._sink.remove(self._kind.name, metadata.namespace or "", metadata.name)

    def _failed(self, error: Exception) -> None:
        text = str(error) if isinstance(error, ApiError) else f"{type(error).__name__}: {error}"
        if self.health.failed(text):
            log.warning("following %s: %s; trying again", self._kind.plural, text)
