"""What `tulle check` proves of configuration: that what was written before the first look was judged before the second (pure).

In: routes and policies as the API server has them at two looks. Out: a claim. The control plane writes the generation it has judged into every condition (`observedGeneration`), so one
that does not hear of a change, or cannot decide, is found by what its status still speaks of. `Accepted` is looked at, which is always there: other types may be somebody
else's. A route whose parents are all gateways is judged by others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from meshapi import names
from tulle.claims import Claim, claim, some

Object = Mapping[str, Any]


def of_generations(first: Iterable[Object], second: Sequence[Object]) -> list[Claim]:
    """Claim that the control plane has judged everything as it was last written."""
    written = {_uid(obj): obj["metadata"].get("generation", 0) for obj in first}
    late = [obj for obj in second if _judged(obj) < written.get(_uid(obj), 0)]
    return [
        claim(
            not late,
            "every route and policy is judged as it was last written",
            detail=some(sorted(map(_words, late)), "; "),
            advice="the control plane lags, or its leader cannot write: kubectl -n tulle-system logs deploy/tulle; sidecars go on with what was judged before",
        )
    ]


def _judged(obj: Object) -> float:
    """The generation every `Accepted` of ours speaks of, at least; 0 where there should be one and is none, infinite where nobody of ours has to say anything."""
    ours = obj["metadata"].get("deletionTimestamp") is None and (not _is_route(obj) or _of_services(obj))
    return min(_observed(obj), default=0) if ours else float("inf")


def _observed(obj: Object) -> Iterator[int]:
    status = obj.get("status") or {}
    for entry in _own(status.get("parents") or ()) if _is_route(obj) else (status,):
        for condition in entry.get("conditions") or ():
            if condition["type"] == "Accepted":
                yield condition.get("observedGeneration", 0)


def _own(parents: Iterable[Object]) -> Iterator[Object]:
    return (entry for entry in parents if entry.get("controllerName") == names.CONTROLLER_NAME)


def _is_route(obj: Object) -> bool:
    return "parentRefs" in (obj.get("spec") or {})


def _of_services(route: Object) -> bool:
    parents = route["spec"]["parentRefs"]
    return any((parent.get("group"), parent.get("kind")) == ("", "Service") for parent in parents)


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


def _words(obj: Object) -> str:
    metadata, judged = obj["metadata"], min(_observed(obj), default=0)
    place = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    said = (
        f"{'route' if _is_route(obj) else 'policy'} {place}: generation {metadata.get('generation', 0)} is not judged"
    )
    return said + (f", {judged} is" if judged else "")
