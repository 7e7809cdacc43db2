"""Events: what happened to an object, in the words users look for.

In: an object, a reason and a sentence. Out: an Event; the same one said again counts up instead. Saying never waits and never fails:
events go through a queue, and one that cannot be stored is dropped. The oldest are forgotten when there are too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry

_KEPT: Final = 1000
Object = dict[str, Any]
_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    about: Object
    reason: str
    message: str
    warning: bool
    path: str

    @property
    def key(self) -> _Key:
        return self.about["metadata"].get("uid", ""), self.path, self.reason, self.message


class Recorder:
    """Records events as one component."""

    def __init__(self, registry: Registry, component: str, host: str = "") -> None:
        self._registry = registry
        self._component = component
        self._host = host
        self._queue: asyncio.Queue[_Said] = asyncio.Queue()
        self._stored: OrderedDict[_Key, tuple[str, str]] = OrderedDict()

    def say(self, about: Object, reason: str, message: str, *, warning: bool = False, path: str = "") -> None:
        """Record that something happened; `path` names the part of the object it happened to."""
        self._queue.put_nowait(_Said(about=about, reason=reason, message=message, warning=warning, path=path))

    async def run(self) -> None:
        """Store what is said, until cancelled."""
        while True:
            said = await self._queue.get()
            with contextlib.suppress(StatusError):
                await self._store(said)

    async def _store(self, said: _Said) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if place := self._stored.get(said.key):
            with contextlib.suppress(StatusError):
                event = copy.deepcopy(self._registry.get("events", *place))
                event |= {"count": event["count"] + 1, "lastTimestamp": stamp}
                await self._registry.update("events", event)
                return
        event = self._event(said, stamp)
        self._stored[said.key] = (event["metadata"]["namespace"], event["metadata"]["name"])
        await self._registry.create("events", event)
        while len(self._stored) > _KEPT:
            _, place = self._stored.popitem(last=False)
            await self._registry.delete("events", *place)

    def _event(self, said: _Said, stamp: str) -> Object:
        metadata = said.about["metadata"]
        involved = {
            "apiVersion": said.about.get("apiVersion", "v1"),
            "kind": said.about.get("kind", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        namespace = metadata.get("namespace") or "default"
        if "namespace" in metadata:
            involved["namespace"] = metadata["namespace"]
        if said.path:
            involved["fieldPath"] = said.path
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": involved,
            "type": "Warning" if said.warning else "Normal",
            "reason": said.reason,
            "message": said.message,
            "source": {"component": self._component} | ({"host": self._host} if self._host else {}),
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
