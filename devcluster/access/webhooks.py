"""One call to one webhook, as the real API server makes it.

In: a webhook's client config and an AdmissionReview. Out: the checked response. A Service is dialled at the address of a ready endpoint, the certificate is checked
for `<service>.<namespace>.svc` against the `caBundle`. Whatever goes wrong is a `CallError` with a sentence; what that means is the failure policy's business.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from devcluster.access.matching import AdmissionRequest, Hook, describe
from devcluster.api.errors import Object, StatusError
from devcluster.api.registry import Registry

LARGEST = 3 * 1024 * 1024
"""Bytes of an answer that are read, as the real server limits it."""


class CallError(Exception):
    """A webhook that could not be asked, or whose answer makes no sense."""


class PatchError(Exception):
    """An answer whose patch is none: refuses the request whatever the failure policy, as on the real server."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is dialled, and the name its certificate must have."""

    url: str
    shown: str
    """The URL by the service's name, as errors show it."""
    name: str
    host: str


@dataclass(frozen=True, slots=True)
class Response:
    """A checked answer."""

    allowed: bool
    status: Mapping[str, Any]
    patch: list[Any] | None
    warnings: tuple[str, ...]


class Caller:
    """Calls webhooks; one client session for all."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def ask(self, hook: Hook, request: AdmissionRequest, obj: Object | None, old: Object | None) -> Response:
        """Call a webhook; raises CallError or PatchError."""
        uid = str(uuid.uuid4())
        review = {
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {"uid": uid, **describe(request), "object": obj, "oldObject": old},
        }
        seconds = hook.get("timeoutSeconds") or 10
        target = self._target(hook["clientConfig"], seconds)
        try:
            async with asyncio.timeout(seconds):
                return _response(await self._post(target, hook["clientConfig"], review), uid)
        except TimeoutError:
            raise CallError(f'failed to call webhook: Post "{target.shown}": context deadline exceeded') from None
        except aiohttp.ClientError as error:
            raise CallError(f'failed to call webhook: Post "{target.shown}": {_plainly(error)}') from error

    async def _post(self, target: Target, config: Mapping[str, Any], review: Object) -> Any:
        if self._session is None:
            # Connections are not kept: a webhook's pod may be replaced between two calls.
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        async with self._session.post(
            target.url,
            json=review,
            ssl=_context(config.get("caBundle") or ""),
            server_hostname=target.name,
            headers={"host": target.host, "accept": "application/json"},
            allow_redirects=False,
        ) as answer:
            body = await answer.content.read(LARGEST)
        if answer.status != 200:
            text = body.decode(errors="replace").strip()[:200]
            why = f'an error on the server ("{text}") has prevented the request from succeeding'
            raise CallError(f"failed to call webhook: {why if answer.status >= 500 else text or answer.reason}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise CallError(f"received invalid webhook response: the answer is no JSON: {error}") from error

    def _target(self, config: Mapping[str, Any], seconds: int) -> Target:
        if "url" in config:
            parts = urlsplit(config["url"])
            query = f"{parts.query}&timeout={seconds}s" if parts.query else f"timeout={seconds}s"
            url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
            return Target(url, url, parts.hostname or "", parts.netloc)
        service = config["service"]
        name, namespace, port = service["name"], service["namespace"], service.get("port") or 443
        host = f"{name}.{namespace}.svc"
        rest = f"/{(service.get('path') or '').lstrip('/')}?timeout={seconds}s"
        shown = f"https://{host}:{port}{rest}"
        address, number = self._endpoint(namespace, name, port)
        literal = f"[{address}]" if ":" in address else address
        return Target(f"https://{literal}:{number}{rest}", shown, host, f"{host}:{port}")

    def _endpoint(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        try:
            service = self._registry.get("services", namespace, name)
        except StatusError as error:
            raise CallError(f'failed to call webhook: service "{name}" not found') from error
        wanted = next((one for one in service["spec"].get("ports") or [] if one["port"] == port), None)
        if wanted is None:
            raise CallError(
                f"failed to call webhook: no service port {port} found for service {name!r}".replace("'", '"')
            )
        slices = self._registry.list(
            "endpointslices.discovery.k8s.io", namespace, labels=f"kubernetes.io/service-name={name}"
        )
        for one in slices:
            number = next(
                (p["port"] for p in one.get("ports") or [] if p.get("name", "") == wanted.get("name", "")), None
            )
            for endpoint in one.get("endpoints") or []:
                if number and (endpoint.get("conditions") or {}).get("ready", True):
                    return endpoint["addresses"][0], number
        raise CallError(f'failed to call webhook: no endpoints available for service "{name}"')


def _context(bundle: str) -> ssl.SSLContext:
    try:
        pem = base64.b64decode(bundle, validate=True).decode()
        context = ssl.create_default_context(cadata=pem) if pem else ssl.create_default_context()
    except (binascii.Error, ValueError, ssl.SSLError) as error:
        raise CallError(f"failed to call webhook: unable to load root certificates: {error}") from error
    # As strict as the real server's Go, which is less than Python 3.13.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _plainly(error: aiohttp.ClientError) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {cause.verify_message}"
    return str(cause) or type(cause).__name__


def _response(review: Any, uid: str) -> Response:
    said = "received invalid webhook response: "
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview":
        raise CallError(f"{said}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview")
    if review.get("apiVersion") != "admission.k8s.io/v1":
        got = f"{review.get('apiVersion')}, Kind=AdmissionReview"
        raise CallError(f"{said}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {got}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise CallError("webhook response was absent")
    if response.get("uid") != uid:
        raise CallError(f'{said}expected response.uid="{uid}", got "{response.get("uid", "")}"')
    patch, kind = response.get("patch"), response.get("patchType")
    if patch and not kind:
        raise CallError(f"{said}webhook returned response.patch but not response.patchType")
    if kind and kind != "JSONPatch":
        raise CallError(f"{said}webhook returned invalid response.patchType of {kind}")
    return Response(
        allowed=response.get("allowed") is True,
        status=response.get("status") or {},
        patch=_operations(patch) if patch else None,
        warnings=tuple(str(one) for one in response.get("warnings") or ()),
    )


def _operations(patch: Any) -> list[Any]:
    try:
        found = json.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise PatchError(f"response.patch is no JSON patch: {error}") from error
    if not isinstance(found, list):
        raise PatchError("response.patch is no list of operations")
    return found
