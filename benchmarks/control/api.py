"""A lean Kubernetes API over loopback: lists in pages, watches, a few small objects that are written, TokenReview.

In: a `World`. Out: an HTTP server that a control plane finds by KUBECONFIG. Watches are never ended by it; it refuses what it does not know with 404. It checks
nothing, and says of every token that it is good: `<namespace>.<pod>.<account>` is what one looks like here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from benchmarks.control.world import GROUPS, World
from devcluster.api.errors import StatusError
from devcluster.api.patches import json_patch, merge_patch
from meshapi import names

Object = dict[str, Any]


class Api:
    """The HTTP face of a world, for one control plane."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.url = ""
        self.sent = 0
        """Bytes of lists and watches so far."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever is asked."""
        path = request.path
        if path == "/version":
            return web.json_response({"major": "1", "minor": "36"})
        if path == "/apis/authentication.k8s.io/v1/tokenreviews":
            return web.json_response({"status": _reviewed((await request.json())["spec"]["token"])}, status=201)
        parts = path.strip("/").split("/")
        api, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if not rest:
            return _discovery(path)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural = rest[0]
        if plural not in GROUPS.get(api, {}):
            return _status(404, "NotFound", f"there is no {plural} of {api}")
        if len(rest) > 1:
            return await self._one(request, plural, namespace, rest[1])
        if request.method == "POST":
            body = await request.json()
            body["metadata"].setdefault("namespace", namespace)
            return _json(self._world.put(plural, body), 201)
        if "watch" in request.query:
            return await self._watch(request, plural)
        return self._list(request, api, plural)

    def _list(self, request: web.Request, api: str, plural: str) -> web.Response:
        selection = Selection(request)
        keys = [key for key in self._world.keys(plural) if selection.names(key[1])]
        if selection.looks:
            keys = [key for key in keys if selection.holds(self._world.written(plural, key))]
        start = int(request.query.get("continue") or 0)
        limit = int(request.query.get("limit") or len(keys) or 1)
        items = b",".join(self._world.written(plural, key) for key in keys[start : start + limit])
        token = f'"continue":"{start + limit}",' if start + limit < len(keys) else ""
        kind = GROUPS[api][plural][0]
        head = f'{{"kind":"{kind}List","apiVersion":"{api}","metadata":{{{token}"resourceVersion":"{self._world.version}"}},"items":['
        body = head.encode() + items + b"]}"
        self.sent += len(body)
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        selection, held = Selection(request), set[str]()
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        since = int(request.query.get("resourceVersion") or 0)
        with self._world.watched(plural, since) as queue, contextlib.suppress(ConnectionError):
            while True:
                name, line = await queue.get()
                if not selection.names(name):
                    continue
                if selection.holds(line):
                    held.add(name)
                elif name in held:
                    held.discard(name)
                    line = line.replace(b'"MODIFIED"', b'"DELETED"', 1)
                else:
                    continue
                self.sent += len(line)
                await response.write(line)
        return response

    async def _one(self, request: web.Request, plural: str, namespace: str, name: str) -> web.Response:
        old = self._world.get(plural, namespace, name)
        if request.method == "GET":
            return _json(old) if old is not None else _status(404, "NotFound", f"{plural} {name!r} not found")
        body = await request.json()
        if request.method == "PUT" or old is None:
            body["metadata"].setdefault("namespace", namespace)
            return _json(self._world.put(plural, body))
        if isinstance(body, list):
            try:
                return _json(self._world.put(plural, json_patch(old, body)))
            except StatusError as error:
                return _json(error.status(), error.code)
        given = body.get("metadata", {}).get("resourceVersion")
        if given and given != old["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        return _json(self._world.put(plural, merge_patch(old, body)))


class Selection:
    """Which objects are asked for: one by its name, those that carry a label, those that do not run; as far as anybody here asks."""

    def __init__(self, request: web.Request) -> None:
        label, _, value = request.query.get("labelSelector", "").partition("=")
        self._label = f'"{label}":"{value}"'.encode() if label else b""
        field = request.query.get("fieldSelector", "")
        self._unsettled = field == "status.phase!=Running"
        self._only = field.removeprefix("metadata.name=") if not self._unsettled else ""
        self.looks = bool(self._label) or self._unsettled
        """Whether objects have to be looked at."""

    def names(self, name: str) -> bool:
        """Tell whether an object of this name may be meant."""
        return not self._only or name == self._only

    def holds(self, obj: bytes) -> bool:
        """Tell whether an object, as it is written, is meant."""
        return (not self._label or self._label in obj) and not (self._unsettled and b'"phase":"Running"' in obj)


def _reviewed(token: str) -> Object:
    namespace, pod, account = token.split(".")
    extra = {"authentication.kubernetes.io/pod-name": [pod]}
    user = {"username": f"system:serviceaccount:{namespace}:{account}", "extra": extra}
    return {"authenticated": True, "audiences": [names.TOKEN_AUDIENCE], "user": user}


def _discovery(path: str) -> web.Response:
    if path == "/api":
        return web.json_response({"versions": ["v1"]})
    groups = sorted(api for api in GROUPS if "/" in api)
    listed = [
        {
            "name": api.partition("/")[0],
            "versions": [{"groupVersion": api, "version": api.partition("/")[2]}],
            "preferredVersion": {"groupVersion": api, "version": api.partition("/")[2]},
        }
        for api in groups
    ]
    if path == "/apis":
        return web.json_response({"groups": listed})
    named = path.removeprefix("/apis/").removeprefix("/api/")
    for one in listed:
        if one["name"] == named:
            return web.json_response(one)
    if named not in GROUPS:
        return _status(404, "NotFound", f"there is no {named}")
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
        for plural, (kind, namespaced) in GROUPS[named].items()
    ]
    return web.json_response({"groupVersion": named, "resources": resources})


def _json(obj: Object, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(obj).encode(), status=status, content_type="application/json")


def _status(code: int, reason: str, message: str) -> web.Response:
    return _json({"kind": "Status", "code": code, "reason": reason, "message": message}, code)


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Api]:
    """Serve on a free port of the loopback."""
    api, app = Api(world), web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()
