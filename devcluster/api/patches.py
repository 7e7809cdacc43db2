"""The two patches of the IETF: JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386).

In: an object (not changed) and a patch. Out: the new object. Refuses what does not apply, with 422 as the real server does, and what
is no patch at all, with 400.
"""

from __future__ import annotations

import copy
from typing import Any

from devcluster.api.errors import StatusError, bad_request


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch: maps merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """Apply JSON patch operations in order."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    document = {"": copy.deepcopy(target)}
    for operation in operations:
        try:
            _apply(document, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            said = f"the server rejected our request due to an error in our request: {operation}: {error}"
            raise StatusError(422, "Invalid", said) from error
    return document[""]


def _apply(document: Any, operation: Any) -> None:
    path = _path(operation["path"])
    match operation["op"]:
        case "add":
            _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(document, path)
        case "replace":
            _find(document, path)
            parent = _find(document, path[:-1])
            parent[_index(parent, path[-1]) if isinstance(parent, list) else path[-1]] = operation["value"]
        case "move":
            _add(document, path, _remove(document, _path(operation["from"])))
        case "copy":
            _add(document, path, copy.deepcopy(_find(document, _path(operation["from"]))))
        case "test":
            if _find(document, path) != operation.get("value"):
                raise ValueError(f"testing value {operation['path']} failed")
        case other:
            raise ValueError(f"unexpected kind: {other}")


def _path(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"the path {pointer!r} does not begin with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _index(parent: list[Any], part: str) -> int:
    if not part.isdigit() or int(part) >= len(parent):
        raise IndexError(f"index {part} is not in a list of {len(parent)}")
    return int(part)


def _find(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[_index(document, part)] if isinstance(document, list) else document[part]
    return document


def _add(document: Any, path: list[str], value: Any) -> None:
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        at = len(parent) if last == "-" else int(last)
        if not 0 <= at <= len(parent):
            raise IndexError(f"index {last} is not in a list of {len(parent)}")
        parent.insert(at, value)
    else:
        parent[last] = value


def _remove(document: Any, path: list[str]) -> Any:
    parent = _find(document, path[:-1])
    return parent.pop(_index(parent, path[-1]) if isinstance(parent, list) else path[-1])
