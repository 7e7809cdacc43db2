"""Admission: what changes and refuses objects between the request and the store, in the real server's order.

In: a request with its object (and the old one). Out: the object as it may be stored, warnings on the request, or a `StatusError`. Mutating: service accounts, then webhooks by name of configuration,
then both once more where a webhook changed something. Validating: what roles and bindings grant, Pod Security, then all webhooks at once. Refuses to forget a webhook that failed
unless its failure policy is Ignore.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.access import accounts, podsecurity
from devcluster.access.matching import AdmissionRequest, ConditionError, Hook, Matcher
from devcluster.access.rbac import Authorizer
from devcluster.access.webhooks import Caller, CallError, PatchError, Response
from devcluster.api.errors import Object, StatusError, forbidden
from devcluster.api.patches import json_patch
from devcluster.api.registry import Registry

__all__ = ["Admission", "AdmissionRequest"]

log = logging.getLogger(__name__)
_GROUP = "admissionregistration.k8s.io"


@dataclass(slots=True)
class _Round:
    """A webhook that was called, and the object as it left it."""

    hook: Hook
    left: Object


class Admission:
    """The chain of one cluster."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._caller = Caller(registry)
        self._matcher = Matcher(self._labels)
        self._authorizer = Authorizer(registry)

    async def close(self) -> None:
        """Let go of connections to webhooks."""
        await self._caller.close()

    async def mutate(self, request: AdmissionRequest, obj: Object, old: Object | None = None) -> Object:
        """Let everything change the object that may; raises StatusError."""
        await self._account(request, obj)
        rounds: list[_Round] = []
        changed = False
        for hook in self._hooks("mutatingwebhookconfigurations"):
            if not self._concerned(hook, request, obj, old):
                continue
            new = await self._mutated(hook, request, obj, old)
            changed = changed or new != obj
            obj = new
            rounds.append(_Round(hook, copy.deepcopy(obj)))
        if not changed:
            return obj
        # Containers that webhooks added need the account's token as well.
        await self._account(request, obj)
        for one in rounds:
            if one.hook.get("reinvocationPolicy") == "IfNeeded" and one.left != obj:
                obj = await self._mutated(one.hook, request, obj, old)
        return obj

    async def validate(self, request: AdmissionRequest, obj: Object | None, old: Object | None = None) -> None:
        """Let everything refuse the object that may; raises StatusError. Deletions come here alone, with `old`."""
        if obj is None:
            # Mutating webhooks are asked about deletions too, though there is nothing to change.
            for hook in self._hooks("mutatingwebhookconfigurations"):
                if self._concerned(hook, request, obj, old):
                    await self._call(hook, request, obj, old)
        else:
            self._granting(request, obj, old)
            self._pod_security(request, obj, old)
        hooks = [h for h in self._hooks("validatingwebhookconfigurations") if self._concerned(h, request, obj, old)]
        answers = await asyncio.gather(*(self._call(h, request, obj, old) for h in hooks), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _hooks(self, plural: str) -> Iterator[Hook]:
        for configuration in sorted(
            self._registry.list(f"{plural}.{_GROUP}"), key=lambda one: str(one["metadata"]["name"])
        ):
            yield from configuration.get("webhooks") or []

    def _concerned(self, hook: Hook, request: AdmissionRequest, obj: Object | None, old: Object | None) -> bool:
        try:
            return self._matcher.concerns(hook, request, obj, old)
        except ConditionError as error:
            if hook.get("failurePolicy", "Fail") == "Ignore":
                log.warning("webhook %s is skipped, its match condition failed: %s", hook["name"], error)
                return False
            message = f'webhook "{hook["name"]}" matchConditions failed: {error}'
            raise forbidden(request.resource.group, request.resource.plural, request.name, message) from error

    async def _mutated(self, hook: Hook, request: AdmissionRequest, obj: Object, old: Object | None) -> Object:
        answer = await self._call(hook, request, obj, old)
        if answer is None or not answer.patch:
            return obj
        try:
            new = json_patch(obj, answer.patch)
        except StatusError as error:
            raise _broken(hook, error.message) from error
        if not isinstance(new, dict):
            raise _broken(hook, "the patch leaves no object")
        return new

    async def _call(
        self, hook: Hook, request: AdmissionRequest, obj: Object | None, old: Object | None
    ) -> Response | None:
        """Ask a webhook; None when it failed and may be ignored. Raises StatusError when it refuses."""
        if request.dry_run and hook.get("sideEffects") not in {"None", "NoneOnDryRun"}:
            raise StatusError(400, "BadRequest", f'admission webhook "{hook["name"]}" does not support dry run')
        try:
            answer = await self._caller.ask(hook, request, obj, old)
        except CallError as error:
            if hook.get("failurePolicy", "Fail") != "Ignore":
                message = f'Internal error occurred: failed calling webhook "{hook["name"]}": {error}'
                raise StatusError(500, "InternalError", message, {"causes": [{"message": str(error)}]}) from error
            log.warning("webhook %s failed and is ignored: %s", hook["name"], error)
            return None
        except PatchError as error:
            raise _broken(hook, str(error)) from error
        request.warnings.extend(answer.warnings)
        if not answer.allowed:
            raise _denied(hook["name"], answer.status)
        return answer

    async def _account(self, request: AdmissionRequest, obj: Object) -> None:
        pods = request.resource.key == ("", "pods") and not request.subresource
        if pods and request.operation == "CREATE":
            await accounts.assign(self._registry, obj)

    def _granting(self, request: AdmissionRequest, obj: Object, old: Object | None) -> None:
        """Hold roles and bindings to what their writer may grant, whichever verb brought them here."""
        granted = ("rules", "aggregationRule", "roleRef", "subjects")
        same = old is not None and all(obj.get(field) == old.get(field) for field in granted)
        if not same and request.operation in {"CREATE", "UPDATE"}:
            self._authorizer.check_escalation(request.user, request.resource, obj)

    def _pod_security(self, request: AdmissionRequest, obj: Object, old: Object | None) -> None:
        if request.subresource not in {"", "ephemeralcontainers"} or not request.namespace:
            return
        pod, before = podsecurity.template(obj), podsecurity.template(old or {})
        if pod is None or (before or {}).get("spec") == pod.get("spec"):
            return
        labels = self._labels(request.namespace)
        for mode in ("enforce", "warn"):
            profile, version = podsecurity.level(labels, mode)
            found = podsecurity.violations(pod, profile)
            if not found:
                continue
            said = podsecurity.sentence(found, profile, version)
            if mode == "warn":
                request.warnings.append(f"would {said.replace('violates', 'violate', 1)}")
            elif obj["kind"] == "Pod":
                raise forbidden("", "pods", obj["metadata"].get("name", ""), said)

    def _labels(self, namespace: str) -> Mapping[str, str]:
        try:
            metadata = self._registry.get("namespaces", "", namespace)["metadata"]
        except StatusError:
            return {}
        found: Mapping[str, str] = metadata.get("labels") or {}
        return found


def _broken(hook: Hook, why: str) -> StatusError:
    return StatusError(500, "InternalError", f'Internal error occurred: patch of webhook "{hook["name"]}": {why}')


def _denied(name: str, status: Mapping[str, Any]) -> StatusError:
    text = f'admission webhook "{name}" denied the request'
    if status.get("message"):
        text += f": {status['message']}"
    elif status.get("reason"):
        text += f": {status['reason']}"
    else:
        text += " without explanation"
    code = status.get("code")
    # A refusal with a code of success would be taken for one.
    usable = isinstance(code, int) and 400 <= code <= 599
    return StatusError(int(code or 0) if usable else 400, str(status.get("reason") or ""), text, status.get("details"))
