"""What the users of routes are told, in Gateway API's conditions.

In: routes, verdicts and Services, or a stored status and ours. Out: conditions, and the `status.parents` list to store. Pure: the caller
reads, writes and knows the time. Entries of other controllers are kept, and a condition written for a newer generation is
never overwritten by an older view (GEP-1364).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from controlplane.compiler.attach import Verdict
from controlplane.compiler.policies import BYPASSED
from controlplane.compiler.precedence import Services, Unresolved, backends_of, resolve
from controlplane.compiler.snapshot import Condition, ParentStatus
from controlplane.model.traffic import Route
from meshapi.names import CONTROLLER_NAME

MAX_PARENTS = 32
DEFECTIVE = "Defective"
"""The condition of a Mesh whose control plane found something stale; there only then."""


def route_status(route: Route, verdicts: Sequence[Verdict], services: Services) -> tuple[ParentStatus, ...]:
    """Tell one route about each of its parents."""
    shared = (_resolved(route, services), *_partially_invalid(route))
    told = []
    for parent, verdict in zip(route.parents, verdicts, strict=True):
        accepted = Condition(type="Accepted", status=verdict.accepted, reason=verdict.reason, message=verdict.message)
        conditions = (accepted, *(shared if verdict.accepted else shared[:1]))
        told.append(ParentStatus(reference=parent.reference, conditions=conditions))
    return tuple(told)


def _resolved(route: Route, services: Services) -> Condition:
    for backend in backends_of(route):
        found = resolve(backend, services)
        if isinstance(found, Unresolved):
            message = f"A reference leads nowhere: {found.message}."
            return Condition(type="ResolvedRefs", status=False, reason=found.reason, message=message)
    return Condition(type="ResolvedRefs", status=True, reason="ResolvedRefs", message="All references resolve.")


def _partially_invalid(route: Route) -> tuple[Condition, ...]:
    bad = [(number, rule.error) for number, rule in enumerate(route.rules) if rule.error]
    if not bad or len(bad) == len(route.rules):
        return ()
    said = "; ".join(f"{number}: {error}" for number, error in bad)
    message = f"Dropped Rule {said}. Requests it matches are answered with an error."
    return (Condition(type="PartiallyInvalid", status=True, reason="UnsupportedValue", message=message),)


def defective(stale: Sequence[str]) -> Condition:
    """Tell that a self-check found something stale."""
    message = f"Found stale and made anew: {', '.join(stale)}. This is a defect of Tulle; its log says more."
    return Condition(type=DEFECTIVE, status=True, reason="StaleKeys", message=message)


def merge_conditions(
    stored: Iterable[Mapping[str, Any]], ours: Iterable[Condition], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """Write conditions over the stored ones: types that are not ours stay, and a time changes only with the status."""
    mine = {condition.type: condition for condition in ours}
    before = {str(one.get("type")): dict(one) for one in stored}
    merged = [one for type_, one in before.items() if type_ not in mine and type_ not in _OWN_TYPES]
    for type_, condition in mine.items():
        old = before.get(type_, {})
        if int(old.get("observedGeneration") or 0) > generation:
            merged.append(old)
            continue
        status = "True" if condition.status else "False"
        merged.append(
            {
                "type": type_,
                "status": status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"]
                if old.get("status") == status and old.get("lastTransitionTime")
                else now,
            }
        )
    return merged


_OWN_TYPES = frozenset({"Accepted", "ResolvedRefs", "PartiallyInvalid", BYPASSED, DEFECTIVE})
"""Types that are ours to take away when they no longer hold."""


def merge_parents(
    stored: Iterable[Mapping[str, Any]], ours: Iterable[ParentStatus], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """Write our entries into the stored `status.parents`, each where it stands: foreign ones stay, stale ones of ours go, new ones come last.

    So the order is nobody's, and controllers that sort otherwise do not write against each other. Of the room there is, foreign entries keep theirs.
    """
    waiting = list(ours)
    merged = []
    for entry in stored:
        if entry.get("controllerName") != CONTROLLER_NAME:
            merged.append(dict(entry))
            continue
        status = next((one for one in waiting if one.reference == entry.get("parentRef")), None)
        if status is not None:
            waiting.remove(status)
            merged.append(_entry(status, entry.get("conditions") or [], generation, now))
    room = max(MAX_PARENTS - len(merged), 0)
    return [*merged, *(_entry(status, [], generation, now) for status in waiting[:room])]


def _entry(status: ParentStatus, before: Iterable[Mapping[str, Any]], generation: int, now: str) -> dict[str, Any]:
    return {
        "parentRef": dict(status.reference),
        "controllerName": CONTROLLER_NAME,
        "conditions": merge_conditions(before, status.conditions, generation=generation, now=now),
    }
