"""Whether a CustomResourceDefinition is one the real server takes.

In: the definition. Out: `Cause`s: names, versions, one storage version, and schemas that are structural
(a type everywhere, nothing structural inside anyOf and its like), with CEL rules that compile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from devcluster.schema import formats
from devcluster.schema.causes import Cause, forbidden, invalid, required, unsupported
from devcluster.schema.cel import Rules
from devcluster.schema.structural import Schema

TYPES = ("array", "boolean", "integer", "number", "object", "string")
_STRUCTURE = ("type", "default", "description", "nullable", "title", "additionalProperties")
"""What may not stand inside allOf, anyOf, oneOf and not."""
_ROOT = "openAPIV3Schema"


def problems(crd: dict[str, Any], rules: Rules) -> Iterator[Cause]:
    """Say what is wrong with a definition."""
    spec = crd.get("spec") or {}
    names, group = spec.get("names") or {}, spec.get("group", "")
    yield from _names(crd, spec, names, group)
    versions = spec.get("versions") or []
    if not versions:
        yield required("spec.versions", "must have at least one version")
        return
    seen = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name", "")
        if wrong := formats.dns_1035_label(name):
            yield invalid(f"{path}.name", name, wrong)
        if name in seen:
            yield invalid("spec.versions", [v.get("name") for v in versions], "must contain unique version names")
        seen.add(name)
        schema = (version.get("schema") or {}).get(_ROOT)
        if schema is None:
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
            continue
        root = f"{path}.schema.{_ROOT}"
        if schema.get("type") != "object":
            yield invalid(f"{root}.type", schema.get("type", ""), "must be object at the root")
        yield from _structural(schema, root)
        yield from rules.problems(schema, root)
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid(
            "spec.versions",
            [v.get("name") for v in versions],
            "must have exactly one version marked as storage version",
        )


def _names(crd: dict[str, Any], spec: Schema, names: Schema, group: str) -> Iterator[Cause]:
    name = crd["metadata"].get("name", "")
    wanted = f"{names.get('plural', '')}.{group}"
    if name != wanted:
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield required("spec.group")
    elif wrong := formats.dns_subdomain(group):
        yield invalid("spec.group", group, wrong)
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    if spec.get("scope") not in {"Cluster", "Namespaced"}:
        yield unsupported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"])
    for field in ("plural", "singular", "kind", "listKind"):
        value = names.get(field, "")
        if not value:
            if field in {"plural", "kind"}:
                yield required(f"spec.names.{field}")
        elif wrong := formats.dns_1035_label(value.lower()):
            yield invalid(f"spec.names.{field}", value, wrong)
    if names.get("listKind") and names.get("listKind") == names.get("kind"):
        yield invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
    annotations = crd["metadata"].get("annotations") or {}
    if re.search(r"(^|\.)(k8s|kubernetes)\.io$", group) and "api-approved.kubernetes.io" not in annotations:
        yield required(
            "metadata.annotations[api-approved.kubernetes.io]",
            'protected groups must have approval annotation "api-approved.kubernetes.io", '
            "see https://github.com/kubernetes/enhancements/pull/1111",
        )


def _structural(schema: Schema, path: str) -> Iterator[Cause]:
    type_ = schema.get("type", "")
    either = schema.get("x-kubernetes-int-or-string")
    if not type_ and not either and not schema.get("x-kubernetes-preserve-unknown-fields"):
        yield required(f"{path}.type", "must not be empty for specified object fields" if "[" in path else "")
    if type_ and either:
        yield invalid(f"{path}.type", type_, "must be empty if x-kubernetes-int-or-string is true")
    elif type_ and type_ not in TYPES:
        yield unsupported(f"{path}.type", type_, TYPES)
    if "$ref" in schema:
        yield forbidden(f"{path}.$ref", "$ref is not supported")
    if schema.get("uniqueItems"):
        yield forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    if schema.get("properties") and schema.get("additionalProperties"):
        yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if type_ == "array" and not isinstance(schema.get("items"), dict):
        yield required(f"{path}.items", "must be specified")
    yield from _lists(schema, path)
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            yield invalid(
                f"{path}.pattern", schema["pattern"], f"must be a valid regular expression, but isn't: {error}"
            )
    yield from _inside(schema, path)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _structural(inner, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from _structural(schema[name], f"{path}.{name}")


def _lists(schema: Schema, path: str) -> Iterator[Cause]:
    kind = schema.get("x-kubernetes-list-type")
    if kind is None:
        return
    if kind not in {"atomic", "set", "map"}:
        yield unsupported(f"{path}.x-kubernetes-list-type", kind, ["atomic", "map", "set"])
    if schema.get("type") != "array":
        yield invalid(f"{path}.type", schema.get("type", ""), "must be array if x-kubernetes-list-type is specified")
    if kind != "map":
        return
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if not keys:
        yield required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    items = schema.get("items") or {}
    properties = items.get("properties") or {}
    for key in keys:
        if key not in properties:
            yield invalid(f"{path}.x-kubernetes-list-map-keys", key, "entries must all be names of item properties")
        elif key not in (items.get("required") or []) and "default" not in properties[key]:
            yield required(
                f"{path}.items.properties[{key}].default",
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            )


def _inside(schema: Schema, path: str) -> Iterator[Cause]:
    """Judge allOf, anyOf, oneOf and not: they may check values, not shape them."""
    parts = [(f"{path}.not", schema["not"])] if isinstance(schema.get("not"), dict) else []
    for name in ("allOf", "anyOf", "oneOf"):
        parts += [(f"{path}.{name}[{index}]", inner) for index, inner in enumerate(schema.get(name) or [])]
    either = bool(schema.get("x-kubernetes-int-or-string"))
    for where, inner in parts:
        yield from _value_only(inner, where, either=either)


def _value_only(schema: Schema, path: str, *, either: bool = False) -> Iterator[Cause]:
    for name in _STRUCTURE:
        # `anyOf: [{type: integer}, {type: string}]` is the one form allowed, for int-or-string.
        if name in schema and not (name == "type" and either):
            yield forbidden(f"{path}.{name}", "must be empty to be structural")
    for name, inner in (schema.get("properties") or {}).items():
        yield from _value_only(inner, f"{path}.properties[{name}]")
    if isinstance(schema.get("items"), dict):
        yield from _value_only(schema["items"], f"{path}.items")
    for key in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(key) or []):
            yield from _value_only(inner, f"{path}.{key}[{index}]", either=either)
