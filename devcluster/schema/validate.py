"""One door to everything that judges objects, for the API server.

In: the served resource, the object, and on updates the old one. Out: warnings, the object pruned and defaulted in place, or a `StatusError`: 400 when it cannot be
read as its kind, 422 with every cause when it can but may not be.

    validator.decode(resource, obj, "Strict")  ->  validator.default(resource, obj)  ->  (admission)  ->  validator.validate(...)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from devcluster.api.errors import Object, bad_request
from devcluster.api.kinds import Resource
from devcluster.schema import customs, hooks, rules, structural, values
from devcluster.schema.causes import BLOCKING, Cause, invalid, refusal
from devcluster.schema.cel import Environment, Rules
from devcluster.schema.decode import Decoder
from devcluster.schema.fields import Models

Checking = Literal["Strict", "Warn", "Ignore"]
_UNCHECKED = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
_HOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


class Validator:
    """Knows built-in kinds from the client's models and custom kinds from their definitions."""

    def __init__(self, models: Models | None = None) -> None:
        self.models = models or Models()
        self._rules = Rules()
        self._conditions = Environment(*hooks.CONDITION_VARIABLES)
        self._definitions: dict[tuple[str, str], Object] = {}
        self._schemas: dict[tuple[str, str, str], structural.Schema] = {}
        """By group, kind and version."""

    def install(self, crd: Object) -> None:
        """Know a custom kind, or know it anew; asking for its schema does this too when its definition changed."""
        self.remove(crd)
        spec = crd["spec"]
        self._definitions[spec["group"], spec["names"]["kind"]] = crd
        for version in spec.get("versions") or []:
            schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            self._schemas[spec["group"], spec["names"]["kind"], version["name"]] = schema

    def remove(self, crd: Object) -> None:
        """Forget a custom kind."""
        known = (crd["spec"]["group"], crd["spec"]["names"]["kind"])
        self._definitions.pop(known, None)
        for key in [key for key in self._schemas if key[:2] == known]:
            del self._schemas[key]

    def schema(self, resource: Resource, version: str = "") -> structural.Schema | None:
        """The schema of a custom kind, None for built-in ones."""
        if resource.definition is None:
            return None
        known = (resource.group, resource.kind)
        if self._definitions.get(known) is not resource.definition:
            self.install(resource.definition)
        return self._schemas.get((*known, version or resource.version), {"x-kubernetes-preserve-unknown-fields": True})

    def decode(self, resource: Resource, obj: Object, checking: Checking = "Strict") -> list[str]:
        """Read an object as its kind; custom kinds are pruned. Returns warnings."""
        version = str(obj.get("apiVersion", "")).rpartition("/")[2] or resource.version
        decoder = Decoder(self.models, version, resource.kind)
        schema = self.schema(resource, version)
        if schema is not None:
            unknown = structural.prune(schema, obj)
            found = self.models.get("V1ObjectMeta")
            if found and isinstance(obj.get("metadata"), dict):
                unknown += decoder.unknown(found, obj["metadata"], "metadata")
        else:
            model = self.models.of_kind(resource.group, version, str(obj.get("kind") or resource.kind))
            unknown = list(decoder.unknown(model, obj)) if model else []
        said = [f'unknown field "{path}"' for path in unknown]
        if said and checking == "Strict":
            kind = resource.kind
            text = (
                f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {", ".join(said)}'
            )
            raise bad_request(text)
        return said if checking == "Warn" else []

    def default(self, resource: Resource, obj: Object) -> None:
        """Put in the defaults of a custom kind."""
        schema = self.schema(resource, str(obj.get("apiVersion", "")).rpartition("/")[2])
        if schema is not None:
            structural.default(schema, obj)

    def validate(self, resource: Resource, obj: Object, old: Object | None = None, subresource: str = "") -> None:
        """Refuse an object that may not be, with every cause."""
        causes = list(self._causes(resource, obj, old, subresource))
        if causes:
            name = obj.get("metadata", {}).get("name") or obj.get("metadata", {}).get("generateName") or ""
            raise refusal(resource.group, resource.kind, name, causes)

    def _causes(self, resource: Resource, obj: Object, old: Object | None, subresource: str) -> Iterator[Cause]:
        yield from rules.metadata(obj, resource.kind)
        schema = self.schema(resource, str(obj.get("apiVersion", "")).rpartition("/")[2])
        if schema is not None:
            yield from self._custom(schema, obj, values.MISSING if old is None else old)
        elif subresource in {"", "ephemeralcontainers", "resize"}:
            yield from self._built_in(resource, obj, old)

    def _custom(self, schema: structural.Schema, obj: Object, old: Any) -> Iterator[Cause]:
        found = list(values.check(schema, obj, "", old, whole=True))
        yield from found
        if any(cause.reason in BLOCKING for cause in found):
            yield invalid("", None, _UNCHECKED)
        else:
            yield from self._rules.check(schema, obj, "", old)

    def _built_in(self, resource: Resource, obj: Object, old: Object | None) -> Iterator[Cause]:
        if resource.kind == "CustomResourceDefinition":
            yield from customs.problems(obj, self._rules)
        elif resource.kind in _HOOKS:
            yield from hooks.problems(obj, self._conditions)
        elif rule := rules.RULES.get((resource.group, resource.kind)):
            yield from rule(obj, old)
