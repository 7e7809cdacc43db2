"""The arithmetic of a rollout: how many pods each ReplicaSet of a Deployment may have right now.

Pure. In: what is wanted and what there is. Out: the numbers to scale to. At no time more than `replicas + maxSurge` pods are asked
for, and never are pods taken away that would leave fewer than `replicas - maxUnavailable` available.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devcluster.controllers.objects import share

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One ReplicaSet in numbers."""

    name: str
    wanted: int
    present: int
    available: int


def bounds(spec: Object) -> tuple[int, int]:
    """Read maxSurge and maxUnavailable; both zero would never move, so then one may be unavailable."""
    given = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    whole = spec.get("replicas", 1)
    surge = share(given.get("maxSurge", "25%"), whole, up=True)
    unavailable = min(share(given.get("maxUnavailable", "25%"), whole, up=False), whole)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def rolling(spec: Object, new: Count, old: Sequence[Count]) -> dict[str, int]:
    """Give the numbers of a rolling update's next step."""
    whole = spec.get("replicas", 1)
    surge, unavailable = bounds(spec)
    scaled: dict[str, int] = {}
    total = new.wanted + sum(count.wanted for count in old)
    if new.wanted > whole:
        scaled[new.name] = whole
    elif new.wanted < whole and total < whole + surge:
        scaled[new.name] = new.wanted + min(whole + surge - total, whole - new.wanted)
    wanted_new = scaled.get(new.name, new.wanted)
    spare = wanted_new + sum(count.wanted for count in old) - (whole - unavailable)
    spare -= max(0, wanted_new - new.available)
    left = {count.name: count.wanted for count in old}
    for count in old:  # first those that serve nobody
        gone = min(max(0, count.wanted - count.available), spare, left[count.name])
        if gone > 0:
            left[count.name] -= gone
            spare -= gone
    available = new.available + sum(min(count.available, left[count.name]) for count in old)
    spare = available - (whole - unavailable)
    for count in old:
        gone = min(left[count.name], spare)
        if gone > 0:
            left[count.name] -= gone
            spare -= gone
    return scaled | {count.name: left[count.name] for count in old if left[count.name] != count.wanted}


def recreate(spec: Object, new: Count, old: Sequence[Count], *, old_pods: int) -> dict[str, int]:
    """Give the numbers of a recreation's next step: the new only when the last of the old is gone."""
    if any(count.wanted for count in old):
        return {count.name: 0 for count in old if count.wanted}
    if old_pods or new.wanted == spec.get("replicas", 1):
        return {}
    return {new.name: spec.get("replicas", 1)}
