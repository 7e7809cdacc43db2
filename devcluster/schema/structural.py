"""Structural schemas of custom kinds: which fields stay, and which values are put in where none is given.

In: an `openAPIV3Schema` and an object. Out: the object, changed in place, and the paths of what was pruned. Checks nothing:
that is `values`, which walks the same tree. Metadata is not the schema's business; the built-in `ObjectMeta` rules it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
OWN = frozenset({"apiVersion", "kind", "metadata"})
"""Fields of every object, whatever its schema says."""


def prune(schema: Schema, value: Any, path: str = "", *, whole: bool = True) -> list[str]:
    """Remove fields the schema does not know; returns their paths. `whole`: the value is an object with metadata."""
    return list(_prune(schema, value, path, whole))


def _prune(schema: Schema, value: Any, path: str, whole: bool) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            inner = schema.get("items") or {}
            yield from _prune(inner, item, f"{path}[{index}]", inner.get("x-kubernetes-embedded-resource", False))
        return
    if not isinstance(value, dict):
        return
    keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)
    for name in list(value):
        inner = child(schema, name)
        if whole and name in OWN:
            continue
        if inner is None:
            if not keeps:
                del value[name]
                yield join(path, name)
            continue
        embedded = inner.get("x-kubernetes-embedded-resource", False)
        yield from _prune(inner, value[name], join(path, name), embedded)


def child(schema: Schema, name: str) -> Schema | None:
    """The schema of a field, None when it is not known; what may be anything has the empty preserving schema."""
    found = (schema.get("properties") or {}).get(name)
    if found is not None:
        return dict(found) if not isinstance(found, dict) else found
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        return additional
    return {"x-kubernetes-preserve-unknown-fields": True} if additional is True else None


def join(path: str, name: str) -> str:
    """The path of a field."""
    return f"{path}.{name}" if path else name


def default(schema: Schema, value: Any) -> None:
    """Put in defaults where a field is missing (or null and not nullable), from the outside in."""
    if isinstance(value, list):
        for item in value:
            default(schema.get("items") or {}, item)
        return
    if not isinstance(value, dict):
        return
    for name, inner in (schema.get("properties") or {}).items():
        missing = name not in value or (value[name] is None and not inner.get("nullable"))
        if missing and "default" in inner:
            value[name] = copy.deepcopy(inner["default"])
        elif value.get(name) is None and name in value and not inner.get("nullable"):
            # A null that may not be one is dropped before validation, as the server does for structural schemas.
            del value[name]
    for name, item in value.items():
        inner = child(schema, name)
        if inner:
            default(inner, item)
