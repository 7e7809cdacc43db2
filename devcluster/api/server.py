"""The HTTP face: every request is taken apart, its caller named and asked for permission, then handed to who answers it.

In: HTTP requests over TLS. Out: answers; refusals as Status objects. A fault in a handler is one 500 and one log line, nothing else.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devcluster.access.authentication import Authenticator
from devcluster.access.rbac import GROUP as RBAC
from devcluster.access.rbac import Attributes, Authorizer, forbidden
from devcluster.access.reviews import Reviews
from devcluster.api import bodies
from devcluster.api.bodies import JSON, Form
from devcluster.api.calls import Step
from devcluster.api.connect import Connector
from devcluster.api.errors import StatusError
from devcluster.api.information import Information
from devcluster.api.kinds import Resource
from devcluster.api.lifecycle import check_kind
from devcluster.api.registry import Registry
from devcluster.api.requests import ApiRequest, respond
from devcluster.api.special import Special
from devcluster.api.targets import Target, parse
from devcluster.api.users import User
from devcluster.api.verbs import Verbs

LOG = logging.getLogger(__name__)
_REVIEWS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
_STREAMS = frozenset({"log", "exec", "attach", "portforward", "proxy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Who answers what, made by the composition root."""

    registry: Registry
    authenticator: Authenticator
    authorizer: Authorizer
    reviews: Reviews
    information: Information
    connector: Connector
    special: Special


class Server:
    """Answers HTTP."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces
        self._verbs = Verbs(faces.registry)

    def application(self) -> web.Application:
        """Give the application to serve."""
        app = web.Application(client_max_size=bodies.LIMIT)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer one request; the supervisor of handlers."""
        begin = time.monotonic()
        try:
            answer = await self._answer(http)
        except StatusError as error:
            answer = _refusal(error)
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:
            LOG.exception("%s %s failed", http.method, http.path)
            answer = _refusal(StatusError(500, "InternalError", "Internal error occurred: see the server's log"))
        LOG.debug("%s %s %s %.1f ms", http.method, http.path_qs, answer.status, 1000 * (time.monotonic() - begin))
        return answer

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        user = self._who(http)
        target = parse(http.method, http.path, http.query)
        attributes = _attributes(http, target)
        ok, reason = self._faces.authorizer.allowed(user, attributes)
        if not ok:
            raise forbidden(user, attributes, reason)
        if not target.is_resource:
            return self._faces.information.answer(http)
        row = self._row(target)
        request = ApiRequest(http=http, target=target, row=row, user=user)
        if target.subresource in _STREAMS:
            return await self._faces.connector.answer(request)
        if row.group in _REVIEWS:
            return await self._review(request)
        if target.subresource in {"token", "eviction", "binding"}:
            return await self._faces.special.answer(request)
        if row.group == RBAC and target.verb in {"create", "update"}:
            self._faces.authorizer.check_escalation(user, row, _object(await request.body()))
        return await self._verbs.answer(request)

    async def _review(self, request: ApiRequest) -> web.Response:
        call = request.call("Ignore")
        body = check_kind(request.row, await request.body())
        self._faces.registry.gate.decode(Step(row=request.row, operation="CREATE", call=call), body)
        return request.answer(self._faces.reviews.answer(request.row.kind, body, request.user), 201)

    def _who(self, http: web.Request) -> User:
        headers = list(http.headers.items())
        certificate: dict[str, Any] | None = http.get_extra_info("peercert")
        user = self._faces.authenticator.authenticate(headers, certificate)
        return self._faces.authenticator.impersonate(user, headers, self._faces.authorizer)

    def _row(self, target: Target) -> Resource:
        row = self._faces.registry.resources.by_plural(target.group, target.plural)
        if row is None or target.version not in row.versions:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        if target.subresource and target.subresource not in row.subresources:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        if target.subresource in _STREAMS:
            return row
        if not target.subresource and target.verb not in row.verbs:
            raise _not_allowed()
        if target.verb == "create" and target.name and not target.subresource:
            raise _not_allowed()
        return row


def _not_allowed() -> StatusError:
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise StatusError(400, "BadRequest", "the body must be an object")
    return body


def _attributes(http: web.Request, target: Target) -> Attributes:
    if not target.is_resource:
        return Attributes(verb=target.verb, path=target.path)
    name = target.name
    if not name and target.verb in {"list", "watch", "deletecollection"}:
        selector = http.query.get("fieldSelector", "")
        name = selector.removeprefix("metadata.name=") if selector.startswith("metadata.name=") else ""
    return Attributes(
        verb=target.verb,
        group=target.group,
        version=target.version,
        resource=target.plural,
        subresource=target.subresource,
        namespace=target.namespace,
        name=name,
    )


def _refusal(error: StatusError) -> web.Response:
    response = respond(error.status(), Form(media=JSON), error.code)
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    return response


def tls(certificate: str, key: str, authority: bytes) -> ssl.SSLContext:
    """Give the server's side of TLS: clients may show a certificate of the cluster's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=authority.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
