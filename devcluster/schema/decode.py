"""Strict decoding of built-in kinds: unknown fields by their paths, wrong types as the server's decoder says them.

In: an object and the model of its kind. Out: the object without unknown fields, and their paths. Raises `StatusError` 400 at the first value of a wrong type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from devcluster.api.errors import bad_request
from devcluster.schema import formats
from devcluster.schema.fields import Field, Model, Models
from devcluster.schema.values import type_name

_GO = {"str": "string", "int": "int32", "bool": "bool", "float": "float64", "datetime": "Time", "bytes": "[]uint8"}
_TAKES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "datetime": (str,),
    "bytes": (str,),
    "quantity": (str, int, float),
    "int-or-string": (int, str),
}


class Decoder:
    """Reads objects of one kind against its model."""

    def __init__(self, models: Models, version: str, kind: str) -> None:
        self._models = models
        self._said = f'{kind} in version "{version}" cannot be handled as a {kind}'

    def unknown(self, model: Model, value: Any, path: str = "") -> Iterator[str]:
        """Take out the fields the model does not have, and give their paths."""
        for name, item in list(value.items()):
            where = f"{path}.{name}" if path else name
            field = model.fields.get(name)
            if field is None:
                del value[name]
                yield where
            elif item is not None:
                yield from self._field(model, field, item, where)

    def _field(self, model: Model, field: Field, item: Any, path: str) -> Iterator[str]:
        if not field.shape:
            yield from self._one(model, field, item, path)
            return
        shape = list if field.shape == "list" else dict
        if not isinstance(item, shape):
            self._refuse(model, path, type_name(item), "[]" if shape is list else "map[string]")
        pairs = enumerate(item) if shape is list else item.items()
        for key, inner in pairs:
            if inner is not None:
                # The real decoder names map entries like fields, list entries by index.
                yield from self._one(model, field, inner, f"{path}[{key}]" if shape is list else f"{path}.{key}")

    def _one(self, model: Model, field: Field, item: Any, path: str) -> Iterator[str]:
        takes = _TAKES.get(field.type)
        if takes is not None:
            if not isinstance(item, takes) or (isinstance(item, bool) and bool not in takes):
                self._refuse(model, path, type_name(item), _GO.get(field.type, field.type))
            if field.type == "quantity" and formats.quantity(item) is None:
                form = "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                raise bad_request(f"{self._said}: {path}: quantities must match the regular expression {form}")
            if field.type == "datetime" and not formats.FORMATS["date-time"](item):
                raise bad_request(f'{self._said}: {path}: parsing time "{item}" as RFC 3339: cannot parse')
            return
        inner = self._models.get(field.type)
        if inner is None or not inner.fields:
            return
        if not isinstance(item, dict):
            self._refuse(model, path, type_name(item), inner.name.lower())
        yield from self.unknown(inner, item, path)

    def _refuse(self, model: Model, path: str, found: str, wanted: str) -> None:
        found = {"integer": "number", "boolean": "bool"}.get(found, found)
        struct = re.sub(r"^V\d+((alpha|beta)\d+)?", "", model.name)
        raise bad_request(
            f"{self._said}: json: cannot unmarshal {found} into Go struct field {struct}.{path} of type {wanted}"
        )
