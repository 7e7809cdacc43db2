"""The verbs on objects: get, list, create, update, patch, delete, deletecollection.

In: `ApiRequest`. Out: answers. What a verb means is the registry's; here are only the parameters of HTTP.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from devcluster.api.bodies import media_type, patch_kind, read
from devcluster.api.calls import Call, Patch, PatchKind
from devcluster.api.errors import Object, StatusError, bad_request, expired, not_found
from devcluster.api.registry import Registry
from devcluster.api.requests import ApiRequest, respond
from devcluster.api.scale import to_scale
from devcluster.api.watching import check_version, watch


class Verbs:
    """Answers requests on objects."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def answer(self, request: ApiRequest) -> web.StreamResponse:
        """Do what the request's verb says."""
        match request.target.verb:
            case "get":
                return self._get(request)
            case "list":
                return self._list(request)
            case "watch":
                return await watch(self._registry, request)
            case "create":
                return await self._create(request)
            case "update":
                return await self._update(request)
            case "patch":
                return await self._patch(request)
            case "delete":
                return await self._delete(request)
            case _:
                return await self._delete_all(request)

    def _get(self, request: ApiRequest) -> web.Response:
        target = request.target
        found = self._registry.get(request.row, target.namespace, target.name)
        return request.answer(to_scale(request.row, found) if target.subresource == "scale" else found)

    def _list(self, request: ApiRequest) -> web.Response:
        renderer = request.renderer()
        version = str(self._registry.store.version)
        objects = self._registry.list(
            request.row,
            request.target.namespace if request.row.namespaced else "",
            labels=request.parameter("labelSelector"),
            fields=request.parameter("fieldSelector"),
        )
        check_version(self._registry, request)
        token = request.parameter("continue")
        if token:
            version, after = _read_token(token)
            if int(version) < self._registry.store.log(request.row.key).compacted:
                raise expired("The provided continue parameter is too old to display a consistent list result.")
            objects = [obj for obj in objects if _place(obj) > after]
        metadata: Object = {"resourceVersion": version}
        limit = request.number("limit") or 0
        if 0 < limit < len(objects):
            metadata["continue"] = _token(version, objects[limit - 1])
            if not request.parameter("labelSelector") and not request.parameter("fieldSelector"):
                metadata["remainingItemCount"] = len(objects) - limit
            objects = objects[:limit]
        return respond(renderer.many(objects, metadata), renderer.form)

    async def _create(self, request: ApiRequest) -> web.Response:
        obj = _placed(request, await request.body())
        call = request.call()
        created = await self._registry.create(request.row, obj, user=call)
        return request.answer(created, 201, call.warnings)

    async def _update(self, request: ApiRequest) -> web.Response:
        target = request.target
        obj = _placed(request, await request.body())
        if obj["metadata"].setdefault("name", target.name) != target.name:
            named = obj["metadata"]["name"]
            said = f"the name of the object ({named}) does not match the name on the URL ({target.name})"
            raise bad_request(said)
        call = request.call()
        stored = await self._registry.update(request.row, obj, subresource=target.subresource, user=call)
        return request.answer(stored, 200, call.warnings)

    async def _patch(self, request: ApiRequest) -> web.Response:
        target = request.target
        content_type = request.http.headers.get("content-type", "")
        kind = patch_kind(content_type)
        if kind is PatchKind.APPLY and not request.parameter("fieldManager"):
            said = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            raise StatusError(422, "Invalid", said)
        patch = Patch(kind=kind, body=read(await request.data(), media_type(content_type)), force=request.flag("force"))
        call = request.call()
        there = self._registry.store.get(request.row.key, target.namespace, target.name) is not None
        stored = await self._registry.patch(
            request.row, target.namespace, target.name, patch, subresource=target.subresource, user=call
        )
        return request.answer(stored, 200 if there else 201, call.warnings)

    async def _delete(self, request: ApiRequest) -> web.Response:
        target, row = request.target, request.row
        options = await _delete_options(request)
        call = replace(request.call(), dry_run=request.dry_run(options))
        uid = self._registry.get(row, target.namespace, target.name)["metadata"]["uid"]
        last = await self._registry.delete(row, target.namespace, target.name, options=options, user=call)
        left = self._registry.store.get(row.key, target.namespace, target.name)
        if left is not None and left["metadata"]["uid"] == uid and left["metadata"].get("deletionTimestamp"):
            return request.answer(last, 200, call.warnings)
        details = {"name": target.name, "group": row.group, "kind": row.plural, "uid": uid}
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return request.answer(done, 200, call.warnings)

    async def _delete_all(self, request: ApiRequest) -> web.Response:
        row, renderer = request.row, request.renderer()
        options = await _delete_options(request)
        call = replace(request.call(), dry_run=request.dry_run(options))
        objects = self._registry.list(
            row,
            request.target.namespace,
            labels=request.parameter("labelSelector"),
            fields=request.parameter("fieldSelector"),
        )
        gone = [last for obj in objects if (last := await self._delete_one(request, obj, options, call))]
        metadata = {"resourceVersion": str(self._registry.store.version)}
        return respond(renderer.many(gone, metadata), renderer.form)

    async def _delete_one(self, request: ApiRequest, obj: Object, options: Object, call: Call) -> Object | None:
        metadata = obj["metadata"]
        try:
            return await self._registry.delete(
                request.row, metadata.get("namespace", ""), metadata["name"], options=options, user=call
            )
        except StatusError as error:
            if error.code == 404:
                return None
            raise


def _placed(request: ApiRequest, obj: Any) -> Object:
    """Put a body into the namespace of its URL; raises StatusError(400)."""
    if not isinstance(obj, dict) or not isinstance(obj.setdefault("metadata", {}), dict):
        raise bad_request(f"the body must be an object of kind {request.row.kind}")
    if not request.row.namespaced or request.target.subresource == "scale":
        obj["metadata"].setdefault("namespace", request.target.namespace)
        return obj
    if not request.target.namespace:
        raise not_found(request.row.group, request.row.plural, obj["metadata"].get("name", ""))
    if obj["metadata"].setdefault("namespace", request.target.namespace) != request.target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return obj


async def _delete_options(request: ApiRequest) -> Object:
    data = await request.data()
    options = read(data, request.http.headers.get("content-type", "")) if data.strip() else {}
    if not isinstance(options, dict):
        raise bad_request("the body of a delete must be DeleteOptions")
    options = {key: value for key, value in options.items() if value is not None}
    grace = options.get("gracePeriodSeconds", 0)
    if not isinstance(options.get("preconditions", {}), dict) or not isinstance(grace, int):
        raise bad_request("preconditions of DeleteOptions must be an object, gracePeriodSeconds a number")
    asked = request.number("gracePeriodSeconds")
    if asked is not None:
        options["gracePeriodSeconds"] = asked
    if request.parameter("propagationPolicy"):
        options["propagationPolicy"] = request.parameter("propagationPolicy")
    policy = options.get("propagationPolicy")
    if policy not in {None, "", "Orphan", "Background", "Foreground"}:
        known = 'supported values: "Foreground", "Background", "Orphan", null'
        said = f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}": {known}'
        raise StatusError(422, "Invalid", said)
    return options


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _token(version: str, last: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *_place(last)]).encode()).decode()


def _read_token(token: str) -> tuple[str, tuple[str, str]]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return str(int(version)), (namespace, name)
    except ValueError as error:
        raise bad_request("continue key is not valid: it is none this server gave") from error
