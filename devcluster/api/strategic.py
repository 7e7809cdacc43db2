"""Strategic merge patch: a merge patch that knows which lists are keyed, with its directives.

In: an object (not changed), a patch and the shape of the kind. Out: the new object. Directives: `$patch: delete|replace|merge`,
`$deleteFromPrimitiveList/x`, `$setElementOrder/x`, `$retainKeys`. Refuses a list item without its key, with 422.
"""

from __future__ import annotations

import copy
from typing import Any

from devcluster.api.errors import Object, StatusError, bad_request
from devcluster.api.shapes import Shape


def strategic_merge(target: Object, patch: Any, shape: Shape) -> Object:
    """Apply a strategic merge patch to an object."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is an object")
    merged = _map(target, patch, shape)
    return merged if merged is not None else {}


def _map(target: Object, patch: Object, shape: Shape) -> Object | None:
    match patch.get("$patch"):
        case "replace":
            return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
        case "delete":
            return None
    result = dict(target)
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$"):
            _directive(result, key, value, patch)
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            merged = _map(old if isinstance(old, dict) else {}, value, shape.field(key))
            if merged is None:
                result.pop(key, None)
            else:
                result[key] = merged
        elif isinstance(value, list):
            order = patch.get(f"$setElementOrder/{key}")
            result[key] = _list(result.get(key) or [], value, shape.field(key), order)
        else:
            result[key] = value
    for key, order in patch.items():
        name = key.removeprefix("$setElementOrder/")
        if name != key and name not in patch and isinstance(result.get(name), list):
            result[name] = _ordered(result[name], order, shape.field(name), result[name])
    return result


def _directive(result: Object, key: str, value: Any, patch: Object) -> None:
    name = key.removeprefix("$deleteFromPrimitiveList/")
    if name == key or not isinstance(result.get(name), list):
        return
    result[name] = [item for item in result[name] if item not in value]
    if name not in patch and not result[name]:
        del result[name]


def _list(target: list[Any], patch: list[Any], shape: Shape, order: list[Any] | None) -> list[Any]:
    keys = shape.keys()
    if shape.is_set():
        merged = target + [item for item in patch if item not in target]
        return _ordered(merged, order, shape, target) if order else merged
    if not keys:
        return copy.deepcopy(patch)
    key = keys[0]
    for item in patch:
        if not isinstance(item, dict) or ("$patch" not in item and key not in item):
            said = f"map: {item} does not contain declared merge key: {key}"
            raise StatusError(422, "Invalid", said)
    if any(item.get("$patch") == "replace" and key not in item for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    merged = list(target)
    for item in patch:
        at = next((i for i, old in enumerate(merged) if old.get(key) == item.get(key)), None)
        new = _map(merged[at] if at is not None else {}, item, shape.item())
        if at is not None and new is None:
            del merged[at]
        elif at is not None:
            merged[at] = new
        elif new is not None:
            merged.append(new)
    return _ordered(merged, order, shape, target) if order else merged


def _ordered(items: list[Any], order: list[Any], shape: Shape, before: list[Any]) -> list[Any]:
    """Put items in the asked order; those it does not name keep their place relative to what stood before them."""
    keys = shape.keys()

    def name(item: Any) -> Any:
        return item.get(keys[0]) if keys and isinstance(item, dict) else item

    wanted = [name(item) for item in order]
    known = sorted((item for item in items if name(item) in wanted), key=lambda item: wanted.index(name(item)))
    old = [name(item) for item in before]
    for item in (item for item in items if name(item) not in wanted):
        ahead = set(old[: old.index(name(item))]) if name(item) in old else set()
        at = max((i + 1 for i, other in enumerate(known) if name(other) in ahead), default=0)
        known.insert(at if ahead else 0 if name(item) in old else len(known), item)
    return known
