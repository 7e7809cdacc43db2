"""Fields of the built-in kinds, so that nothing is committed that the official client already knows.

In: the source files of the `kubernetes` client's models (read as text: importing them costs 50 MB and a second, reading
one costs a fifth of a millisecond). Out: `Model`s with JSON names, types, required marks and descriptions, read when first
asked for. A kind the client does not know has no model, and its fields are not checked.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILT_IN = frozenset(
    {"", "apps", "batch", "autoscaling", "policy", "rbac.authorization.k8s.io"}
    | {
        f"{name}.k8s.io"
        for name in (
            *("admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization"),
            *("certificates", "coordination", "discovery", "events", "flowcontrol.apiserver"),
            *("networking", "node", "scheduling", "storage"),
        )
    }
)
"""Groups whose kinds the official client has models of."""

QUANTITIES = frozenset(
    {
        ("V1ResourceRequirements", "limits"),
        ("V1ResourceRequirements", "requests"),
        ("V1VolumeResourceRequirements", "limits"),
        ("V1VolumeResourceRequirements", "requests"),
        ("V1PodSpec", "overhead"),
        ("V1EmptyDirVolumeSource", "sizeLimit"),
        ("V1ResourceFieldSelector", "divisor"),
        ("V1ResourceQuotaSpec", "hard"),
        ("V1PersistentVolumeSpec", "capacity"),
        ("V1NodeStatus", "capacity"),
        ("V1NodeStatus", "allocatable"),
        ("V2MetricTarget", "value"),
        ("V2MetricTarget", "averageValue"),
    }
    | {("V1LimitRangeItem", name) for name in ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio")}
)
"""Fields typed as strings by the client that take bare numbers too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a model."""

    name: str
    type: str
    """`str int bool float datetime bytes object int-or-string quantity`, or a model's name."""
    shape: str
    """Empty, `list` or `map` (of `type`); a map of lists has shape `map` and type `object`."""
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One object type of the API."""

    name: str
    description: str
    fields: Mapping[str, Field]


class Models:
    """The client's models, each read once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _client_folder()
        self._known: dict[str, Model | None] = {}

    def of_kind(self, group: str, version: str, kind: str) -> Model | None:
        """The model of a served kind."""
        if group not in BUILT_IN:
            return None
        at = version[:1].upper() + version[1:]
        prefix = group.partition(".")[0].capitalize() if group else "Core"
        return self.get(f"{at}{kind}") or self.get(f"{prefix}{at}{kind}")

    def get(self, name: str) -> Model | None:
        """The model of this class name."""
        if name not in self._known:
            path = self._folder / f"{_snake(name)}.py"
            self._known[name] = _read(name, path.read_text()) if path.is_file() else None
        return self._known[name]

    def reachable(self, model: Model) -> Iterator[Model]:
        """A model and all it refers to, each once."""
        seen, waiting = {model.name}, [model]
        while waiting:
            one = waiting.pop()
            yield one
            for field in one.fields.values():
                if field.type not in seen and field.type[0].isupper() and (inner := self.get(field.type)):
                    seen.add(field.type)
                    waiting.append(inner)


def _client_folder() -> Path:
    spec = importlib.util.find_spec("kubernetes")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0] if places else "/nonexistent") / "client" / "models"


def _snake(name: str) -> str:
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def _read(name: str, text: str) -> Model:
    types, names = _table(text, "openapi_types"), _table(text, "attribute_map")
    lines = dict(re.findall(r"^    (\w+): ((?!ClassVar).*)$", text, re.MULTILINE))
    said = re.search(
        rf"^class {name}\b.*?\n    \"\"\"\s*(.*?)\s*(?:Attributes:|\"\"\")", text, re.DOTALL | re.MULTILINE
    )
    fields = {}
    for attribute, type_ in types.items():
        # The generator renames Python's words: `exec` is declared as `var_exec`.
        line = lines.get(attribute) or lines.get(f"var_{attribute.lstrip('_')}", "Optional")
        field = _field(name, names[attribute], type_, line)
        fields[field.name] = field
    return Model(name=name, description=said[1] if said else "", fields=fields)


def _field(model: str, name: str, type_: str, line: str) -> Field:
    shape = ""
    if found := re.fullmatch(r"(?i:(list)\[(.+)\]|(dict)\[str, (.+)\]|dict\(str, (.+)\))", type_):
        shape = "list" if found[1] else "map"
        type_ = next(part for part in (found[2], found[4], found[5]) if part)
    if "[" in type_:
        type_ = "object"
    if type_ == "object" and re.match(r"(Optional\[)?StrictInt \| StrictStr", line):
        type_ = "int-or-string"
    if (model, name) in QUANTITIES:
        type_ = "quantity"
    said = re.search(r"description=(\"(?:[^\"\\]|\\.)*\")", line)
    return Field(
        name=name,
        type=type_,
        shape=shape,
        required=not line.startswith(("Optional", "Any")),
        description=ast.literal_eval(said[1]) if said else "",
    )


def _table(text: str, name: str) -> dict[str, Any]:
    found = re.search(rf"^    {name}\b[^=\n]*= (\{{.*?\n    \}}|\{{\s*\}})", text, re.DOTALL | re.MULTILINE)
    table: dict[str, Any] = ast.literal_eval(found[1]) if found else {}
    return table
