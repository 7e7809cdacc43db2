"""What `tulle check` proves of configuration: what was written before the first look was judged before the second."""

from __future__ import annotations

from typing import Any

import pytest

from meshapi import names
from tulle.judging import of_generations
from tulle.output import FAILED, OK

Object = dict[str, Any]

JUDGED = "every route and policy is judged as it was last written"
SERVICE = {"group": "", "kind": "Service", "name": "web"}
GATEWAY = {"name": "g"}


def route(generation: int, *judged: int, parent: Object = SERVICE, controller: str = names.CONTROLLER_NAME) -> Object:
    entries = [{"controllerName": controller, "conditions": [condition(one)]} for one in judged]
    metadata = {"namespace": "shop", "name": "r", "uid": "1", "generation": generation}
    return {"metadata": metadata, "spec": {"parentRefs": [parent]}, "status": {"parents": entries}}


def policy(generation: int, *judged: int) -> Object:
    conditions = [condition(one) for one in judged]
    metadata = {"namespace": "shop", "name": "p", "uid": "2", "generation": generation}
    return {"metadata": metadata, "spec": {}, "status": {"conditions": conditions}}


def condition(observed: int) -> Object:
    return {"type": "Accepted", "status": "True", "observedGeneration": observed}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (route(2, 1), route(2, 1), "route shop/r: generation 2 is not judged, 1 is"),
        (route(2, 1), route(5, 1), "route shop/r: generation 5 is not judged, 1 is"),
        (route(1), route(1), "route shop/r: generation 1 is not judged"),
        (
            route(1, 1, controller="another"),
            route(1, 1, controller="another"),
            "route shop/r: generation 1 is not judged",
        ),
        (route(2, 2, 1), route(2, 2, 1), "route shop/r: generation 2 is not judged, 1 is"),
        (policy(2, 1), policy(2, 1), "policy shop/p: generation 2 is not judged, 1 is"),
        (policy(1), policy(1), "policy shop/p: generation 1 is not judged"),
    ],
)
def test_what_is_not_judged_for_long_is_named(first: Object, second: Object, words: str) -> None:
    """Each entry of ours counts, and each that should be there."""
    (claim,) = of_generations([first], [second])

    assert (claim.status, claim.text, claim.detail) == (FAILED, JUDGED, words)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (route(2, 2), route(2, 2)),
        (route(2, 1), route(3, 2)),  # edited each second: the one before was judged
        (route(2, 2), route(3, 2)),  # edited just now
        (route(1), route(1, 1)),
        (route(1, parent=GATEWAY), route(1, parent=GATEWAY)),
        (policy(2, 1), policy(2, 2)),
    ],
)
def test_what_is_judged_or_was_written_just_now_is_no_outage(first: Object, second: Object) -> None:
    """A route of a gateway is judged by others."""
    (claim,) = of_generations([first], [second])

    assert (claim.status, claim.detail) == (OK, "")


def test_condition_of_somebody_else_says_nothing_of_us() -> None:
    """Whoever wrote it may have ended long ago."""
    obj = policy(2, 2)
    obj["status"]["conditions"].append({"type": "Reviewed", "status": "True", "observedGeneration": 1})

    (claim,) = of_generations([obj], [obj])
    assert claim.status == OK


def test_what_came_or_goes_between_the_looks_is_no_outage() -> None:
    """Nor what was deleted and made again."""
    ending = route(2, 1)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    another = route(2, 1)
    another["metadata"]["uid"] = "3"

    for first, second in (([], [route(1)]), ([route(1)], []), ([ending], [ending]), ([another], [route(2, 1)])):
        (claim,) = of_generations(first, second)
        assert claim.status == OK
