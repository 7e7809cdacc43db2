"""Watches: a stream of what happens, from a version on, as JSON lines.

In: a watch request. Out: ADDED, MODIFIED, DELETED, BOOKMARK and ERROR events. A watcher that reads too slowly is cut off, to come back and list.
Refuses a version that is compacted away with 410, before the stream or in it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from devcluster.api.errors import Object, StatusError, bad_request, expired
from devcluster.api.registry import Registry
from devcluster.api.rendering import TABLE, Renderer
from devcluster.api.requests import ApiRequest
from devcluster.api.selectors import Predicate, field_predicate, label_predicate
from devcluster.api.watch import WatchEvent

BOOKMARK_EVERY = 30.0
"""Seconds between bookmarks; clients take a minute of silence for a dead connection."""
BACKLOG = 10_000
"""Events a watcher may lag behind."""


def check_version(registry: Registry, request: ApiRequest) -> int:
    """Read the resourceVersion parameter; raises StatusError(400, 410 or 504)."""
    text = request.parameter("resourceVersion")
    if not text:
        return 0
    if not text.isdigit():
        raise bad_request(f'resourceVersion: Invalid value: "{text}": it must be a number')
    version, current = int(text), registry.store.version
    if version > current:
        said = f"Too large resource version: {version}, current: {current}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise StatusError(504, "Timeout", said, {"causes": [cause], "retryAfterSeconds": 1})
    exact = request.parameter("resourceVersionMatch") == "Exact"
    if exact and (version == 0 or registry.store.log(request.row.key).since(version)):
        raise expired()
    return version


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one watcher sees of a kind."""

    namespace: str
    name: str
    selects: tuple[Predicate, ...]

    def holds(self, obj: Object) -> bool:
        """Tell whether an object is in sight."""
        metadata = obj["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if self.name and metadata["name"] != self.name:
            return False
        return all(select(obj) for select in self.selects)

    def event(self, event: WatchEvent) -> tuple[str, Object] | None:
        """Turn a change into what this watcher sees of it: coming into sight is ADDED, going out of it is DELETED."""
        before = event.old is not None and self.holds(event.old)
        after = event.type != "DELETED" and self.holds(event.object)
        if after:
            return ("MODIFIED" if before else "ADDED"), event.object
        if before and event.old is not None:
            gone = event.old | {"metadata": event.old["metadata"] | {"resourceVersion": str(event.version)}}
            return "DELETED", event.object if event.type == "DELETED" else gone
        return None


async def watch(registry: Registry, request: ApiRequest) -> web.StreamResponse:
    """Answer a watch."""
    renderer = request.renderer()
    version = check_version(registry, request)
    if request.flag("sendInitialEvents") and request.parameter("resourceVersionMatch") != "NotOlderThan":
        said = 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
        raise StatusError(422, "Invalid", said + "resourceVersionMatch is required when sendInitialEvents is set")
    stream = _Stream(registry, request, renderer, _view(request))
    response = web.StreamResponse()
    response.content_type = "application/json"
    return await stream.run(response, version)


def _view(request: ApiRequest) -> View:
    selects: list[Predicate] = []
    if request.parameter("labelSelector"):
        selects.append(label_predicate(request.parameter("labelSelector")))
    if request.parameter("fieldSelector"):
        selects.append(field_predicate(request.parameter("fieldSelector")))
    target = request.target
    namespace = target.namespace if request.row.namespaced else ""
    return View(namespace=namespace, name=target.name, selects=tuple(selects))


class _Stream:
    """One watcher's connection."""

    def __init__(self, registry: Registry, request: ApiRequest, renderer: Renderer, view: View) -> None:
        self._registry = registry
        self._request = request
        self._renderer = renderer
        self._view = view
        self._queue: asyncio.Queue[WatchEvent | None] = asyncio.Queue(BACKLOG)
        self._told_columns = False
        self._version = registry.store.version

    async def run(self, response: web.StreamResponse, version: int) -> web.StreamResponse:
        """Send events until time is up, the watcher goes or lags."""
        row = self._request.row
        begin = list(self._begin(version))
        stop = self._registry.subscribe(row, self._take)
        try:
            await response.prepare(self._request.http)
            if begin:
                await response.write(b"".join(begin))
            seconds = self._request.number("timeoutSeconds") or random.uniform(1800, 3600)
            async with asyncio.timeout(seconds):
                await self._follow(response)
        except TimeoutError:
            if self._request.flag("allowWatchBookmarks"):
                await response.write(self._bookmark())
        finally:
            stop()
        await response.write_eof()
        return response

    def _begin(self, version: int) -> Iterator[bytes]:
        """Give what is known already: the state, or what happened since a version; raises StatusError(410)."""
        initial = self._request.parameter("sendInitialEvents")
        if initial == "true" or (initial != "false" and version == 0):
            for obj in self._registry.list(self._request.row):
                if self._view.holds(obj):
                    yield self._line("ADDED", obj)
        elif version:
            for event in self._registry.store.log(self._request.row.key).since(version):
                yield from self._lines(event)
        if initial == "true" and self._request.flag("allowWatchBookmarks"):
            yield self._bookmark({"k8s.io/initial-events-end": "true"})

    def _take(self, event: WatchEvent) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self._queue.put_nowait(None)
        else:
            self._queue.put_nowait(event)

    async def _follow(self, response: web.StreamResponse) -> None:
        bookmarks = self._request.flag("allowWatchBookmarks")
        while True:
            try:
                async with asyncio.timeout(BOOKMARK_EVERY if bookmarks else None):
                    event = await self._queue.get()
            except TimeoutError:
                self._version = self._registry.store.version
                await response.write(self._bookmark())
                continue
            lines: list[bytes] = []
            while True:
                if event is None:
                    error = expired("the watcher reads too slowly, list and watch anew").status()
                    await response.write(msgspec.json.encode({"type": "ERROR", "object": error}) + b"\n")
                    return
                lines += self._lines(event)
                self._version = event.version
                if self._queue.empty():
                    break
                event = self._queue.get_nowait()
            if lines:
                await response.write(b"".join(lines))

    def _lines(self, event: WatchEvent) -> Iterator[bytes]:
        seen = self._view.event(event)
        if seen is not None:
            yield self._line(*seen)

    def _line(self, type_: str, obj: Object) -> bytes:
        shown: Any = self._renderer.plain(obj)
        if self._renderer.form.as_ == TABLE:
            shown = self._renderer.one(obj)
            if self._told_columns:
                shown["columnDefinitions"] = None
            self._told_columns = True
        return msgspec.json.encode({"type": type_, "object": shown}) + b"\n"

    def _bookmark(self, annotations: Object | None = None) -> bytes:
        row = self._request.row
        metadata: Object = {"resourceVersion": str(self._version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        api_version = f"{row.group}/{self._request.target.version}".lstrip("/")
        obj: Object = {"kind": row.kind, "apiVersion": api_version, "metadata": metadata}
        if self._renderer.form.as_ == TABLE:
            partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
            obj = self._renderer.many([], {"resourceVersion": str(self._version)}) | {
                "rows": [{"cells": [""], "object": partial}],
                "columnDefinitions": None,
            }
        elif self._renderer.form.as_:
            obj = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"
