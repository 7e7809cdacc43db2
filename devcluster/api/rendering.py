"""The form an answer takes: whole objects, metadata alone, or a table to print.

In: stored objects and the wanted form. Out: what is sent. Objects of custom kinds are shown in the version the caller speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devcluster.api.bodies import Form
from devcluster.api.columns import Column, cells_of, columns_of
from devcluster.api.errors import Object, StatusError
from devcluster.api.kinds import Resource

TABLE, PARTIAL, PARTIAL_LIST = "Table", "PartialObjectMetadata", "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Renders the objects of one kind for one request."""

    row: Resource
    version: str
    form: Form
    include: str = "Metadata"
    """What a table's rows carry besides their cells: Metadata, Object or None."""

    def one(self, obj: Object) -> Object:
        """Render one object, as the answer to a get."""
        if obj.get("kind") in {"Status", "Scale"} or "metadata" not in obj:
            return obj
        if self.form.as_ == TABLE:
            return self._table([obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")})
        return self.plain(obj)

    def plain(self, obj: Object) -> Object:
        """Render one object as an item of a list or of a watch that is no table."""
        if self.form.as_ in {PARTIAL, PARTIAL_LIST}:
            return _partial(obj)
        if self.row.version != self.version and obj.get("apiVersion") == self.row.api_version:
            return obj | {"apiVersion": f"{self.row.group}/{self.version}".lstrip("/")}
        return obj

    def many(self, objects: list[Object], metadata: Object) -> Object:
        """Render a list."""
        if self.form.as_ == TABLE:
            return self._table(objects, metadata)
        items = [self.plain(obj) for obj in objects]
        if self.form.as_ in {PARTIAL, PARTIAL_LIST}:
            kind, version = PARTIAL_LIST, "meta.k8s.io/v1"
        else:
            kind, version = f"{self.row.kind}List", f"{self.row.group}/{self.version}".lstrip("/")
        return {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}

    def check(self) -> None:
        """Refuse a form this server does not know; raises StatusError(406)."""
        if self.form.as_ not in {"", TABLE, PARTIAL, PARTIAL_LIST}:
            raise StatusError(406, "NotAcceptable", f"objects of {self.row.name} are not shown as {self.form.as_}")

    def _table(self, objects: list[Object], metadata: Object) -> Object:
        columns = columns_of(self.row, self.version)
        return {
            "kind": TABLE,
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": [_definition(column) for column in columns],
            "rows": [self._row(obj) for obj in objects],
        }

    def _row(self, obj: Object) -> Object:
        cells: Object = {"cells": cells_of(self.row, self.version, obj)}
        match self.include:
            case "None":
                return cells
            case "Object":
                return cells | {"object": obj}
            case _:
                return cells | {"object": _partial(obj)}


def _partial(obj: Object) -> Object:
    return {"kind": PARTIAL, "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column.name == "Name" else "",
        "description": column.description or column.name,
        "priority": column.priority,
    }
