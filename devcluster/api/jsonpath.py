"""The JSONPath that printer columns and field selectors use: fields, indexes, `[*]` and one kind of filter.

In: a value and a path such as `.status.conditions[?(@.type=="Ready")].status`. Out: every value found. A path that is not understood finds nothing.
"""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(
    r"""\.?(?P<field>[^\s.\[\]*?()'"]+) | \[(?P<index>-?\d+)\] | (?P<all>\[\*\]|\.\*)
    | \['(?P<quoted>[^']+)'\] | \[\?\(\s*@\.(?P<key>[\w.-]+)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[\w.-]+)\s*\)\]""",
    re.VERBOSE,
)


def find(value: Any, path: str) -> list[Any]:
    """Give what a path leads to."""
    path = path.strip().removeprefix("{").removesuffix("}").replace("\\.", "\0")
    found = [value]
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return []
        at = step.end()
        found = [inner for outer in found for inner in _step(outer, step)]
    return found


def _step(value: Any, step: re.Match[str]) -> list[Any]:
    field = step["field"] or step["quoted"]
    if field is not None:
        field = field.replace("\0", ".")
        return [value[field]] if isinstance(value, dict) and field in value else []
    if step["all"]:
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if not isinstance(value, list):
        return []
    if step["index"] is not None:
        return value[int(step["index"]) :][:1]
    wanted = step["value"].strip("\"'")
    return [item for item in value if (_text(find(item, "." + step["key"])) == wanted) == (step["op"] == "==")]


def _text(found: list[Any]) -> str:
    if not found:
        return ""
    return str(found[0]).lower() if isinstance(found[0], bool) else str(found[0])
