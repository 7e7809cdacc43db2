"""Label and field selectors, as lists and watches take them.

In: the text of a query parameter. Out: a predicate on objects. Refuses what the real server refuses, with 400 and a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.api.errors import Object, bad_request

Predicate = Callable[[Object], bool]

_SET = re.compile(r"^\s*([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=,()]+)\s*$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: `key operator values`; operators are those of a LabelSelector, lower case."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, Any]) -> bool:
        """Tell whether the labels meet this term."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return self.key in labels
            case _:
                return self.key not in labels


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Parse `a=b,c!=d,e in (f,g),!h`; raises StatusError(400)."""
    return tuple(_requirement(part, text) for part in re.split(r",(?![^(]*\))", text) if part.strip())


def _requirement(part: str, text: str) -> Requirement:
    if found := _SET.match(part):
        values = tuple(value.strip() for value in found[3].split(","))
        return Requirement(found[1], found[2], values)
    if found := _EQUAL.match(part):
        return Requirement(found[1], "notin" if found[2] == "!=" else "in", (found[3],))
    if found := _EXISTS.match(part):
        return Requirement(found[2], "absent" if found[1] else "exists")
    raise bad_request(f'unable to parse requirement: "{part.strip()}" in selector "{text}"')


def label_predicate(text: str) -> Predicate:
    """Give the predicate of a `labelSelector` parameter."""
    terms = parse_labels(text)
    return lambda obj: all(term.holds(obj["metadata"].get("labels") or {}) for term in terms)


def selector_requirements(selector: Object) -> tuple[Requirement, ...]:
    """Read a `LabelSelector` object (`matchLabels`, `matchExpressions`)."""
    terms = [Requirement(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        operator = {"In": "in", "NotIn": "notin", "Exists": "exists"}.get(expression["operator"], "absent")
        terms.append(Requirement(expression["key"], operator, tuple(expression.get("values") or ())))
    return tuple(terms)


def selector_matches(selector: Object | None, labels: Mapping[str, Any] | None) -> bool:
    """Tell whether labels meet a `LabelSelector` object; an empty one meets all, None meets nothing."""
    return selector is not None and all(term.holds(labels or {}) for term in selector_requirements(selector))


def field_predicate(text: str) -> Predicate:
    """Give the predicate of a `fieldSelector` parameter: dotted paths compared as text; raises StatusError(400)."""
    terms: list[tuple[list[str], bool, str]] = []
    for part in text.split(","):
        found = re.match(r"^\s*([^\s!=]+)\s*(==|=|!=)\s*(.*?)\s*$", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append((found[1].split("."), found[2] == "!=", found[3]))
    return lambda obj: all((_value(obj, path) == value) != negated for path, negated, value in terms)


def _value(obj: Any, path: list[str]) -> str:
    for key in path:
        obj = obj.get(key) if isinstance(obj, dict) else None
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return "" if obj is None else str(obj)
