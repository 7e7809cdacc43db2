"""What `tulle check` proves by two looks: each planted outage fails its claim, names who and says why; what moves trips nothing."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from controlplane.ca import issuer
from meshapi import names, xds
from tulle import blaming, opting, proofs, trusting
from tulle.claims import Claim
from tulle.looks import Look, Place, Said, read
from tulle.opting import Trial
from tulle.output import FAILED, OK, WARNING

Object = dict[str, Any]
WEB: Place = ("shop", "web-1")
CART: Place = ("shop", "cart-1")
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
NOW = dt.datetime.now(dt.UTC)


def pod(name: str, *, injected: bool = True, **metadata: Any) -> Object:
    metadata.setdefault("annotations", {names.STATUS: "{}"} if injected else {})
    return {"metadata": {"name": name, "namespace": "shop", **metadata}, "spec": {}, "status": READY}


def proxy(name: str, **resource: Any) -> Object:
    listeners = {"sent": 1, "acked": 1, "nacked_reason": None, "unacknowledged": None, "missing": []} | resource
    return {
        "pod": name,
        "namespace": "shop",
        "connected_since": "2026-01-01T00:00:00Z",
        "certificate_expires_at": (NOW + dt.timedelta(hours=20)).isoformat(),
        "resources": {"type.googleapis.com/envoy.config.listener.v3.Listener": listeners},
    }


def a_slice(*addresses: str, ready: bool = True) -> Object:
    return {
        "metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
    }


def snapshot(*addresses: str, **authority: Any) -> Object:
    held = [f"{address}:8080" for address in addresses]
    feed = {"HTTPRoute": {"version": "v1", "age_seconds": 59.0, "error": None}}
    return {
        "services": {"shop/web": {"ips": ["10.96.0.1"], "ports": {"80": held}}},
        "authority": authority,
        "feed": feed,
    }


def reading(**feed: Any) -> dict[str, Object]:
    """A replica that reads a kind as told."""
    known = snapshot("10.0.0.1", "10.0.0.2")
    return {"tulle-0": known | {"feed": {"HTTPRoute": known["feed"]["HTTPRoute"] | feed}}}


def config(*addresses: str, roots: str = "") -> Object:
    held = {"name": "shop/web:80", "endpoints": [{"address": address, "port": 8080} for address in addresses]}
    return {"endpoints": {"shop/web:80": held}, "secrets": {xds.TRUST_BUNDLE: {"roots": roots}}}


def well() -> Look:
    """A mesh in which all is well: a Service with two endpoints, and two sidecars that know them."""
    service = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]},
    }
    both = ("10.0.0.1", "10.0.0.2")
    return Look(
        pods={WEB: pod("web-1"), CART: pod("cart-1")},
        services=(service,),
        slices=(a_slice(*both),),
        proxies={WEB: proxy("web-1"), CART: proxy("cart-1")},
        snapshots={"tulle-0": snapshot(*both)},
        sidecars={WEB: Said(config=config(*both)), CART: Said(config=config(*both))},
    )


def failing(found: list[Claim], but: str = OK) -> dict[str, str]:
    """What does not hold, and why."""
    return {claim.text: claim.detail for claim in found if claim.status not in {OK, but}}


def proved(first: Look, second: Look | None = None) -> dict[str, str]:
    return failing(proofs.of_looks(first, second or first))


def test_all_holds_where_all_is_well() -> None:
    """No claim fails, none warns."""
    assert proved(well()) == {}


MUTE = replace(well(), sidecars=well().sidecars | {WEB: Said(silent="timed out")})
FROZEN = replace(well(), sidecars={WEB: Said(config=config("10.0.0.1", "10.0.0.9")), CART: well().sidecars[CART]})
LAGGING = replace(well(), snapshots={"tulle-0": snapshot("10.0.0.1")})
STUCK = {"what": "status HTTPRoute shop/web", "seconds": 41.2, "error": "not allowed to"}
UNWRITTEN = replace(well(), snapshots={"tulle-0": snapshot("10.0.0.1", "10.0.0.2") | {"unwritten": [STUCK]}})
UNKNOWN = replace(well(), snapshots={"tulle-0": {"services": {}}})
EMPTY = {one: Said(config=config()) for one in (WEB, CART)}
SCALED = replace(well(), slices=(a_slice(),), sidecars=EMPTY)
DELETED = replace(well(), services=(), slices=(), sidecars=EMPTY)
OUTLIVED = replace(well(), services=(), slices=(), snapshots={"tulle-0": {"services": {}}})
VANISHED = replace(well(), proxies=well().proxies | {WEB: proxy("web-1", missing=["outbound/10.96.0.1:80"])})
REFUSING = replace(well(), proxies=well().proxies | {CART: proxy("cart-1", nacked_reason="inbound/x: no such filter")})
DEAF = replace(well(), proxies=well().proxies | {CART: proxy("cart-1", unacknowledged="7")})
AWAY = replace(well(), proxies={WEB: proxy("web-1")})
CRASHED = {"name": names.PROXY_CONTAINER, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
UNREADY = {"name": names.PROXY_CONTAINER, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "ready": False}
STARTING = UNREADY | {"state": {"running": {"startedAt": (NOW + dt.timedelta(hours=1)).isoformat()}}}


def holding(container: Object) -> Look:
    """A mesh with a pod whose sidecar is so."""
    status = {"phase": "Running", "initContainerStatuses": [container]}
    return replace(well(), pods=well().pods | {CART: pod("cart-1") | {"status": status}})


UNREAD = replace(well(), snapshots=reading(error="conversion webhook failed"))
UNHEARD = replace(well(), snapshots=reading(age_seconds=400.0))
SILENT = replace(well(), silent={"tulle-1": "not ready: there is no issuer"}, snapshots={})
OUTAGES = [
    (MUTE, "the sidecars answer", ["shop/web-1: timed out"]),
    (FROZEN, "every sidecar holds the destinations the cluster has", ["shop/web-1: shop/web:80 lacks 10.0.0.2"]),
    (FROZEN, "every sidecar holds the destinations the cluster has", ["shop/web-1: shop/web:80 still has 10.0.0.9"]),
    (VANISHED, "every sidecar holds the destinations the cluster has", ["shop/web-1: shop/web:80 has vanished for it"]),
    (LAGGING, "the control plane follows the cluster's endpoints", ["tulle-0: shop/web:80 lacks 10.0.0.2"]),
    (
        UNWRITTEN,
        "the control plane writes what it wants to",
        ["tulle-0: status HTTPRoute shop/web for 41 s: not allowed to"],
    ),
    (UNKNOWN, "the control plane follows the cluster's endpoints", ["tulle-0: shop/web is unknown"]),
    (SCALED, "the control plane follows the cluster's endpoints", ["tulle-0: shop/web:80 still has 10.0.0.1"]),
    (DELETED, "the control plane follows the cluster's endpoints", ["tulle-0: shop/web:80 still has 10.0.0.1"]),
    (OUTLIVED, "every sidecar holds the destinations the cluster has", ["shop/web-1: shop/web:80 still has 10.0.0.1"]),
    (REFUSING, "every sidecar takes its configuration", ["shop/cart-1 refused", "no such filter"]),
    (DEAF, "every sidecar acknowledges what it is sent", ["shop/cart-1 did not acknowledge Listener response 7"]),
    (AWAY, "every sidecar is connected", ["shop/cart-1 is not connected"]),
    (holding(CRASHED), "every sidecar runs", ["shop/cart-1: CrashLoopBackOff"]),
    (holding(UNREADY), "every sidecar runs", ["shop/cart-1: it runs and is not ready"]),
    (UNREAD, "the control plane reads every kind", ["tulle-0: HTTPRoute: conversion webhook failed"]),
    (UNHEARD, "the control plane reads every kind", ["tulle-0: HTTPRoute: nothing heard for 400 s"]),
    (SILENT, "every replica of the control plane answers", ["tulle-1: not ready: there is no issuer"]),
]


@pytest.mark.parametrize(("planted", "text", "words"), OUTAGES)
def test_outage_fails_one_claim_that_says_who_and_why(planted: Look, text: str, words: list[str]) -> None:
    """It stands in both looks; nothing else is blamed."""
    found = proved(planted)

    assert list(found) == [text]
    assert all(word in found[text] for word in words)


@pytest.mark.parametrize(
    "planted",
    [MUTE, FROZEN, SCALED, DELETED, VANISHED, LAGGING, UNKNOWN, REFUSING, DEAF, AWAY, UNREAD, UNHEARD, SILENT],
)
def test_what_one_look_alone_finds_is_under_way(planted: Look) -> None:
    """A workload that rolls, a control plane that publishes a moment later."""
    assert proved(planted, well()) == {}
    assert proved(well(), planted) == {}


def test_sidecar_that_just_began_is_no_outage() -> None:
    """A new pod is given time."""
    assert proved(holding(STARTING)) == {}


def test_response_after_response_that_is_acknowledged_is_no_lag() -> None:
    """Always one in flight, never the same one; and another stream counts anew."""
    first = replace(well(), proxies=well().proxies | {CART: proxy("cart-1", unacknowledged="6")})
    other = proxy("cart-1", unacknowledged="7") | {"connected_since": "2026-01-01T00:00:05Z"}

    assert proved(first, DEAF) == {}
    assert proved(DEAF, replace(well(), proxies=well().proxies | {CART: other})) == {}


def test_endpoints_that_are_not_ready_need_not_be_held() -> None:
    """Nor are they stale where they are: Kubernetes uses them when there is no other."""
    starting = replace(well(), slices=(a_slice("10.0.0.1", "10.0.0.2", ready=False),))

    assert proved(starting) == {}
    assert proved(replace(starting, snapshots={"tulle-0": snapshot()})) == {}


def counted(requests: int, **errors: int) -> Said:
    """A scrape, as a sidecar writes it."""
    lines = ["# HELP tulle_errors_total Responses", f'tulle_requests_total{{a="b",response_flags="-"}} {requests}']
    lines += [f'tulle_errors_total{{reason="{word}"}} {count}' for word, count in errors.items()]
    return read("\n".join([*lines, "tulle_certificate_expiry_seconds 4000000000.5"]), {})


def kept(requests: int, **errors: int) -> Said:
    """A scrape of a sidecar that keeps its last minute."""
    lines = [f"tulle_requests_last_minute {requests}", 'tulle_errors_total{reason="no_healthy_upstream"} 900']
    lines += [f'tulle_errors_last_minute{{reason="{word}"}} {count}' for word, count in errors.items()]
    return read("\n".join(lines), {})


def blamed(first: Look, second: Look) -> list[tuple[str, str, str]]:
    return [(c.status, c.text, c.detail) for c in blaming.of_errors(first, second) if c.status != OK]


FAULT = "no request gets an error the mesh made"


def test_errors_of_the_last_minute_are_told_by_workload_word_and_share() -> None:
    """An outage that was there before the looks is seen; what is older is history."""
    owned = pod("web-1", ownerReferences=[{"kind": "StatefulSet", "name": "web", "controller": True}])
    look = replace(well(), pods=well().pods | {WEB: owned}, sidecars={WEB: kept(240, no_healthy_upstream=3)})

    told = "shop/web-1 of StatefulSet/web: 3 of 240 requests no_healthy_upstream, 1.2% in the last minute"
    assert blamed(look, look) == [(FAILED, FAULT, told)]
    quiet = replace(look, sidecars={WEB: kept(240)})
    assert blamed(quiet, quiet) == []


def test_errors_of_a_sidecar_that_keeps_no_minute_are_counted_between_the_looks() -> None:
    """One of the version before: by workload, word and share as well."""
    before = replace(well(), sidecars={WEB: counted(100, upstream_reset=5)})
    after = replace(before, sidecars={WEB: counted(140, upstream_reset=5, no_healthy_upstream=3)})

    told = "shop/web-1: 3 of 40 requests no_healthy_upstream, 7.5% between the looks"
    assert blamed(before, after) == [(FAILED, FAULT, told)]
    assert blamed(after, after) == []
    assert blamed(after, before) == [], "a sidecar that began anew"


def test_errors_that_were_asked_for_are_nobody_s_fault() -> None:
    """A policy that denies works; an app slower than its route is looked at, not blamed on the mesh."""
    look = replace(well(), sidecars={WEB: kept(9, rbac_denied=4, request_timeout=1)})

    told = "shop/web-1: 1 of 9 requests request_timeout, 11.1% in the last minute"
    assert blamed(look, look) == [(WARNING, "no request takes longer than its route allows", told)]


def bare(look: Look, *, namespace: Object | None = None, second: Look | None = None) -> tuple[str, str]:
    spoken = {"metadata": {"name": "shop", **(namespace or {})}}
    found = opting.of_pods(look, second or look, [spoken], None, "tulle-system")
    return found.status, found.detail


def test_pod_that_asked_and_is_bare_is_named() -> None:
    """By its own word, or by its namespace's; who said no, or was skipped with a reason, is not."""
    asked = replace(well(), pods={WEB: pod("web-1", annotations={names.INJECT: names.ENABLED})})
    silent = replace(well(), pods={WEB: pod("web-1", injected=False), CART: pod("cart-1")})
    out = replace(well(), pods={WEB: pod("web-1", annotations={names.INJECT: names.DISABLED})})
    label = {"labels": {names.INJECT: names.ENABLED}}

    assert bare(asked) == (FAILED, "shop/web-1: no sidecar, though its annotation says enabled")
    assert bare(silent, namespace=label) == (FAILED, "shop/web-1: no sidecar, though its namespace says enabled")
    assert bare(silent, namespace={"annotations": {names.INJECT: names.ENABLED}}) == (OK, "")
    assert bare(silent) == (OK, "")
    assert bare(out, namespace=label) == (OK, "")
    assert bare(well(), second=asked) == (OK, "")


@pytest.mark.parametrize(("updated", "status"), [(1, FAILED), (0, OK)])
def test_bare_pod_of_a_workload_that_asked_is_found_once_its_rollout_is_over(updated: int, status: str) -> None:
    """The old pods of a rollout are on their way out."""
    owned = pod("web-1", injected=False, ownerReferences=[{"kind": "StatefulSet", "name": "web", "controller": True}])
    workload = {
        "metadata": {"name": "web", "generation": 2, "annotations": {names.INJECT: names.ENABLED}},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": updated},
    }
    look = replace(well(), pods={WEB: owned}, workloads={("StatefulSet", "shop", "web"): workload})

    assert bare(look)[0] == status


def test_trial_tells_whether_a_pod_made_now_gets_its_sidecar() -> None:
    """With it, without it, refused by a webhook that cannot be called, refused for other reasons."""
    injected = {"metadata": {}, "spec": {"initContainers": [{"name": names.PROXY_CONTAINER}]}}
    plain = {"metadata": {}, "spec": {"containers": [{"name": "app"}]}}
    refused = 'failed calling webhook "pods.inject.tulle.dev": x509: certificate signed by unknown authority'

    assert opting.of_trial(Trial(namespace="shop", pod=injected)).status == OK
    assert "failed open" in opting.of_trial(Trial(namespace="shop", pod=plain)).detail
    called = opting.of_trial(Trial(namespace="shop", refusal=refused, code=500))
    assert (called.status, "unknown authority" in called.detail) == (FAILED, True)
    assert opting.of_trial(Trial(namespace="shop", refusal="exceeded quota", code=403)).status == WARNING


@pytest.fixture(scope="module")
def roots() -> tuple[str, str]:
    """The root of now, and another."""
    now, former = (issuer.new_root("cluster.local", now=NOW)[issuer.ROOT] for _ in range(2))
    return base64.b64decode(now).decode(), base64.b64decode(former).decode()


def trusted(look: Look, roots: str, *, hook: str | None = None, remembered: str | None = None) -> dict[str, str]:
    bundle = base64.b64encode((roots if hook is None else hook).encode()).decode()
    hooks = [{"webhooks": [{"name": "pods", "clientConfig": {"caBundle": bundle}}]}]
    return failing(trusting.of_trust(look, look, {"data": {"roots": remembered or roots}}, hooks))


def signed(roots: str, *, held: str = "", life: float = 3650, left: float = 3000, **more: Any) -> Look:
    """A mesh with an issuer of so many days."""
    said = Said(config=config(roots=held or roots))
    told = signed_by(roots, life=life, left=left) | more
    return replace(well(), snapshots={"tulle-0": snapshot(**told)}, sidecars={WEB: said})


def signed_by(roots: str, *, life: float = 3650, left: float = 3000) -> Object:
    """What a replica says of its authority."""
    return {
        "roots": roots,
        "issuer_began_at": (NOW + dt.timedelta(days=left - life)).isoformat(),
        "issuer_expires_at": (NOW + dt.timedelta(days=left)).isoformat(),
        "certificate_seconds": 86400,
    }


def test_change_of_roots_that_is_held_up_names_whom_it_waits_for(roots: tuple[str, str]) -> None:
    """And roots that others lend, or do not."""
    change = {"stage": "trust", "since": "2026-01-01T00:00:00Z", "waiting": ["pod shop/web-1"]}
    held_up = signed(roots[0], root_change=change)
    moving = replace(
        held_up, snapshots={"tulle-0": snapshot(**signed_by(roots[0]) | {"root_change": change | {"waiting": []}})}
    )
    lent = signed(roots[0], roots_refused="it holds no certificate")
    remembers = signed("".join(roots), to_remember=[])

    assert trusted(held_up, roots[0]) == {"no change of roots is held up": "stage trust waits for pod shop/web-1"}
    assert failing(trusting.of_trust(held_up, moving, {"data": {"roots": roots[0]}}, ())) == {}
    assert trusted(lent, roots[0]) == {"the roots that others lend can be used": "tulle-0: it holds no certificate"}
    assert trusted(remembers, "".join(roots), remembered=roots[0]) == {}


def test_stale_bundle_is_found_wherever_it_lies(roots: tuple[str, str]) -> None:
    """In a sidecar, in a webhook, in the ConfigMap."""
    now, former = roots
    fine = signed(now)

    assert trusted(fine, now) == {}
    assert "shop/web-1 has a stale bundle: it lacks 1 of 1" in str(trusted(signed(now, held=former), now))
    assert "it trusts 1 roots the control plane does not" in str(trusted(signed(now, held=now + former), now))
    assert trusted(fine, now, hook=former) == {"the webhooks' caBundle is what the control plane trusts": "stale: pods"}
    assert "tulle-trust is stale" in str(trusted(fine, now, remembered=former))


def test_replicas_that_trust_different_roots_are_found(roots: tuple[str, str]) -> None:
    """What one replica issues, who was told by the other refuses; roots of one alone while the other learns of them are under way."""
    now, former = roots
    apart = replace(signed(now), snapshots={"tulle-0": snapshot(roots=now), "tulle-1": snapshot(roots=former)})

    assert "tulle-0 lacks 1, tulle-1 lacks 1" in trusted(apart, now)["every replica trusts the same roots"]
    assert "every replica trusts the same roots" not in failing(trusting.of_trust(signed(now), apart, None, []))


def test_issuer_that_ends_is_said_before_and_after(roots: tuple[str, str]) -> None:
    """A short-lived one is renewed late, which is no reason to worry."""
    text = "the issuer is valid, and for a while"

    assert text in trusted(signed(roots[0], left=20), roots[0])
    assert trusted(signed(roots[0], life=90, left=28), roots[0]) == {}
    over = trusting.of_trust(signed(roots[0], left=-2), signed(roots[0], left=-2), None, [])
    found = next(claim for claim in over if claim.text == text)
    assert (found.status, "tulle-0: it expired 2d ago" in found.detail) == (FAILED, True)
    refused = trusted(signed(roots[0], issuer_refused="its certificate expired at x"), roots[0])
    assert refused == {"the issuer in the Secret is the one in use": "tulle-0: its certificate expired at x"}


def test_certificate_past_its_renewal_is_found_before_it_is_over(roots: tuple[str, str]) -> None:
    """Half of a day is the time to renew; with seven hours left it was tried in vain. What the sidecar says goes first."""
    fine = signed(roots[0])

    def with_hours(hours: float) -> dict[str, str]:
        ends = (NOW + dt.timedelta(hours=hours)).timestamp()
        return trusted(replace(fine, sidecars={WEB: replace(fine.sidecars[WEB], certificate_ends=ends)}), roots[0])

    assert with_hours(11) == {}
    assert list(with_hours(7)) == ["every sidecar renews its certificate in time"]
    assert "shop/web-1 has 6h left" in str(with_hours(7))
    assert with_hours(-1) == {"every sidecar's certificate is valid": "expired: shop/web-1"}


def test_endpoints_of_other_nodes_are_not_missed_in_a_sidecar_where_callers_have_those_of_their_own() -> None:
    """A replica must know them all; what is gone is seen all the same."""
    (service,), (listed,) = well().services, well().slices
    local = {**service, "spec": {**service["spec"], "internalTrafficPolicy": "Local"}}
    hinted = {**listed, "endpoints": [{**one, "hints": {"forZones": [{"name": "a"}]}} for one in listed["endpoints"]]}
    half = {WEB: Said(config=config("10.0.0.1")), CART: Said(config=config("10.0.0.2"))}
    for placed in (replace(well(), services=(local,)), replace(well(), slices=(hinted,))):
        assert proved(replace(placed, sidecars=half)) == {}
        assert proved(replace(placed, snapshots=LAGGING.snapshots)) != {}
        assert proved(replace(placed, sidecars=FROZEN.sidecars)) != {}
    assert proved(replace(well(), sidecars=half)) != {}


def test_service_that_asks_for_what_sidecars_do_not_do_is_a_warning() -> None:
    """The sentence is the control plane's; problems of other kinds are told elsewhere."""
    said = ["Service shop/web: sessionAffinity ClientIP is not carried out", "HTTPRoute shop/r: bad"]
    asking = replace(well(), snapshots={"tulle-0": {**well().snapshots["tulle-0"], "problems": said}})
    (found,) = (one for one in proofs.of_looks(asking, asking) if one.text.startswith("no Service asks"))

    assert (found.status, found.detail) == (WARNING, said[0])
