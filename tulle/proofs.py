"""What `tulle check` proves by two looks at a running mesh, as functions of them (pure).

In: two looks some seconds apart. Out: claims. What is wrong in both looks is wrong, what is wrong in one of them is under way: so a rollout trips nothing. Each claim that
fails names who and why. Destinations are proved end to end: what the API server has is compared with what each replica decided and with what each sidecar holds.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.inject.workload import owner_of
from meshapi import names, xds
from tulle.claims import Claim, claim, some
from tulle.looks import Look, Place
from tulle.lookup import is_injected, is_ready
from tulle.moments import when
from tulle.output import FAILED, WARNING

Object = dict[str, Any]
Port = tuple[str, str, int]
"""Namespace, Service and port."""

_ALIVE = frozenset({"Pending", "Running"})
_STARTING = frozenset({None, "ContainerCreating", "PodInitializing"})
_SILENCE_SECONDS = 180.0
"""Bookmarks of a watch come about once a minute, and a watch that brings none is begun anew after 150 s."""
_START_SECONDS = 20.0
"""How long a sidecar may take to be ready."""


def of_looks(first: Look, second: Look) -> list[Claim]:
    """Claim that the control plane follows, and that every sidecar does."""
    return [
        *_replicas(first, second),
        *_feeds(first, second),
        _writes(first, second),
        _running(first, second),
        *_sidecars(first, second),
        *_destinations(first, second),
    ]


def who(one: Place, look: Look) -> str:
    """Name a pod with its workload."""
    pod = look.pods.get(one)
    owner = owner_of(pod) if pod else ""
    return f"{one[0]}/{one[1]}" + (f" of {owner}" if owner and owner != f"Pod/{one[1]}" else "")


def both(first: Mapping[Any, str], second: Mapping[Any, str]) -> dict[Any, str]:
    """Keep what was found twice, in the words of the second time."""
    return {key: words for key, words in second.items() if key in first}


def _replicas(first: Look, second: Look) -> list[Claim]:
    silent = both(first.silent, second.silent)
    return [
        claim(
            not silent,
            "every replica of the control plane answers",
            detail="; ".join(f"{name}: {why}" for name, why in sorted(silent.items())),
            advice="kubectl -n tulle-system logs <pod> has the reason",
            otherwise=WARNING if second.snapshots else FAILED,  # one that starts beside others that serve is a rollout
        )
    ]


def _feeds(first: Look, second: Look) -> list[Claim]:
    behind, unread = both(_unfollowed(first), _unfollowed(second)), both(_unread(first), _unread(second))
    return [
        claim(
            not unread,
            "the control plane reads every kind",
            detail=some([f"{replica}: {kind}: {why}" for (replica, kind), why in sorted(unread.items())], "; "),
            advice="what was read before stays in force; a conversion webhook may be failing, or the role of Tulle be an old one",
        ),
        claim(
            not behind,
            "the control plane follows the cluster's endpoints",
            detail=some(sorted(f"{replica}: {words}" for (replica, *_), words in behind.items())),
            advice="it lags or a pass fails: kubectl -n tulle-system logs deploy/tulle; tulle_snapshot_failures_total counts",
        ),
        _asked_in_vain(second),
    ]


def _writes(first: Look, second: Look) -> Claim:
    stuck = both(_unwritten(first), _unwritten(second))
    return claim(
        not stuck,
        "the control plane writes what it wants to",
        detail=some(sorted(stuck.values()), "; "),
        advice="it is tried again for as long as it is wanted: mend the role, the webhook or the owner that refuses it",
    )


def _unwritten(look: Look) -> dict[tuple[str, str], str]:
    """By replica and what it is: since when it could not be written, and why."""
    return {
        (replica, one["what"]): f"{replica}: {one['what']} for {one['seconds']:.0f} s: {one['error']}"
        for replica, snapshot in look.snapshots.items()
        for one in snapshot.get("unwritten") or ()
    }


def _unread(look: Look) -> dict[tuple[str, str], str]:
    """By replica and kind: why it is not read, or for how long the API server has not been heard of it."""
    found = {}
    for replica, snapshot in look.snapshots.items():
        for kind, one in (snapshot.get("feed") or {}).items():
            silent = f"nothing heard for {one['age_seconds']:.0f} s" if one["age_seconds"] > _SILENCE_SECONDS else ""
            if why := one.get("error") or silent:
                found[replica, kind] = why
    return found


def _asked_in_vain(look: Look) -> Claim:
    """Services that ask for something sidecars do not do; the control plane says so in a sentence."""
    said = {
        line for one in look.snapshots.values() for line in one.get("problems") or () if line.startswith("Service ")
    }
    return claim(
        not said,
        "no Service asks for what sidecars do not do",
        detail=some(sorted(said), "; "),
        advice="docs/services.md says what of a Service is read",
        otherwise=WARNING,
    )


def _unfollowed(look: Look) -> dict[tuple[str, Port, str], str]:
    """By replica, port and address: how its snapshot differs from the API server's slices."""
    differing: dict[tuple[str, Port, str], str] = {}
    truth = Truth(look)
    for replica, snapshot in look.snapshots.items():
        services = snapshot.get("services") or {}
        held: dict[Port, set[str]] = {}
        for name, known in services.items():
            namespace, _, service = name.partition("/")
            for number, addresses in known["ports"].items():
                held[namespace, service, int(number)] = {_split(one)[0] for one in addresses or ()}
        for port in truth.ready.keys() | held.keys():
            namespace, service, _ = port
            if f"{namespace}/{service}" not in services:
                differing[replica, port, ""] = f"{namespace}/{service} is unknown"
                continue
            wrong = truth.wrong(port, held.get(port, set()))
            differing |= {(replica, port, address): words for address, words in wrong.items()}
    return differing


class Truth:
    """Who serves which port, as the API server has it."""

    def __init__(self, look: Look) -> None:
        self.ready: dict[Port, set[str]] = {}
        """Addresses that must be held."""
        self._known: dict[Place, set[str]] = {}
        """Every address of a Service, in whatever state."""
        self.placed: set[Port] = set()
        """Ports of which callers have other endpoints by where they are; the replica has them all."""
        self.addresses: dict[tuple[str, int], Port] = {}
        """The port behind each ClusterIP and number."""
        by_service: dict[Place, list[Object]] = {}
        for one in look.slices:
            name = (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
            if name and one.get("addressType", "IPv4") in {"IPv4", "IPv6"}:
                by_service.setdefault((one["metadata"].get("namespace", ""), name), []).append(one)
        for service in look.services:
            self._take(service, by_service, look)

    def _take(self, service: Object, by_service: Mapping[Place, list[Object]], look: Look) -> None:
        key = service["metadata"].get("namespace", ""), service["metadata"]["name"]
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return
        slices = by_service.get(key, [])
        self._known[key] = {_ip(a) for one in slices for e in one.get("endpoints") or () for a in e["addresses"][:1]}
        for port in spec.get("ports") or ():
            if port.get("protocol", "TCP") != "TCP":
                continue
            place = (*key, int(port["port"]))
            for ip in spec.get("clusterIPs") or [spec.get("clusterIP")]:
                if ip and ip != "None":
                    self.addresses[_ip(ip), place[2]] = place
            found = {
                _ip(endpoint["addresses"][0])
                for one in slices
                if any((p.get("name") or "") == (port.get("name") or "") for p in one.get("ports") or ())
                for endpoint in one.get("endpoints") or ()
                if _usable(endpoint, key[0], look)
            }
            if found:
                self.ready[place] = found
            if spec.get("internalTrafficPolicy") == "Local" or any(
                endpoint.get("hints") for one in slices for endpoint in one.get("endpoints") or ()
            ):
                self.placed.add(place)

    def wrong(self, port: Port, held: set[str], *, whole: bool = True) -> dict[str, str]:
        """Say by address how what is held of a port is wrong: a ready endpoint that is missing, one that is of the Service no more, or whose Service is gone."""
        namespace, service, number = port
        name = f"{namespace}/{service}:{number}"
        wanted = self.ready.get(port, set()) if whole or port not in self.placed else set()
        missing = {address: f"{name} lacks {address}" for address in wanted - held}
        gone = held - self._known.get((namespace, service), set())
        return missing | {address: f"{name} still has {address}" for address in gone}


def _usable(endpoint: Object, namespace: str, look: Look) -> bool:
    conditions, target = endpoint.get("conditions") or {}, endpoint.get("targetRef") or {}
    if conditions.get("ready") is False or conditions.get("terminating") or not endpoint.get("addresses"):
        return False
    return target.get("kind") != "Pod" or (target.get("namespace") or namespace, target.get("name")) in look.pods


def _sidecars(first: Look, second: Look) -> list[Claim]:
    away = both(_away(first), _away(second))
    refusing = both(_refusing(first), _refusing(second))
    waited = _waiting(first)
    behind = {one: what for one, what in _waiting(second).items() if waited.get(one) == what}
    skipped = sorted("/".join(one) for one, pod in second.pods.items() if _skipped(pod))
    return [
        claim(
            not away,
            "every sidecar is connected",
            detail=some(sorted(away.values())) if away else f"{len(second.proxies)} sidecars",
            advice="their traffic goes on with what they know; kubectl logs <pod> -c tulle-proxy says why",
        ),
        claim(
            not refusing,
            "every sidecar takes its configuration",
            detail=some(sorted(refusing.values()), "; "),
            advice="tulle proxy-status names what was refused; it is a defect: report it with the sentence",
        ),
        claim(
            not behind,
            "every sidecar acknowledges what it is sent",
            detail=some(sorted(f"{who(one, second)} did not acknowledge {what[1]}" for one, what in behind.items())),
            advice="kubectl logs <pod> -c tulle-proxy; a sidecar without CPU is slow as well",
        ),
        claim(
            not skipped,
            "every pod that asked for a sidecar was given one",
            detail=f"skipped: {some(skipped)}" if skipped else "",
            advice=f"its annotation {names.SKIPPED} says why",
            otherwise=WARNING,
        ),
    ]


def _running(first: Look, second: Look) -> Claim:
    down = both(_down(first), _down(second))
    return claim(
        not down,
        "every sidecar runs",
        detail=some(sorted(down.values()), "; "),
        advice="kubectl describe pod <pod>; kubectl logs <pod> -c tulle-proxy, and with --previous",
    )


def _down(look: Look) -> dict[Place, str]:
    """Sidecars that do not run, or have been there for a while and are not ready; one that just starts is neither."""
    found = {}
    for one, pod in look.pods.items():
        status = pod.get("status") or {}
        listed = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        for container in (each for each in listed if each.get("name") == names.PROXY_CONTAINER):
            why = _why_down(container.get("state") or {}, ready=bool(container.get("ready")))
            if why and status.get("phase") in _ALIVE and "deletionTimestamp" not in pod["metadata"]:
                found[one] = f"{who(one, look)}: {why}"
    return found


def _why_down(state: Object, *, ready: bool) -> str:
    waiting, running = state.get("waiting"), state.get("running")
    if waiting is not None:
        return "" if waiting.get("reason") in _STARTING else str(waiting.get("reason") or "it waits")
    if running is None:
        return "it has ended" if state.get("terminated") else ""
    since = when(running.get("startedAt"))
    old = since is not None and (dt.datetime.now(dt.UTC) - since).total_seconds() > _START_SECONDS
    return "it runs and is not ready" if old and not ready else ""


def _skipped(pod: Object) -> bool:
    return names.SKIPPED in (pod["metadata"].get("annotations") or {})


def _away(look: Look) -> dict[Place, str]:
    if not look.snapshots:  # nobody to be connected to: that is said elsewhere
        return {}
    return {
        one: f"{who(one, look)} is not connected"
        for one, pod in look.pods.items()
        if is_injected(pod) and is_ready(pod) and one not in look.proxies
    }


def _refusing(look: Look) -> dict[Place, str]:
    found = {}
    for one, proxy in look.proxies.items():
        reasons = [of["nacked_reason"] for of in (proxy.get("resources") or {}).values() if of.get("nacked_reason")]
        if reasons and one in look.pods:
            found[one] = f"{who(one, look)} refused {', '.join(reasons)}"
    return found


def _waiting(look: Look) -> dict[Place, tuple[str, str]]:
    """By sidecar: which responses of which stream it has not acknowledged."""
    found = {}
    for one, proxy in look.proxies.items():
        pending = {
            url.rpartition(".")[2]: of["unacknowledged"]
            for url, of in (proxy.get("resources") or {}).items()
            if of.get("unacknowledged")
        }
        if pending and one in look.pods and is_ready(look.pods[one]):
            what = ", ".join(f"{kind} response {nonce}" for kind, nonce in sorted(pending.items()))
            found[one] = (str(proxy["connected_since"]), what)
    return found


def _destinations(first: Look, second: Look) -> list[Claim]:
    wrong = both(_frozen(first), _frozen(second))
    silent = both(
        {one: said.silent for one, said in first.sidecars.items() if said.silent},
        {one: said.silent for one, said in second.sidecars.items() if said.silent},
    )
    asked, there = len(second.sidecars), sum(is_injected(pod) and is_ready(pod) for pod in second.pods.values())
    return [
        claim(
            not silent,
            "the sidecars answer",
            detail=some(sorted(f"{who(one, second)}: {why}" for one, why in silent.items()), "; ")
            or f"{asked} of {there} asked",
            advice="kubectl logs <pod> -c tulle-proxy; who asks needs `get` on pods/proxy, `get` and `create` on pods/portforward",
            otherwise=WARNING if all(second.sidecars[one].forbidden for one in silent) else FAILED,
        ),
        claim(
            not wrong,
            "every sidecar holds the destinations the cluster has",
            detail=some(sorted(wrong.values()), "; "),
            advice="kubectl delete pod <pod> gives it a fresh start; report what `tulle routes` and `tulle proxy-status` say",
        ),
    ]


def _frozen(look: Look) -> dict[tuple[Any, ...], str]:
    """How what sidecars hold differs from what the API server has."""
    truth = Truth(look)
    found: dict[tuple[Any, ...], str] = {}
    for one, said in look.sidecars.items():
        for name, held in (said.config.get("endpoints") or {}).items():
            try:
                port = xds.parse_service_cluster(name)
            except xds.BadNameError:
                continue
            addresses = {_ip(endpoint["address"]) for endpoint in held.get("endpoints") or ()}
            for address, words in truth.wrong(port, addresses, whole=False).items():
                found[one, port, address] = f"{who(one, look)}: {words}"
    for one, proxy in look.proxies.items():
        for name in _lost(proxy):
            port_lost = truth.addresses.get(_destination(name))
            if port_lost in truth.ready and one in look.pods:
                found[one, name] = f"{who(one, look)}: {port_lost[0]}/{port_lost[1]}:{port_lost[2]} has vanished for it"
    return found


def _lost(proxy: Object) -> Iterable[str]:
    """Name the destinations a sidecar asked for and was told there are none."""
    return (
        name
        for url, of in (proxy.get("resources") or {}).items()
        if url.endswith(".Listener")
        for name in of.get("missing") or ()
    )


def _destination(name: str) -> tuple[str, int]:
    try:
        return xds.parse_outbound_listener(name)
    except xds.BadNameError:
        return "", 0


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return _ip(host.strip("[]")), port


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text
