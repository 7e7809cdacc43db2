"""What is wrong with one field, in the words of the real API server.

In: a field's path, its value and why it is refused. Out: `Cause`, and one `StatusError` 422 for all causes of an object.
The sentences are part of the contract: users and tests search them (`Required value`, `Unsupported value`, ...).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from devcluster.api import errors
from devcluster.api.errors import StatusError

BLOCKING = frozenset({"FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"})
"""Causes after which the real server does not evaluate CEL rules any more."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One refusal of one field."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field or '<nil>'}: {self.message}"


def show(value: Any) -> str:
    """Write a value as the server quotes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid(field: str, value: Any, why: str) -> Cause:
    """A value of the right type that breaks a rule."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {show(value)}: {why}")


def wrong_type(field: str, value: Any, why: str) -> Cause:
    """A value of another type than the schema's."""
    return Cause(field, "FieldValueTypeInvalid", f"Invalid value: {show(value)}: {why}")


def required(field: str, why: str = "") -> Cause:
    """A field that must be there."""
    return Cause(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def duplicate(field: str, value: Any) -> Cause:
    """A value that is there already."""
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {show(value)}")


def unsupported(field: str, value: Any, allowed: Iterable[Any]) -> Cause:
    """A value outside a closed set."""
    among = ", ".join(show(one) for one in allowed)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {show(value)}: supported values: {among}")


def forbidden(field: str, why: str) -> Cause:
    """A field that may not be set here, or not be changed."""
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")


def too_long(field: str, limit: int) -> Cause:
    """A string above its limit."""
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(field: str, count: int, limit: int) -> Cause:
    """A list or map above its limit."""
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items")


def refusal(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """The 422 that carries every cause."""
    listed = [{"reason": c.reason, "message": c.message, "field": c.field or "<nil>"} for c in causes]
    return errors.invalid(group, kind, name, listed)
