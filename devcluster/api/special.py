"""Subresources that are no view of their object: tokens of service accounts, evictions and bindings of pods.

In: `ApiRequest`. Out: a TokenRequest with its token, or a Status. Refuses an eviction a PodDisruptionBudget forbids with 429.
"""

from __future__ import annotations

import copy
from typing import Any

from aiohttp import web

from devcluster.access.tokens import TokenIssuer
from devcluster.api.errors import Object, StatusError, bad_request, conflict
from devcluster.api.registry import Registry
from devcluster.api.requests import ApiRequest
from devcluster.api.selectors import selector_matches


class Special:
    """Answers creations on these subresources."""

    def __init__(self, registry: Registry, issuer: TokenIssuer) -> None:
        self._registry = registry
        self._issuer = issuer

    async def answer(self, request: ApiRequest) -> web.Response:
        """Answer; raises StatusError."""
        if request.http.method != "POST":
            raise StatusError(405, "MethodNotAllowed", f"{request.target.subresource} is only created")
        body = await request.body()
        if not isinstance(body, dict) or not isinstance(body.get("spec") or {}, dict):
            raise bad_request(f"the body of {request.target.subresource} must be an object, and its spec too")
        match request.target.subresource:
            case "token":
                target = request.target
                self._registry.get(request.row, target.namespace, target.name)
                return request.answer(self._issuer.request(target.namespace, target.name, body), 201)
            case "eviction":
                return await self._evict(request, body)
            case _:
                return await self._bind(request, body)

    async def _evict(self, request: ApiRequest, eviction: Object) -> web.Response:
        target = request.target
        pod = self._registry.get("pods", target.namespace, target.name)
        for budget in self._registry.list("poddisruptionbudgets.policy", target.namespace):
            selected = selector_matches(budget["spec"].get("selector"), pod["metadata"].get("labels"))
            if selected and (budget.get("status") or {}).get("disruptionsAllowed", 0) < 1 and _is_ready(pod):
                name = budget["metadata"]["name"]
                said = "Cannot evict pod as it would violate the pod's disruption budget."
                cause = {"reason": "DisruptionBudget", "message": f"The disruption budget {name} does not allow it"}
                raise StatusError(429, "TooManyRequests", said, {"causes": [cause], "retryAfterSeconds": 10})
        options: dict[str, Any] = eviction.get("deleteOptions") or {}
        if not request.dry_run(options):
            await self._registry.delete("pods", target.namespace, target.name, options=options, user=request.call())
        return request.answer(_success(), 201)

    async def _bind(self, request: ApiRequest, binding: Object) -> web.Response:
        target = request.target
        pod = copy.deepcopy(self._registry.get("pods", target.namespace, target.name))
        if pod["spec"].get("nodeName"):
            raise conflict("", "pods", target.name, f"pod is already assigned to node {pod['spec']['nodeName']}")
        pod["spec"]["nodeName"] = (binding.get("target") or {}).get("name", "")
        await self._registry.update("pods", pod, user=request.call())
        return request.answer(_success(), 201)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _success() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
