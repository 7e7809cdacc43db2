"""What `tulle check` proves of time: that nothing holds the control plane's loop, and that what it tells is acknowledged soon (pure).

In: two looks. Out: claims. Each replica counts how late its loop wakes and how long acknowledgements take, so what happened between the looks is the difference; each stream says for how
long its oldest change has waited. A replica of a version that does not say is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tulle.claims import Claim, claim, some
from tulle.looks import Look, Place
from tulle.output import FAILED, WARNING
from tulle.proofs import who

Object = Mapping[str, Any]

HELD = 0.5
"""Share of the time between the looks for which the loop was held, from which on it does little else."""
WAIT_SECONDS = 3.0
"""A change that has waited for so long on a stream that is no new one is not under way any more."""


def of_time(first: Look, second: Look) -> list[Claim]:
    """Claim that the control plane is there for who calls, and sidecars for what changes."""
    return [_loops(first, second), _changes(first, second)]


def _loops(first: Look, second: Look) -> Claim:
    held, late = [], []
    for replica, (before, now) in sorted(_timings(first, second).items()):
        watched = now["watched_seconds"] - before["watched_seconds"]
        if watched <= 0:  # it began anew
            continue
        share = (now["late_seconds"] - before["late_seconds"]) / watched
        waits = now["woken_late"] - before["woken_late"]
        if share >= HELD and waits:
            held.append(f"{replica}: its loop was held for {share:.0%} of {watched:.1f} s")
        elif count := now["woken_very_late"] - before["woken_very_late"]:
            late.append(f"{replica}: its loop was held {count} times for more than a second")
    return _graded(
        held,
        late,
        "nothing holds the control plane's loop",
        "it lacks CPU (`resources`), or something keeps it busy: tulle_loop_lag_seconds, tulle_gc_pause_seconds; more replicas share sidecars, not changes",
    )


def _changes(first: Look, second: Look) -> Claim:
    waits = sorted(
        f"{who(one, second)}: a change has waited for {proxy['waiting_seconds']:.1f} s"
        for one, proxy in second.proxies.items()
        if proxy.get("waiting_seconds", 0.0) >= WAIT_SECONDS and one in second.pods and _same_stream(one, first, proxy)
    )
    slow = []
    for replica, (then, now) in sorted(_timings(first, second).items()):
        late, of = (now[name] - then[name] for name in ("acknowledged_late", "acknowledged"))
        if late > 0:
            slow.append(f"{replica}: {late} of {of} acknowledgements took more than 2.5 s")
    return _graded(
        waits,
        slow,
        "what changes is acknowledged by every sidecar in time",
        "a sidecar without CPU or cut off, or a control plane that lags: tulle proxy-status, tulle_change_acknowledged_seconds",
    )


def _graded(failing: Sequence[str], limping: Sequence[str], text: str, advice: str) -> Claim:
    """Claim what has two grades of not holding; the worse is told."""
    otherwise = FAILED if failing else WARNING
    return claim(
        not failing and not limping, text, detail=some(failing or limping, "; "), advice=advice, otherwise=otherwise
    )


def _timings(first: Look, second: Look) -> dict[str, tuple[Object, Object]]:
    """By replica: what it had counted at both looks; not those that began anew in between."""
    found = {}
    for replica, snapshot in second.snapshots.items():
        before, now = (first.snapshots.get(replica) or {}).get("timing"), snapshot.get("timing")
        if before and now and now["watched_seconds"] >= before["watched_seconds"]:
            found[replica] = before, now
    return found


def _same_stream(one: Place, first: Look, proxy: Object) -> bool:
    before = first.proxies.get(one)
    return before is not None and before["connected_since"] == proxy["connected_since"]
