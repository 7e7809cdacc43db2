"""The queue and the workers every loop shares.

In: keys (namespace, name) of what may need work. Out: calls of one function, never two at a time for the same key, again when it asks for
that or was refused. This is the supervisor of every loop: an unexpected error is logged, and its key is tried again later.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from devcluster.api.calls import Call
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.users import User

_LOG = logging.getLogger(__name__)
_WORKERS: Final = 6
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 15.0
Object = dict[str, Any]
Key = tuple[str, str]
Reconcile = Callable[[str, str], Awaitable[float | None]]
"""Works on a key; a number asks to be called again after so many seconds."""


class Loop:
    """A work queue and its workers."""

    def __init__(self, name: str, reconcile: Reconcile) -> None:
        self._name = name
        self._reconcile = reconcile
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, namespace: str, name: str) -> None:
        """Work on a key soon."""
        key = namespace, name
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    def later(self, key: Key, seconds: float) -> None:
        """Work on a key after a while, or sooner when asked meanwhile."""
        former = self._timers.pop(key, None)
        if former is not None:
            former.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._due, key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(*key)

    def follow(self, registry: Registry, kind: str, keys: Callable[[Object], Iterable[Key]] | None = None) -> None:
        """Work on the keys an object stands for (its own by default), now and whenever it changes."""
        found = keys or (lambda obj: [key_of(obj)])

        def add(obj: Object | None) -> None:
            for key in found(obj) if obj is not None else ():
                self.add(*key)

        def changed(event: Any) -> None:
            add(event.object)
            if event.old is not None and event.old is not event.object:
                add(event.old)

        registry.subscribe(kind, changed)
        for obj in registry.list(kind):
            add(obj)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_WORKERS):
                    group.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            self._active.add(key)
            try:
                delay = await self._once(key)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(*key)
            elif delay is not None:
                self.later(key, delay)

    async def _once(self, key: Key) -> float | None:
        try:
            delay = await self._reconcile(*key)
        except StatusError as refused:
            if refused.code not in {404, 409}:
                _LOG.warning("%s: %s/%s: %s", self._name, *key, refused)
        except Exception:  # noqa: BLE001 - a supervisor: one failure must not end the others
            _LOG.exception("%s: %s/%s met an unexpected error", self._name, *key)
        else:
            self._failures.pop(key, None)
            return delay
        count = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(_FIRST_DELAY * 2 ** (count - 1), _LONGEST_DELAY))


def key_of(obj: Object) -> Key:
    """Give an object's own key."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def controller(name: str) -> Call:
    """Who a loop acts as."""
    groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated", "system:masters")
    return Call(user=User(name=f"system:serviceaccount:kube-system:{name}", groups=groups))


def find(registry: Registry, kind: str, namespace: str, name: str) -> Object | None:
    """Read an object; None when it is not there."""
    try:
        return registry.get(kind, namespace, name)
    except StatusError:
        return None


async def tell(registry: Registry, kind: str, obj: Object, status: Object) -> None:
    """Write an object's status unless it says the same already."""
    if (obj.get("status") or {}) == status:
        return
    changed = copy.deepcopy(obj)
    changed["status"] = status
    changed["metadata"].pop("resourceVersion", None)
    await registry.update(kind, changed, subresource="status")
