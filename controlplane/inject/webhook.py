"""The HTTPS face of injection: the API server asks here before it stores a pod, a workload or one of Tulle's kinds.

In: AdmissionReview v1 by POST on `/inject` (pods that speak for themselves, or whose namespace may), `/inject/namespace` (silent pods of a
namespace the API server selected by its label), `/workload` (Deployments and the like, decision 0003), `/validate` (Tulle's kinds) and `/route` (HTTPRoutes and
GRPCRoutes). Out: AdmissionReview v1 with a JSON patch, or a refusal whose sentence kubectl shows. Refuses what is no AdmissionReview with
400 and one log line. A fault of our own is 500 and logged, so that the webhook's failurePolicy decides.

    face = Webhook(settings=lambda spec: InjectSettings(...), known_words=lambda name: {...}, namespace_words=..., validate=lambda obj: [], patterns=lambda obj: [], count=...)
    runner = await serve(face, tls=ssl_context, port=15017)        # later: await end(runner)
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from controlplane.bounds import FullError
from controlplane.httplog import ServerLog
from controlplane.inject import jsonpatch, workload
from controlplane.inject.optin import own_word, read_word
from controlplane.inject.options import InjectSettings
from controlplane.inject.patch import inject
from controlplane.inject.refusal import RefusedPodError
from controlplane.listening import EVERY, bound
from meshapi import names

Object = dict[str, Any]

MAX_BYTES = 4 << 20
"""The API server's own objects are bounded near 1.5 MB (etcd); a review holds at most two of them."""

logger = logging.getLogger(__name__)


class BadReviewError(ValueError):
    """The body is no AdmissionReview; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What the webhooks need to know, each asked anew for every review."""

    settings: Callable[[Object], InjectSettings]
    """Called a review with the pod's spec: roots rotate, and nodes have their versions."""
    known_words: Callable[[str], Mapping[str, str]]
    """A namespace's labels laid over its annotations; empty when it is not known (yet)."""
    namespace_words: Callable[[str], Awaitable[Mapping[str, str]]]
    """The same, read from the API server when it is not known; raises when that cannot be asked."""
    validate: Callable[[Object], list[str]]
    """Sentences against one of Tulle's own objects; empty when it is good."""
    patterns: Callable[[Object], list[str]]
    """Sentences against the patterns of a route that is attached to a Service; empty for all others."""
    count: Callable[[str, str], None]
    """Told (webhook, outcome): injected, copied, untouched, skipped, allowed, rejected, malformed or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The part of an AdmissionReview's request that matters here."""

    uid: str
    namespace: str
    kind: str
    obj: Object
    operation: str = "CREATE"
    old: Object | None = None
    """What is there already, on an UPDATE."""

    @property
    def name(self) -> str:
        """How the log calls the object: kind, namespace, name or what it is generated from."""
        metadata = self.obj.get("metadata") or {}
        return f"{self.kind} {self.namespace}/{metadata.get('name') or metadata.get('generateName') or '?'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is answered: the object as it should be, or why not at all."""

    outcome: str
    after: Object | None = None
    refusal: str = ""
    warnings: tuple[str, ...] = ()


def parse(body: bytes) -> Request:
    """Read an AdmissionReview; raises BadReviewError."""
    try:
        review = json.loads(body)
    except ValueError as error:
        raise BadReviewError(f"the body is no JSON: {error}") from None
    request = review.get("request") if isinstance(review, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise BadReviewError("the body is no admission.k8s.io/v1 AdmissionReview with a request and its uid")
    obj = request.get("object")
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata") or {}, dict):
        raise BadReviewError(f"the request {request['uid']} carries no object")
    kind, old = request.get("kind"), request.get("oldObject")
    return Request(
        uid=request["uid"],
        namespace=str(request.get("namespace") or ""),
        kind=str(kind.get("kind") if isinstance(kind, dict) else obj.get("kind")),
        obj=obj,
        operation=str(request.get("operation") or "CREATE"),
        old=old if isinstance(old, dict) else None,
    )


async def decide_pod(face: Webhook, request: Request) -> Verdict:
    """Inject, leave alone or refuse one pod, by its own word, else by its namespace's."""
    metadata = request.obj.get("metadata") or {}
    speaks = own_word(metadata) is not None
    return _injected(face, request, {} if speaks else await face.namespace_words(request.namespace))


async def decide_selected_pod(face: Webhook, request: Request) -> Verdict:
    """Inject or refuse one pod of a namespace whose label the API server has read: it is not read again, the feed may be behind.

    Only a word nobody knows is looked for, since the selection cannot tell it from `enabled`.
    """
    try:
        read_word(face.known_words(request.namespace), "label of the namespace")
    except RefusedPodError as error:
        return Verdict(outcome="rejected", refusal=str(error))
    return _injected(face, request, {names.INJECT: names.ENABLED})


def _injected(face: Webhook, request: Request, namespace_words: Mapping[str, str]) -> Verdict:
    try:
        injection = inject(
            request.obj,
            face.settings(request.obj.get("spec") or {}),
            namespace=request.namespace,
            namespace_labels=namespace_words,
            workload=workload.owner_of(request.obj),
        )
    except RefusedPodError as error:
        return Verdict(outcome="rejected", refusal=str(error))
    if injection.pod == request.obj:  # nothing asked for, or asked again and nothing has changed since
        return Verdict(outcome="untouched", warnings=injection.warnings)
    outcome = "injected" if injection.injected else "skipped"
    return Verdict(outcome=outcome, after=injection.pod, warnings=injection.warnings)


async def decide_workload(face: Webhook, request: Request) -> Verdict:
    """Make a workload's template say what the workload says; a typo refuses a new one, and is warned of where no rollout may hang on it."""
    if request.namespace in face.settings({}).excluded_namespaces:
        return Verdict(outcome="untouched")
    try:
        after = workload.follow(request.obj, request.old)
    except RefusedPodError as error:
        if request.operation == "UPDATE":
            return Verdict(outcome="untouched", warnings=(str(error),))
        return Verdict(outcome="rejected", refusal=str(error))
    return Verdict(outcome="copied" if after != request.obj else "untouched", after=after)


async def decide_validity(face: Webhook, request: Request) -> Verdict:
    """Let one of Tulle's own objects in, or say what is wrong with it."""
    sentences = face.validate(request.obj)
    if sentences:
        return Verdict(outcome="rejected", refusal="; ".join(sentences))
    return Verdict(outcome="allowed")


async def decide_route(face: Webhook, request: Request) -> Verdict:
    """Refuse a pattern that no sidecar could use; one that is there already, from before the mesh or an upgrade, is warned of."""
    sentences = face.patterns(request.obj)
    known = {_said(one) for one in face.patterns(request.old)} if request.old else set[str]()
    new = [one for one in sentences if _said(one) not in known]
    if new:
        return Verdict(outcome="rejected", refusal="; ".join(new))
    return Verdict(outcome="allowed", warnings=tuple(sentences))


def _said(sentence: str) -> str:
    """Leave the place out of a sentence: a rule may have moved."""
    return sentence.partition(": ")[2]


def render(request: Request, verdict: Verdict) -> Object:
    """Write the AdmissionReview that answers a request."""
    response: Object = {"uid": request.uid, "allowed": not verdict.refusal}
    if verdict.refusal:
        response["status"] = {"code": 400, "reason": "BadRequest", "message": verdict.refusal}
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    if verdict.after is not None and (operations := jsonpatch.diff(request.obj, verdict.after)):
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


Decide = Callable[[Webhook, Request], Awaitable[Verdict]]

PATHS: Mapping[str, Decide] = {
    "/inject": decide_pod,
    "/inject/namespace": decide_selected_pod,
    "/workload": decide_workload,
    "/validate": decide_validity,
    "/route": decide_route,
}


def build_app(face: Webhook) -> web.Application:
    """Build the aiohttp application that serves the paths."""
    app = web.Application(client_max_size=MAX_BYTES)
    for path, decide in PATHS.items():
        app.router.add_post(path, _handler(face, path.strip("/").partition("/")[0], decide))
    return app


def _handler(face: Webhook, hook: str, decide: Decide) -> Callable[[web.Request], Any]:
    async def handle(http: web.Request) -> web.Response:
        try:
            request = parse(await http.read())
        except web.HTTPRequestEntityTooLarge:
            face.count(hook, "malformed")
            logger.warning("webhook /%s: the body is larger than %d bytes", hook, MAX_BYTES)
            return web.Response(status=413, text=f"the body is larger than {MAX_BYTES} bytes\n")
        except BadReviewError as error:
            face.count(hook, "malformed")
            logger.warning("webhook /%s: %s", hook, error)
            return web.Response(status=400, text=f"{error}\n")
        return await _answer(face, hook, decide, request)

    return handle


Page = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""JSON by who asks (an address) and the query; raises FullError when that is too often."""


def _page(page: Page) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        try:
            body = await page(request.remote or "", request.query)
        except FullError as error:
            return web.Response(status=429, text=f"{error}\n", headers={"retry-after": "1"})
        return web.Response(body=body, content_type="application/json")

    return handle


async def _answer(face: Webhook, hook: str, decide: Decide, request: Request) -> web.Response:
    """Decide and answer; the one place where a fault of our own is caught."""
    try:
        verdict = await decide(face, request)
        answer = render(request, verdict)
    except Exception:
        face.count(hook, "failed")
        logger.exception("webhook /%s: %s could not be decided", hook, request.name)
        return web.Response(status=500, text="the control plane failed to decide; its log says why\n")
    face.count(hook, verdict.outcome)
    if verdict.outcome not in {"untouched", "allowed"}:
        logger.info("webhook /%s: %s %s%s", hook, request.name, verdict.outcome, _because(verdict))
    return web.json_response(answer)


def _because(verdict: Verdict) -> str:
    return f": {verdict.refusal}" if verdict.refusal else ""


async def serve(
    face: Webhook,
    *,
    tls: ssl.SSLContext | None,
    port: int,
    host: str = EVERY,
    pages: Mapping[str, Page] | None = None,
) -> web.AppRunner:
    """Listen and return the runner, whose `addresses` tell the port and which `end` ends; `pages` are served beside the webhooks."""
    app = build_app(face)
    for path, page in (pages or {}).items():
        app.router.add_get(path, _page(page))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, logger=ServerLog("webhook"))
    await runner.setup()
    try:
        await web.SockSite(runner, bound(host, port), ssl_context=tls).start()
    except (OSError, asyncio.CancelledError):
        await runner.cleanup()
        raise
    return runner


async def end(runner: web.AppRunner) -> None:
    """Answer what is under way and close; a caller that does not say goodbye in TLS is not waited for, since the loop ends as well."""
    connections = runner.server.connections if runner.server is not None else []
    transports = [one.transport for one in connections]
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()
