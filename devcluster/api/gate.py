"""Schemas and admission, joined into the one gate the registry asks.

In: steps of a write. Out: the object pruned, defaulted, mutated; warnings in the call. Refuses with what the validator and the admission chain refuse.
"""

from __future__ import annotations

from typing import Literal, cast

from devcluster.access.admission import Admission, AdmissionRequest
from devcluster.api.calls import Step
from devcluster.api.errors import Object
from devcluster.schema.validate import Validator


class FullGate:
    """Everything a real server asks before it stores."""

    def __init__(self, validator: Validator, admission: Admission) -> None:
        self._validator = validator
        self._admission = admission

    def decode(self, step: Step, obj: Object) -> None:
        """Refuse wrong types, refuse or report unknown fields."""
        checking = cast("Literal['Strict', 'Warn', 'Ignore', '']", step.call.validation)
        if checking or step.row.custom:
            step.call.warnings.extend(self._validator.decode(step.row, obj, checking or "Ignore"))

    def default(self, step: Step, obj: Object) -> None:
        """Fill custom defaults in."""
        self._validator.default(step.row, obj)

    async def mutate(self, step: Step, obj: Object, old: Object | None) -> Object:
        """Let mutating admission change an object."""
        return await self._admission.mutate(_request(step, obj), obj, old) or obj

    async def validate(self, step: Step, obj: Object | None, old: Object | None) -> None:
        """Refuse what rules or validating admission refuse."""
        if obj is not None and step.operation != "CONNECT":
            self._validator.validate(step.row, obj, old, step.subresource)
        await self._admission.validate(_request(step, obj or old or {}), obj, old)


def _request(step: Step, obj: Object) -> AdmissionRequest:
    metadata = obj.get("metadata") or {}
    return AdmissionRequest(
        resource=step.row,
        namespace=metadata.get("namespace", ""),
        name=metadata.get("name", ""),
        operation=step.operation,
        user=step.call.user,
        subresource=step.subresource,
        dry_run=step.call.dry_run,
        options=step.options,
        warnings=step.call.warnings,
    )
