"""Fields of the installation that somebody else owns: named, and taken over when that was asked for.

In: what Helm said. Out: a `Conflict`, or the other managers' claims taken off the object, so that Helm's next try finds none. Server-side apply refuses to change a field
another manager has set, and it is right: an autoscaler or a person wanted it so. What they set stays until Helm sets it; they own nothing of that object any more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tulle.kube import Kube

Object = dict[str, Any]

_OBJECT = re.compile(r"applying object (?P<namespace>[^/\s]*)/(?P<name>\S+) (?P<api>\S+), Kind=(?P<kind>\w+)")
_OWNER = re.compile(r'conflicts? with "([^"]+)"')
_FIELD = re.compile(r"(?:: |; )(\.[^\s;]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """An object and who else owns which of its fields."""

    namespace: str
    name: str
    api: str
    kind: str
    owners: tuple[str, ...]
    fields: tuple[str, ...]

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        fields = ", ".join(self.fields) or "a field"
        return f"{fields} of {self.kind} {place} is owned by {', '.join(self.owners)}"


def conflict_in(said: str) -> Conflict | None:
    """Read who owns what Helm may not change; None where it said something else."""
    found, owners = _OBJECT.search(said), tuple(dict.fromkeys(_OWNER.findall(said)))
    if found is None or not owners:
        return None
    fields = tuple(dict.fromkeys(_FIELD.findall(said)))
    return Conflict(**found.groupdict(), owners=owners, fields=fields)


def take_over(kube: Kube, conflict: Conflict) -> None:
    """Take the owners' claims off the object; raises KubeError."""
    path = _path(kube, conflict)
    managed = kube.get(path)["metadata"].get("managedFields") or []
    operations = []
    for index in reversed(range(len(managed))):
        if managed[index].get("manager") in conflict.owners:
            where = f"/metadata/managedFields/{index}"
            operations += [
                {"op": "test", "path": f"{where}/manager", "value": managed[index]["manager"]},
                {"op": "remove", "path": where},
            ]
    kube.request("PATCH", path, body=operations)


def _path(kube: Kube, conflict: Conflict) -> str:
    api = conflict.api.strip("/")
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    resources = json.loads(kube.request("GET", root))["resources"]
    plural = next(one["name"] for one in resources if one["kind"] == conflict.kind and "/" not in one["name"])
    inside = f"/namespaces/{conflict.namespace}" if conflict.namespace else ""
    return f"{root}{inside}/{plural}/{conflict.name}"
