"""The served kinds as OpenAPI, so that kubectl explains, validates and completes them.

In: the served resources, and the validator, which knows every schema. Out: the index and the group documents of OpenAPI v3, made when asked for and
kept until the served kinds change, and a small v2 document. Paths carry what kubectl looks for: kinds, verbs and the `fieldValidation` parameter.
Strategic merge is not advertised: kubectl then uses its own Go types, which are the reference.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from devcluster.api.errors import Object
from devcluster.api.kinds import Resource, Resources
from devcluster.api.shapes import KEYS
from devcluster.schema.fields import Field, Model
from devcluster.schema.validate import Validator

VERSION = "v1.37.0"
GVK = "x-kubernetes-group-version-kind"
V2_PROTOBUF = b"\x0a\x032.0"
"""The v2 document for clients that only take it as protobuf: `swagger: "2.0"` and no definitions, so kubectl goes on to v3 or its own types."""
_META = "V1ObjectMeta"
_PORTS = {"V1Container": "containerPort", "V1EphemeralContainer": "containerPort", "V1ServiceSpec": "port"}
_TYPES: Mapping[str, Object] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int32"},
    "bool": {"type": "boolean"},
    "float": {"type": "number", "format": "double"},
    "datetime": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "object": {"type": "object"},
}


_EITHER: Mapping[str, str] = {
    "int-or-string": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
}
_SHARED: Mapping[str, Object] = {
    _EITHER["int-or-string"]: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    _EITHER["quantity"]: {"oneOf": [{"type": "string"}, {"type": "number"}]},
}
"""Types that are two, in every document."""


class OpenApi:
    """Documents of one server."""

    def __init__(self, resources: Resources, validator: Validator) -> None:
        self._resources = resources
        self._validator = validator
        self._made: dict[str, tuple[str, Object]] = {}

    def index(self) -> Object:
        """`/openapi/v3`."""
        return {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._fingerprint(path)}"}
                for path in dict.fromkeys(path for path, _, _ in self._served())
            }
        }

    def group(self, path: str) -> Object | None:
        """`/openapi/v3/<path>`, None when nothing is served there."""
        fingerprint = self._fingerprint(path)
        kept = self._made.get(path)
        if kept and kept[0] == fingerprint:
            return kept[1]
        rows = [(row, version) for at, row, version in self._served() if at == path]
        if not rows:
            return None
        schemas: Object = dict(_SHARED)
        for row, version in rows:
            schemas |= self._schemas(row, version)
        document = {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": VERSION},
            "paths": {at: item for row, version in rows for at, item in _paths(row, version, path)},
            "components": {"schemas": schemas},
        }
        self._made[path] = (fingerprint, document)
        return document

    def v2(self) -> Object:
        """`/openapi/v2`: the same kinds, old form."""
        definitions: Object = {}
        for path in dict.fromkeys(path for path, _, _ in self._served()):
            definitions |= (self.group(path) or {})["components"]["schemas"]
        text = json.dumps(definitions).replace("#/components/schemas/", "#/definitions/")
        info = {"title": "Kubernetes", "version": VERSION}
        return {"swagger": "2.0", "info": info, "paths": {}, "definitions": json.loads(text)}

    def _served(self) -> Iterator[tuple[str, Resource, str]]:
        for row in self._resources:
            for version in row.versions or (row.version,):
                yield (f"apis/{row.group}/{version}" if row.group else f"api/{version}"), row, version

    def _fingerprint(self, path: str) -> str:
        rows = [(row.key, version, row.definition) for at, row, version in self._served() if at == path]
        told = [(key, version, (crd or {}).get("metadata", {}).get("resourceVersion")) for key, version, crd in rows]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16].upper()

    def _schemas(self, row: Resource, version: str) -> Object:
        models = self._validator.models
        kind = [{"group": row.group, "version": version, "kind": row.kind}]
        meta = models.get(_META)
        if row.definition is not None:
            schema = self._validator.schema(row, version) or {}
            name = ".".join([*reversed(row.group.split(".")), version, row.kind])
            found: Object = {name: _custom(schema) | {GVK: kind}}
            for one in models.reachable(meta) if meta else ():
                found[_name(one.name)] = _model(one)
            return found
        model = models.of_kind(row.group, version, row.kind)
        if model is None:
            return {f"io.k8s.{row.kind}": {"type": "object", GVK: kind}}
        made = {_name(one.name): _model(one) for one in models.reachable(model)}
        made[_name(model.name)] |= {GVK: kind}
        return made


def _name(model: str) -> str:
    """`V1Pod` as `io.k8s.v1.Pod`, `CoreV1Event` as `io.k8s.core.v1.Event`: kubectl shows the last part."""
    found = re.fullmatch(r"([A-Z][a-z]+)?(V\d+(?:(?:alpha|beta)\d+)?)([A-Z]\w*)", model)
    return ".".join(["io.k8s", *(part.lower() for part in found.groups()[:2] if part), found[3]]) if found else model


def _reference(type_: str) -> Object:
    return {"$ref": f"#/components/schemas/{_EITHER.get(type_) or _name(type_)}"}


def _model(model: Model) -> Object:
    found: Object = {
        "description": model.description,
        "type": "object",
        "properties": {field.name: _field(model, field) for field in model.fields.values()},
    }
    needed = [field.name for field in model.fields.values() if field.required]
    return found | ({"required": needed} if needed else {})


def _field(model: Model, field: Field) -> Object:
    about: Object = {"description": field.description} if field.description else {}
    inner = _TYPES.get(field.type)
    plain: Object = dict(inner) if inner else _reference(field.type)
    match field.shape:
        case "list":
            about |= {"type": "array", "items": plain}
            key = _PORTS.get(model.name) if field.name == "ports" else KEYS.get(field.name, ("",))[0]
            if key and inner is None and field.name != "addresses":
                about |= {"x-kubernetes-patch-merge-key": key, "x-kubernetes-patch-strategy": "merge"}
        case "map":
            about |= {"type": "object", "additionalProperties": plain}
        case _:
            # A reference may have no siblings in OpenAPI 3.0, hence allOf.
            about |= plain if inner else {"allOf": [plain]}
    return about


def _custom(schema: Object) -> Object:
    properties = {
        "apiVersion": {"type": "string", "description": "The versioned schema of this representation of an object."},
        "kind": {"type": "string", "description": "The kind of object this is."},
        **(schema.get("properties") or {}),
        "metadata": {"description": "Standard object's metadata.", "allOf": [_reference(_META)]},
    }
    return schema | {"properties": properties}


def _paths(row: Resource, version: str, path: str) -> Iterator[tuple[str, Object]]:
    kind = {"group": row.group, "version": version, "kind": row.kind}
    place = f"/{path}/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"/{path}/{row.plural}"
    schema: Object = {"type": "object"}

    def operation(action: str, **more: Any) -> Object:
        return {
            "operationId": f"{action}-{row.plural}",
            GVK: kind,
            "x-kubernetes-action": action,
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
            **more,
        }

    def parameters(*names: str) -> list[Object]:
        return [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]

    written = parameters("dryRun", "fieldManager", "fieldValidation")
    body = {"content": {"application/json": {"schema": schema}}}
    patches = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
    patch = {"content": {one: {"schema": schema} for one in patches}}
    verbs = set(row.verbs)
    collection = {
        "get": operation("list", parameters=parameters("labelSelector", "fieldSelector", "limit", "continue", "watch")),
        "post": operation("post", parameters=written, requestBody=body),
    }
    item = {
        "get": operation("get"),
        "put": operation("put", parameters=written, requestBody=body),
        "patch": operation("patch", parameters=[*written, *parameters("force")], requestBody=patch),
        "delete": operation("delete", parameters=parameters("dryRun", "propagationPolicy")),
    }
    verb_of = {"get": "list", "post": "create"}
    yield place, {method: one for method, one in collection.items() if verb_of[method] in verbs}
    if row.namespaced and "list" in verbs:
        yield f"/{path}/{row.plural}", {"get": collection["get"]}
    if "get" in verbs:
        yield f"{place}/{{name}}", item
