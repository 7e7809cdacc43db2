"""Who owns which field: `managedFields`, kept for every write, and server-side apply, which lives by it.

In: an object before and after, or an applied configuration, and the manager's name. Out: the object with its `managedFields`.
A field is a path of FieldsV1 elements (`f:spec`, `k:{"name":"app"}`, `v:"x"`); a set of fields is a Python set of such paths.
Refuses to take a field another manager owns with 409, in the real server's words.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devcluster.api.errors import Object, StatusError
from devcluster.api.shapes import Shape

Path = tuple[str, ...]

_SERVER_SET = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
UNOWNED = frozenset([("f:apiVersion",), ("f:kind",), *(("f:metadata", f"f:{name}") for name in _SERVER_SET)])
"""Fields the server itself sets; nobody owns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Whose entry in `managedFields` a write belongs to."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    """When the write happens."""

    def owns(self, entry: Object) -> bool:
        """Tell whether an entry is this manager's."""
        return (
            entry.get("manager") == self.name
            and entry.get("operation") == self.operation
            and entry.get("subresource", "") == self.subresource
            and (self.operation == "Apply" or entry.get("apiVersion") == self.api_version)
        )


def flatten(value: Any, shape: Shape, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give every field of a value that can be owned, with what it holds."""
    if isinstance(value, dict) and value and not (path and shape.is_atomic()):
        for key, inner in value.items():
            yield from flatten(inner, shape.field(key), (*path, f"f:{key}"))
    elif isinstance(value, list) and value and shape.keys() and all(isinstance(item, dict) for item in value):
        for item in value:
            here = (*path, item_key(item, shape))
            yield here, None
            yield from flatten(item, shape.item(), here)
    elif isinstance(value, list) and value and shape.is_set():
        for item in value:
            yield (*path, "v:" + json.dumps(item, separators=(",", ":"))), None
    elif path:
        yield path, value


def item_key(item: Object, shape: Shape) -> str:
    """Name an item of a keyed list."""
    keys = {key: item.get(key, shape.defaults(key)) for key in sorted(shape.keys())}
    return "k:" + json.dumps({k: v for k, v in keys.items() if v is not None}, separators=(",", ":"))


def fields_of(obj: Object, shape: Shape) -> dict[Path, Any]:
    """Give the ownable fields of an object."""
    return {path: value for path, value in flatten(obj, shape) if path not in UNOWNED and path[:2] not in UNOWNED}


def to_fields_v1(paths: set[Path]) -> Object:
    """Encode a set of fields."""
    root: Object = {}
    for path in sorted(paths):
        node = root
        for part in path:
            node = node.setdefault(part, {})
        node["."] = {}
    return _without_lone_dots(root)


def _without_lone_dots(node: Object) -> Object:
    return {} if set(node) == {"."} else {key: _without_lone_dots(inner) for key, inner in node.items()}


def from_fields_v1(node: Object, path: Path = ()) -> set[Path]:
    """Decode a set of fields."""
    if not isinstance(node, dict) or not node:
        return {path} if path else set()
    found: set[Path] = set()
    for key, inner in node.items():
        found |= {path} if key == "." else from_fields_v1(inner, (*path, key))
    return found


def record(old: Object | None, new: Object, shape: Shape, manager: Manager) -> None:
    """Give the fields a plain write changed to its manager, and take those it removed from everybody; in place."""
    entries = _given(old, new)
    before = fields_of(old, shape) if old is not None else {}
    after = fields_of(new, shape)
    absent = object()
    changed = {path for path, value in after.items() if before.get(path, absent) != value}
    removed = before.keys() - after.keys()
    kept: list[Object] = []
    mine: Object | None = None
    for entry in entries:
        owned = from_fields_v1(entry.get("fieldsV1") or {})
        if manager.owns(entry):
            mine, left = entry, (owned | changed) - removed
        else:
            left = owned - changed - removed
        if left:
            kept.append(_entry(entry, left, owned, manager.time if entry is mine else entry.get("time", "")))
    if mine is None and changed:
        kept.append(_new_entry(manager, changed))
    _store(new, kept)


def _given(old: Object | None, new: Object) -> list[Object]:
    """Read the entries a writer sent back; none means the stored ones, a single empty one means to forget them all."""
    given: list[Object] = new["metadata"].get("managedFields") or []
    if not given and old is not None:
        given = old["metadata"].get("managedFields") or []
    return copy.deepcopy([entry for entry in given if entry])


def apply(live: Object | None, config: Object, shape: Shape, manager: Manager, *, force: bool) -> Object:
    """Merge an applied configuration into the live object; raises StatusError(409) on another's fields."""
    entries = copy.deepcopy(live["metadata"].get("managedFields") or []) if live is not None else []
    base = copy.deepcopy(live) if live is not None else {}
    applied = fields_of(config, shape)
    wanted = set(applied)
    before = fields_of(base, shape)
    absent = object()
    merged: Object = _merge(base, config, shape)
    after = fields_of(merged, shape)
    changed = {path for path, value in after.items() if before.get(path, absent) != value}
    conflicts: list[tuple[Object, Path]] = []
    kept: list[Object] = []
    lost: set[Path] = set()
    for entry in entries:
        owned = from_fields_v1(entry.get("fieldsV1") or {})
        if manager.owns(entry):
            lost = owned - wanted
            continue
        taken = _touched(owned, changed)
        conflicts += [(entry, path) for path in sorted(taken)]
        left = owned - taken
        if left:
            kept.append(_entry(entry, left, owned, entry.get("time", "")))
    if conflicts and not force:
        raise _conflict(conflicts)
    others = {path for entry in kept for path in from_fields_v1(entry.get("fieldsV1") or {})} | wanted
    for path in sorted(lost):  # an item of a list before its fields: it goes whole, with what nobody owns
        if not any(other[: len(path)] == path for other in others):
            _remove(merged, path, shape)
    if wanted:
        kept.append(_new_entry(manager, wanted))
    _store(merged, kept)
    return merged


def _touched(owned: set[Path], changed: set[Path]) -> set[Path]:
    """Give the owned fields a change touches: the very field, or one that holds it as a whole."""
    return {path for path in owned if path in changed}


def _store(obj: Object, entries: list[Object]) -> None:
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _entry(entry: Object, left: set[Path], owned: set[Path], time: str) -> Object:
    return entry if left == owned else entry | {"fieldsV1": to_fields_v1(left), "time": time}


def _new_entry(manager: Manager, paths: set[Path]) -> Object:
    entry: Object = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": manager.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_fields_v1(paths),
    }
    return entry | ({"subresource": manager.subresource} if manager.subresource else {})


def _merge(live: Any, config: Any, shape: Shape) -> Any:
    if isinstance(live, dict) and isinstance(config, dict) and not shape.is_atomic():
        result = dict(live)
        for key, value in config.items():
            result[key] = _merge(result.get(key), value, shape.field(key)) if key in result else copy.deepcopy(value)
        return result
    if isinstance(live, list) and isinstance(config, list) and shape.keys():
        names = [item_key(item, shape) for item in live]
        wanted = {item_key(item, shape): item for item in config}
        old = dict(zip(names, live, strict=True))
        first = [_merge(old.get(name), item, shape.item()) for name, item in wanted.items()]
        rest = [item for name, item in old.items() if name not in wanted]
        if [name for name in names if name in wanted] == [name for name in wanted if name in old]:
            return [_merge(i, wanted.get(n, i), shape.item()) if n in wanted else i for n, i in old.items()] + [
                item for name, item in wanted.items() if name not in old
            ]
        return first + rest
    if isinstance(live, list) and isinstance(config, list) and shape.is_set():
        return live + [item for item in config if item not in live]
    return copy.deepcopy(config)


def _remove(value: Any, path: Path, shape: Shape) -> None:
    """Remove a field, and the maps and lists that it leaves empty."""
    head, rest = path[0], path[1:]
    if head.startswith("f:") and isinstance(value, dict):
        key = head[2:]
        if key not in value:
            return
        if rest:
            _remove(value[key], rest, shape.field(key))
        if not rest or value[key] in ({}, []):
            del value[key]
    elif head.startswith("k:") and isinstance(value, list):
        for item in [item for item in value if item_key(item, shape) == head]:
            if rest:
                _remove(item, rest, shape.item())
            else:
                value.remove(item)
    elif head.startswith("v:") and isinstance(value, list):
        value[:] = [item for item in value if "v:" + json.dumps(item, separators=(",", ":")) != head]


def spell(path: Path) -> str:
    """Write a field as errors name it: `.spec.containers[name="app"].image`."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            keys = json.loads(part[2:])
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]"
        else:
            text += f"[={part[2:]}]"
    return text


def _conflict(conflicts: list[tuple[Object, Path]]) -> StatusError:
    by_manager: dict[str, list[Path]] = {}
    for entry, path in conflicts:
        by_manager.setdefault(_spell_manager(entry), []).append(path)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": spell(path)}
        for manager, paths in by_manager.items()
        for path in paths
    ]
    if len(causes) == 1:
        said = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [
            "\n".join([f"conflicts with {manager}:", *(f"- {spell(path)}" for path in by_manager[manager])])
            for manager in sorted(by_manager)
        ]
        said = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return StatusError(409, "Conflict", said, {"causes": causes})


def _spell_manager(entry: Object) -> str:
    said = json.dumps(entry.get("manager", ""))
    if entry.get("subresource"):
        said += f" with subresource {json.dumps(entry['subresource'])}"
    return f"{said} using {entry.get('apiVersion')}" if entry.get("operation") == "Update" else said
