"""Whether the values of a custom object are what its schema asks for.

In: a structural schema, the new value and, on updates, the old one. Out: `Cause`s in the server's sentences. A part that an
update does not change is not judged again (ratcheting), so a stricter schema does not lock old objects.
CEL rules are `cel`'s; `walk` shows both the same pairs of new and old.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from devcluster.schema import formats
from devcluster.schema.causes import Cause, duplicate, invalid, required, too_long, too_many, unsupported, wrong_type
from devcluster.schema.structural import OWN, Schema, child, join


class Missing:
    """What an old value is when there was none or it cannot be told which it was."""


MISSING = Missing()


def check(schema: Schema, value: Any, path: str = "", old: Any = MISSING, *, whole: bool = False) -> Iterator[Cause]:
    """Say what is wrong with a value; `whole` values carry metadata, which is judged elsewhere."""
    if old is not MISSING and same(value, old):
        return
    if value is None and schema.get("nullable"):
        return
    wrong = _type(schema, value, path)
    if wrong:
        yield wrong
        return
    yield from _enum(schema, value, path)
    match value:
        case str():
            yield from _string(schema, value, path)
        case bool() | None:
            pass
        case int() | float():
            yield from _number(schema, value, path)
        case list():
            yield from _list(schema, value, path)
        case dict():
            yield from _object(schema, value, path)
    yield from _combined(schema, value, path)
    for name, item, before, inner in walk(schema, value, old):
        if not (whole and name in OWN):
            yield from check(
                inner, item, _at(path, name), before, whole=bool(inner.get("x-kubernetes-embedded-resource"))
            )


def walk(schema: Schema, value: Any, old: Any) -> Iterator[tuple[str | int, Any, Any, Schema]]:
    """Give the parts of a value: name or index, the part, what it was before, its schema."""
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            inner = child(schema, name)
            if inner:
                yield name, item, before.get(name, MISSING), inner
    elif isinstance(value, list) and schema.get("items"):
        known = _by_keys(schema, old)
        for index, item in enumerate(value):
            yield index, item, known.get(_keys(schema, item), MISSING), schema["items"]


def _by_keys(schema: Schema, old: Any) -> dict[Any, Any]:
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map":
        return {}
    return {_keys(schema, item): item for item in old}


def _keys(schema: Schema, item: Any) -> Any:
    names = schema.get("x-kubernetes-list-map-keys") or []
    return tuple(str(item.get(name)) for name in names) if isinstance(item, dict) else None


def same(one: Any, other: Any) -> bool:
    """Equality that tells True from 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _at(path: str, name: str | int) -> str:
    return f"{path}[{name}]" if isinstance(name, int) else join(path, name)


def type_name(value: Any) -> str:
    """The JSON type of a value, as the sentences say it."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", type(None): "null"}
    return names.get(type(value), "number")


def _type(schema: Schema, value: Any, path: str) -> Cause | None:
    found = type_name(value)
    if schema.get("x-kubernetes-int-or-string"):
        expected, right = "integer,string", found in {"integer", "string"}
    else:
        expected = schema.get("type", "")
        integral = found == "number" and expected == "integer" and float(value).is_integer()
        right = not expected or found == expected or integral or (expected == "number" and found == "integer")
    if right:
        return None
    return wrong_type(path, found, f'{path} in body must be of type {expected}: "{found}"')


def _enum(schema: Schema, value: Any, path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and not any(same(value, one) for one in allowed):
        yield unsupported(path, value, allowed)


def _string(schema: Schema, value: str, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxLength", len(value)):
        yield too_long(path, schema["maxLength"])
    if len(value) < schema.get("minLength", 0):
        yield invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    pattern = schema.get("pattern")
    # In RE2 `$` is the very end of the text, in Python it also stands before a last line break.
    if pattern and not re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), value):
        yield invalid(path, value, f"{path} in body should match '{pattern}'")
    form = schema.get("format", "")
    if form in formats.FORMATS and not formats.FORMATS[form](value):
        yield invalid(path, value, f'{path} in body must be of type {form}: "{value}"')


def _number(schema: Schema, value: float, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {low}")
    if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {high}")
    if (step := schema.get("multipleOf")) and value % step:
        yield invalid(path, value, f"{path} in body should be a multiple of {step}")
    bounds = formats.RANGES.get(schema.get("format", ""))
    if bounds and not bounds[0] <= value <= bounds[1]:
        yield invalid(path, value, f"{path} in body must be of type {schema['format']}: {value}")


def _list(schema: Schema, value: list[Any], path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxItems", len(value)):
        yield too_many(path, len(value), schema["maxItems"])
    if len(value) < schema.get("minItems", 0):
        yield invalid(path, len(value), f"{path} in body should have at least {schema['minItems']} items")
    kind = schema.get("x-kubernetes-list-type")
    if kind not in {"set", "map"}:
        return
    names = schema.get("x-kubernetes-list-map-keys") or []
    defaults = {n: p["default"] for n, p in (schema["items"].get("properties") or {}).items() if "default" in p}
    seen: list[Any] = []
    for index, item in enumerate(value):
        key = item
        if kind == "map":
            filled = defaults | item if isinstance(item, dict) else {}
            key = {name: filled[name] for name in names if name in filled}
        if key in seen:
            yield duplicate(f"{path}[{index}]", key)
        seen.append(key)


def _object(schema: Schema, value: dict[str, Any], path: str) -> Iterator[Cause]:
    for name in schema.get("required") or []:
        if name not in value:
            yield required(join(path, name))
    if len(value) > schema.get("maxProperties", len(value)):
        yield too_many(path, len(value), schema["maxProperties"])
    if len(value) < schema.get("minProperties", 0):
        yield invalid(path, len(value), f"{path} in body should have at least {schema['minProperties']} properties")


def _combined(schema: Schema, value: Any, path: str) -> Iterator[Cause]:
    def holds(inner: Schema) -> bool:
        return next(check(inner, value, path), None) is None

    shown = "" if isinstance(value, dict | list) else value
    if (any_of := schema.get("anyOf")) and not any(map(holds, any_of)):
        yield invalid(path, shown, f'"{path}" must validate at least one schema (anyOf)')
    if one_of := schema.get("oneOf"):
        count = sum(map(holds, one_of))
        if count != 1:
            found = f"valid schemas: {count}" if count else "none valid"
            yield invalid(path, shown, f'"{path}" must validate one and only one schema (oneOf). Found {found}')
    for inner in schema.get("allOf") or []:
        yield from check(inner, value, path)
    if (never := schema.get("not")) is not None and holds(never):
        yield invalid(path, shown, f'"{path}" must not validate the schema (not)')
