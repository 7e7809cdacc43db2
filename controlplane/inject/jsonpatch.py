"""The difference between two JSON values as RFC 6902 operations, short where objects grew at either end of a list.

In: before and after. Out: operations that turn the first into the second, in an order that holds when applied one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]


def diff(before: Any, after: Any) -> list[Operation]:
    """Return the operations that turn `before` into `after`."""
    return list(_diff("", before, after))


def _diff(path: str, before: Any, after: Any) -> Iterator[Operation]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _diff_objects(path, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _diff_lists(path, before, after)
    elif before != after or type(before) is not type(after):
        yield {"op": "replace", "path": path, "value": after}


def _diff_objects(path: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Operation]:
    for key in before.keys() - after.keys():
        yield {"op": "remove", "path": f"{path}/{_escape(key)}"}
    for key, value in after.items():
        if key in before:
            yield from _diff(f"{path}/{_escape(key)}", before[key], value)
        else:
            yield {"op": "add", "path": f"{path}/{_escape(key)}", "value": value}


def _diff_lists(path: str, before: list[Any], after: list[Any]) -> Iterator[Operation]:
    """Keep the common head and tail; what is between is changed in place as far as both sides go, then added or removed."""
    shorter = min(len(before), len(after))
    head = 0
    while head < shorter and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    paired = min(len(old), len(new))
    for index in range(paired):
        yield from _diff(f"{path}/{head + index}", old[index], new[index])
    for index in range(len(old) - 1, paired - 1, -1):
        yield {"op": "remove", "path": f"{path}/{head + index}"}
    for index in range(paired, len(new)):
        yield {"op": "add", "path": f"{path}/{head + index}", "value": new[index]}


def _escape(key: str) -> str:
    """Write a key as a JSON Pointer token (RFC 6901 section 3)."""
    return key.replace("~", "~0").replace("/", "~1")
