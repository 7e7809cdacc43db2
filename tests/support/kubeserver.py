"""A Kubernetes API in memory, just enough of it for the control plane's own client and for kopf: lists in chunks, watches, patches, TokenReview.

Its knobs are the failures worth testing: answers to fail, watches to cut, versions to forget.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from controlplane.kube.connect import Connection
from devcluster.api.selectors import field_predicate, label_predicate

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


GATEWAY = "gateway.networking.k8s.io"
KINDS = (
    Kind(group="", version="v1", plural="pods", kind="Pod"),
    Kind(group="", version="v1", plural="services", kind="Service"),
    Kind(group="", version="v1", plural="secrets", kind="Secret"),
    Kind(group="", version="v1", plural="configmaps", kind="ConfigMap"),
    Kind(group="", version="v1", plural="events", kind="Event"),
    Kind(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False),
    Kind(group="", version="v1", plural="nodes", kind="Node", namespaced=False),
    Kind(group="discovery.k8s.io", version="v1", plural="endpointslices", kind="EndpointSlice"),
    Kind(group="apps", version="v1", plural="deployments", kind="Deployment"),
    Kind(group="apps", version="v1", plural="statefulsets", kind="StatefulSet"),
    Kind(group="apps", version="v1", plural="daemonsets", kind="DaemonSet"),
    Kind(group="argoproj.io", version="v1alpha1", plural="rollouts", kind="Rollout"),
    Kind(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease"),
    Kind(
        group="apiextensions.k8s.io",
        version="v1",
        plural="customresourcedefinitions",
        kind="CustomResourceDefinition",
        namespaced=False,
    ),
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        plural="mutatingwebhookconfigurations",
        kind="MutatingWebhookConfiguration",
        namespaced=False,
    ),
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        plural="validatingwebhookconfigurations",
        kind="ValidatingWebhookConfiguration",
        namespaced=False,
    ),
)
CUSTOM = (
    Kind(group=GATEWAY, version="v1", plural="httproutes", kind="HTTPRoute"),
    Kind(group="tulle.dev", version="v1alpha1", plural="peerauthentications", kind="PeerAuthentication"),
    Kind(group="tulle.dev", version="v1alpha1", plural="meshes", kind="Mesh", namespaced=False),
)
TCP_ROUTE = Kind(group=GATEWAY, version="v1", plural="tcproutes", kind="TCPRoute")


@dataclass(frozen=True, slots=True)
class Event:
    """What an object was and is, after a change."""

    version: int
    plural: str
    old: Object | None
    new: Object | None

    def seen(self, wanted: Callable[[Object], bool]) -> tuple[str, Object] | None:
        """What somebody is told who selects: an object that leaves the selection is gone to them, one that comes into it new."""
        before = self.old is not None and wanted(self.old)
        if self.new is not None and wanted(self.new):
            return "MODIFIED" if before else "ADDED", self.new
        if self.old is None or not before:
            return None
        metadata = {**self.old["metadata"], "resourceVersion": str(self.version)}
        return "DELETED", {**self.old, "metadata": metadata}


class KubeServer:
    """The objects, by kind, namespace and name, and everybody who watches."""

    def __init__(self) -> None:
        self.kinds = {(kind.api, kind.plural): kind for kind in KINDS}
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.version = 100
        self.oldest = 0
        """Watches from before this version are 410 Gone."""
        self.log: list[Event] = []
        self.requests: list[tuple[str, str]] = []
        self.failing: dict[tuple[str, str], int] = {}
        """(method, path) -> status to fail with."""
        self.slow: set[str] = set()
        """Paths that are not answered."""
        self.review: Callable[[str], Object] = lambda token: {"authenticated": False, "error": "unknown"}
        self.connection = Connection(server="")
        self.forgetful = False
        """Whether the rest of a list is gone when it is asked for."""
        self._watchers: set[asyncio.Queue[Event | None]] = set()
        for kind in CUSTOM:
            self.define(kind, kind.version)

    def define(self, kind: Kind, *versions: str, also: tuple[str, ...] = ()) -> None:
        """Install a kind, or change the versions it is served in; those of `also` are defined and not served."""
        self.kinds = {key: one for key, one in self.kinds.items() if one.plural != kind.plural}
        for version in versions:
            self.kinds[f"{kind.group}/{version}", kind.plural] = replace(kind, version=version)
        listed = [{"name": name, "served": name in versions, "schema": {}} for name in (*versions, *also)]
        self.put(
            {
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{kind.plural}.{kind.group}"},
                "spec": {
                    "group": kind.group,
                    "scope": "Namespaced" if kind.namespaced else "Cluster",
                    "names": {"plural": kind.plural, "kind": kind.kind},
                    "versions": listed,
                },
                "status": {"conditions": [{"type": "Established", "status": "True"}]},
            }
        )

    def undefine(self, plural: str) -> None:
        """Uninstall a kind, and all objects of it; its watches end before they could tell."""
        self.objects = {key: obj for key, obj in self.objects.items() if key[0] != plural}
        kind = next(one for one in self.kinds.values() if one.plural == plural)
        self.kinds = {key: one for key, one in self.kinds.items() if one.plural != plural}
        self.delete("customresourcedefinitions", "", f"{plural}.{kind.group}")

    def put(self, obj: Object) -> Object:
        """Create or replace an object, as if somebody else did."""
        kind = next(k for k in self.kinds.values() if k.kind == obj["kind"])
        key = (kind.plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        new = copy.deepcopy(obj)
        self.version += 1
        new["apiVersion"] = kind.api
        new["metadata"]["resourceVersion"] = str(self.version)
        old = self.objects.get(key)
        if old is None or old.get("spec") != new.get("spec"):
            new["metadata"]["generation"] = (old or {"metadata": {}})["metadata"].get("generation", 0) + 1
        self.objects[key] = new
        self._tell(kind.plural, old, new)
        return new

    def delete(self, plural: str, namespace: str, name: str) -> None:
        self.version += 1
        gone = self.objects.pop((plural, namespace, name))
        self._tell(plural, gone, None)

    def delete_unseen(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object while all watches are down, and compact: no watch will ever tell."""
        self.version += 1
        del self.objects[plural, namespace, name]
        self.forget()
        self.cut()

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((plural, namespace, name))

    def cut(self) -> None:
        """End all watches."""
        for watcher in self._watchers:
            watcher.put_nowait(None)

    def forget(self) -> None:
        """Compact: nothing from before now can be watched from."""
        self.oldest = self.version

    def _tell(self, plural: str, old: Object | None, new: Object | None) -> None:
        event = Event(self.version, plural, copy.deepcopy(old), copy.deepcopy(new))
        self.log.append(event)
        for watcher in self._watchers:
            watcher.put_nowait(event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if request.path in self.slow:
            await asyncio.sleep(3600)
        failing = self.failing.get((request.method, request.path))
        if failing:
            return _status(failing, "Failing", "told to fail")
        if request.path == "/version":
            return web.json_response({"major": "1", "minor": "31+"})
        if request.path == "/apis/authentication.k8s.io/v1/tokenreviews":
            return web.json_response({"status": self.review((await request.json())["spec"]["token"])}, status=201)
        parts = request.path.strip("/").split("/")
        api, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if not rest:
            return self._discovery(request.path)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = self.kinds.get((api, rest[0]))
        if kind is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        if len(rest) == 1:
            return await self._collection(request, kind, namespace)
        return await self._object(request, kind, (kind.plural, namespace, rest[1]), rest[2] if len(rest) > 2 else "")

    def _discovery(self, path: str) -> web.Response:
        groups: dict[str, list[Object]] = {}
        for group, version in sorted({(kind.group, kind.version) for kind in self.kinds.values() if kind.group}):
            groups.setdefault(group, []).append({"groupVersion": f"{group}/{version}", "version": version})
        listed = [
            {"name": group, "versions": versions, "preferredVersion": versions[0]} for group, versions in groups.items()
        ]
        if path == "/api":
            return web.json_response({"versions": ["v1"]})
        if path == "/apis":
            return web.json_response({"groups": listed})
        named = path.removeprefix("/apis/").removeprefix("/api/")
        found = [one for one in listed if one["name"] == named]
        if found:
            return web.json_response(found[0])
        resources = [
            {
                "name": kind.plural,
                "singularName": kind.kind.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
            }
            for kind in self.kinds.values()
            if kind.api == named
        ]
        if not resources:
            return _status(404, "NotFound", "the server could not find the requested resource")
        return web.json_response({"groupVersion": named, "resources": resources})

    async def _collection(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        if request.method == "POST":
            body = await request.json()
            key = (kind.plural, namespace, body["metadata"]["name"])
            if key in self.objects:
                return _status(409, "AlreadyExists", "already exists")
            body["metadata"].setdefault("namespace", namespace)
            return web.json_response(self.put(body), status=201)
        fields, labels = request.query.get("fieldSelector"), request.query.get("labelSelector")
        selects = [field_predicate(fields)] if fields else []
        selects += [label_predicate(labels)] if labels else []

        def wanted(obj: Object) -> bool:
            within = not namespace or obj["metadata"].get("namespace") == namespace
            return within and all(select(obj) for select in selects)

        if "watch" in request.query:
            return await self._watch(request, kind, wanted)
        found = [obj for (plural, _, _), obj in sorted(self.objects.items()) if plural == kind.plural and wanted(obj)]
        if self.forgetful and "continue" in request.query:
            return _status(410, "Expired", "the provided continue parameter is too old")
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or len(found) or 1)
        more = {"continue": str(start + limit)} if start + limit < len(found) else {}
        items = [
            {k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}} for obj in found[start : start + limit]
        ]
        listed = {"kind": f"{kind.kind}List", "apiVersion": kind.api, "items": items}
        return web.json_response(listed | {"metadata": {"resourceVersion": str(self.version), **more}})

    async def _watch(self, request: web.Request, kind: Kind, wanted: Callable[[Object], bool]) -> web.StreamResponse:
        since = int(request.query.get("resourceVersion") or 0)
        if since > self.version:
            return _status(504, "Timeout", f"Too large resource version: {since}, current: {self.version}")
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)

        async def send(type_: str, obj: Object) -> None:
            await response.write(json.dumps({"type": type_, "object": obj}).encode() + b"\n")

        if since < self.oldest:
            await send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
            return response
        for event in self.log:
            if event.version > since:
                queue.put_nowait(event)
        self._watchers.add(queue)
        try:
            if queue.empty():
                await send("BOOKMARK", {"kind": kind.kind, "metadata": {"resourceVersion": str(self.version)}})
            while (event := await queue.get()) is not None:
                seen = event.seen(wanted) if event.plural == kind.plural else None
                if seen is not None:
                    await send(*seen)
        except ConnectionError:
            pass
        finally:
            self._watchers.discard(queue)
        return response

    async def _object(self, request: web.Request, kind: Kind, key: tuple[str, str, str], sub: str) -> web.Response:
        old = self.objects.get(key)
        if request.method == "GET":
            return (
                web.json_response(old | {"apiVersion": kind.api})
                if old
                else _status(404, "NotFound", f"{kind.plural} {key[2]!r} not found")
            )
        body = await request.json()
        if old is None:
            if request.content_type != "application/apply-patch+yaml":
                return _status(404, "NotFound", f"{kind.plural} {key[2]!r} not found")
            return web.json_response(self.put(body))
        given = body.get("metadata", {}).get("resourceVersion") if isinstance(body, dict) else None
        if given and given != old["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        if request.method == "PUT":
            new = body
        elif request.content_type == "application/json-patch+json":
            new = copy.deepcopy(old)
            for step in body:
                _step(new, step)
        else:
            new = _merged(old, body)
        if kind.group in {GATEWAY, "tulle.dev"} and sub != "status":
            new["status"] = old.get("status")
        return web.json_response(self.put({**new, "kind": kind.kind}))


def _step(obj: Any, step: Object) -> None:
    *path, last = step["path"].strip("/").split("/")
    for part in path:
        obj = obj[int(part)] if isinstance(obj, list) else obj[part]
    if step["op"] == "remove":
        del obj[int(last) if isinstance(obj, list) else last]
    elif step["op"] == "test":
        assert obj[last] == step["value"]
    else:
        obj[last] = step["value"]


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = _merged(new.get(key), value)
    return new


def _status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


@asynccontextmanager
async def kube_server() -> AsyncIterator[KubeServer]:
    """Serve on a free port of the loopback."""
    kube = KubeServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", kube.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kube.connection = Connection(server=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield kube
    finally:
        kube.cut()
        with contextlib.suppress(TimeoutError):
            await runner.cleanup()
