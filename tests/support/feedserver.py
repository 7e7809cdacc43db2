"""An API server without sockets, as the feed's client meets it: lists in pages, watches that break in every way, definitions that change.

Objects are kept with the log of what became of them; whoever watches is told from the log, when it is let. Time is the loop's.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.feed.kinds import DEFINITION, FEED, Kind
from controlplane.kube.client import ApiError

PAGE = 1
Place = tuple[str, str]


class FeedServer:
    """The objects by kind, and the troubles."""

    def __init__(self) -> None:
        self.kinds = {kind.plural: kind for kind in (*FEED, DEFINITION)}
        self.objects: dict[str, dict[Place, dict[str, Any]]] = {plural: {} for plural in self.kinds}
        self.version = 100
        self.log: list[tuple[int, str, str, dict[str, Any]]] = []
        self.kept: dict[str, int] = dict.fromkeys(self.kinds, 0)
        """Watches of a kind from before this version are 410 Gone."""
        self.served: dict[str, tuple[str, ...]] = {kind.plural: kind.versions[:1] for kind in FEED if not kind.custom}
        self.broken: set[str] = set()
        """Kinds that can be neither listed nor watched."""
        self.held: set[str] = set()
        """Kinds whose watches say nothing for now."""
        self.forgetful: set[str] = set()
        """Kinds of which the rest of a list is gone when it is asked for."""
        self.cuts = 0
        self._news = asyncio.Event()

    def put(self, plural: str, obj: dict[str, Any]) -> None:
        """Create or change an object."""
        metadata = obj["metadata"]
        place = str(metadata.get("namespace") or ""), str(metadata["name"])
        known = place in self.objects[plural]
        self.objects[plural][place] = made = copy.deepcopy(obj)
        self._log("MODIFIED" if known else "ADDED", plural, made)

    def delete(self, plural: str, place: Place) -> None:
        """Delete an object, if it is there."""
        gone = self.objects[plural].pop(place, None)
        if gone is not None:
            self._log("DELETED", plural, copy.deepcopy(gone))

    def define(self, kind: Kind, versions: tuple[str, ...]) -> None:
        """Serve a custom kind in these versions; in none, it is uninstalled with all its objects, and no watch tells of those."""
        self.served[kind.plural] = versions
        if not versions:
            self.objects[kind.plural].clear()
            self.cut()
            self.delete(DEFINITION.plural, ("", kind.definition))
            return
        listed = [{"name": version, "served": True} for version in versions]
        definition = {
            "metadata": {"name": kind.definition},
            "spec": {"versions": listed},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        }
        self.put(DEFINITION.plural, definition)

    def cut(self) -> None:
        """End all watches."""
        self.cuts += 1
        self.wake()

    def forget(self, plural: str) -> None:
        """Compact: what happened to a kind until now is told to no watch."""
        self.kept[plural] = self.version

    def wake(self) -> None:
        """Have watches look."""
        self._news.set()
        self._news = asyncio.Event()

    def _log(self, type_: str, plural: str, obj: dict[str, Any]) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, type_, plural, copy.deepcopy(obj)))
        self.wake()

    # The client's side: what a Reflector asks of a Cluster.
    async def pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[bytes]:
        """List, a page at a time."""
        plural = self._asked(path)
        name = params.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [obj for place, obj in sorted(self.objects[plural].items()) if not name or place[1] == name]
        version = str(self.version)
        for start in range(0, max(len(found), 1), PAGE):
            if start and plural in self.forgetful:
                raise ApiError(410, "Expired", "the provided continue parameter is too old")
            page = {"items": found[start : start + PAGE], "metadata": {"resourceVersion": version}}
            yield json.dumps(page).encode()
            await asyncio.sleep(0)
            self._asked(path)

    async def pause(self, seconds: float) -> None:
        """Wait; it is never out of reach."""
        await asyncio.sleep(seconds)

    async def watch(self, path: str, params: Mapping[str, str], _silence: float) -> AsyncIterator[bytes]:
        """Tell what happened since a version, until all watches end."""
        plural, cuts, sent = self._asked(path), self.cuts, int(params["resourceVersion"])
        name = params.get("fieldSelector", "").removeprefix("metadata.name=")
        yield b""
        if sent < self.kept[plural]:
            yield _event("ERROR", {"code": 410, "reason": "Expired", "message": "too old resource version"})
            return
        while cuts == self.cuts:
            news = self._news
            for at, type_, of, obj in [] if plural in self.held else self.log[:]:
                if at > sent and of == plural and (not name or obj["metadata"]["name"] == name):
                    sent = at
                    yield _event(type_, obj)
                    if cuts != self.cuts:
                        return
            await news.wait()

    def _asked(self, path: str) -> str:
        *_, version, plural = path.split("/")
        if plural in self.broken:
            raise ApiError(500, "InternalError", "conversion webhook failed")
        if plural != DEFINITION.plural and version not in self.served.get(plural, ()):
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return plural


def _event(type_: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode()
