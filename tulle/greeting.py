"""Two sidecars made to greet each other: what `tulle check` proves of the path between pods.

In: a look, and a cluster to ask. Out: greetings by caller and destination, and the claim about them. A sidecar is asked by the control plane to make a mesh TLS handshake with a destination
its own app uses; the callee must take its certificate and speak HTTP/2 back. No request is sent: no app notices. A greeting that fails is tried again, for an endpoint may be on its way out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from tulle.claims import Claim, claim, some
from tulle.kube import Kube
from tulle.looks import Look, Place
from tulle.lookup import BusyError, ask_sidecar, control_planes
from tulle.output import Failure
from tulle.proofs import who

Object = dict[str, Any]
Pair = tuple[Place, str]
"""Who asks, and the cluster it asks for."""

MOST = 20
"""Pairs tried; of more, so many by chance."""
_AT_ONCE = 8
"""Questions at once: a replica answers 16, to all who ask."""
_TRIES = 3
"""Where a replica is busy, or another asks the same sidecar."""
_PAUSE = 0.5
_PATIENCE = 3.0
"""Seconds a sidecar may take, of which it gives its peer two."""
_HTTP = frozenset({"http", "http2", "grpc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """How it went."""

    failed: str = ""
    endpoint: str = ""
    proved: bool = True
    """Whether the sidecar could be asked at all."""


def pairs(look: Look) -> list[Pair]:
    """Choose who greets whom: every caller once, and at most `MOST` of them."""
    found = []
    for one, said in look.sidecars.items():
        known = sorted(_meshed(said.config))
        if known:
            found.append((one, random.choice(known)))  # noqa: S311 - a sample
    return sorted(found if len(found) <= MOST else random.sample(found, MOST))


def _meshed(config: Object) -> set[str]:
    """Clusters of HTTP Services this sidecar would call by mesh TLS, all of whose endpoints have it."""
    clusters, endpoints = config.get("clusters") or {}, config.get("endpoints") or {}
    found = set()
    for listener in (config.get("listeners") or {}).values():
        facts = {key: value for key, value in listener.get("metadata") or () if isinstance(key, str)}
        if listener.get("inbound") or facts.get("kind") != "service" or facts.get("protocol") not in _HTTP:
            continue
        name = f"{facts.get('namespace')}/{facts.get('service')}:{int(facts.get('port') or 0)}"
        held = (endpoints.get(name) or {}).get("endpoints") or ()
        if (clusters.get(name) or {}).get("mesh_tls") and held and all(one.get("mesh") for one in held):
            found.add(name)
    return found


def greet(kube: Kube, system: str, chosen: Sequence[Pair]) -> dict[Pair, Greeting]:
    """Have each pair greet."""
    patient, replicas = replace(kube, timeout=_PATIENCE), control_planes(kube, system)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(chosen, pool.map(lambda pair: _greeted(patient, replicas, pair), chosen), strict=True))


def _greeted(kube: Kube, replicas: Sequence[Object], pair: Pair) -> Greeting:
    (namespace, name), cluster = pair
    pod = {"metadata": {"namespace": namespace, "name": name}}
    for left in reversed(range(_TRIES)):
        try:
            said = ask_sidecar(kube, replicas, pod, "/reach", {"cluster": cluster})
            break
        except BusyError:
            if not left:
                return Greeting(proved=False)
            time.sleep(_PAUSE)
        except Failure:
            return Greeting(proved=False)  # an older sidecar, a destination let go: nothing is known
    return Greeting(failed=str(said.get("failed") or ""), endpoint=str(said.get("endpoint") or ""))


def of_greetings(look: Look, first: Mapping[Pair, Greeting], again: Mapping[Pair, Greeting]) -> Claim:
    """Claim that sidecars reach each other; `again` are those that failed before, tried once more."""
    failed = {pair: one for pair, one in again.items() if one.failed and first[pair].failed}
    proved = sum(one.proved and not one.failed for one in first.values())
    unknown = sum(not one.proved for one in first.values())
    unasked = f", {unknown} could not be asked" if unknown else ""
    told = [
        f"{who(caller, look)} to {cluster} at {one.endpoint}: {one.failed}"
        for (caller, cluster), one in sorted(failed.items())
    ]
    return claim(
        not failed,
        "sidecars reach each other by mutual TLS",
        detail=some(told, "; ")
        or (f"{proved} tried{unasked}" if proved else f"no two that talk were found{unasked}: nothing was proved"),
        advice="kubectl logs <pod> -c tulle-proxy at both ends",
    )
