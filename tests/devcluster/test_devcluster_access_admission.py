"""Admission against a real HTTPS webhook: what is called, in which order, and what its answers and failures do."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devcluster.access.admission import Admission, AdmissionRequest
from devcluster.access.rbac import GROUP as RBAC
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.users import User
from tests.support.objects import container, pod

JANE = User(name="jane", groups=("dev",), uid="7")
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
Answer = Callable[[dict[str, Any]], Any]


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server context for a name, and the bundle that trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(key.private_bytes(*form) + pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "both.pem")
    return context, base64.b64encode(pem).decode()


@dataclass(kw_only=True)
class World:
    """A registry with a Service that leads to one webhook server; `answers` decides what each path says."""

    registry: Registry
    bundle: str
    admission: Admission
    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def hook(self, name: str, answer: Answer, *, plural: str = "mutating", **more: Any) -> None:
        self.answers[f"/{name}"] = answer
        service = {"name": "hook", "namespace": "system", "path": f"/{name}", "port": 8443}
        one = {
            "name": f"{name}.example.com",
            "clientConfig": {"service": service, "caBundle": self.bundle},
            "rules": [RULE],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        } | more
        made = {"metadata": {"name": name}, "webhooks": [one]}
        await self.registry.create(f"{plural}webhookconfigurations.admissionregistration.k8s.io", made)

    async def admit(self, obj: dict[str, Any], *, dry_run: bool = False, namespace: str = "shop") -> dict[str, Any]:
        obj = copy.deepcopy(obj)
        obj["metadata"]["namespace"] = namespace
        self.request = AdmissionRequest(
            resource=self.registry.resources.find("pods"),
            namespace=namespace,
            name=obj["metadata"]["name"],
            operation="CREATE",
            user=JANE,
            dry_run=dry_run,
        )
        made = await self.admission.mutate(self.request, obj)
        await self.admission.validate(self.request, made)
        return made

    @property
    def called(self) -> list[str]:
        return [call["path"] for call in self.calls]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    context, bundle = certificate(tmp_path, "hook.system.svc")
    registry = Registry()
    one = World(registry=registry, bundle=bundle, admission=Admission(registry))

    async def answer(request: web.Request) -> web.Response:
        review = await request.json()
        one.calls.append({"path": request.path, "query": dict(request.query), "host": request.host, **review})
        said = one.answers[request.path](review["request"])
        if isinstance(said, web.Response):
            return said
        body = {"uid": review["request"]["uid"], "allowed": True} | said
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": body})

    app = web.Application()
    app.router.add_post("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    await registry.create("namespaces", {"metadata": {"name": "system"}})
    await registry.create("namespaces", {"metadata": {"name": "shop", "labels": {"mesh": "on"}}})
    await registry.create("serviceaccounts", {"metadata": {"name": "default", "namespace": "shop"}})
    ports = [{"name": "other", "port": 1}, {"name": "https", "port": 8443, "targetPort": "web"}]
    await registry.create("services", {"metadata": {"name": "hook", "namespace": "system"}, "spec": {"ports": ports}})
    slice_ = {
        "metadata": {"name": "hook-1", "namespace": "system", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "other", "port": 1}, {"name": "https", "port": port}],
        "endpoints": [
            {"addresses": ["192.0.2.1"], "conditions": {"ready": False}},
            {"addresses": ["127.0.0.1"], "conditions": {"ready": True}},
        ],
    }
    await registry.create("endpointslices.discovery.k8s.io", slice_)
    yield one
    await one.admission.close()
    await runner.cleanup()


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


def label(name: str) -> dict[str, Any]:
    return patch({"op": "add", "path": f"/metadata/labels/{name}", "value": "1"})


async def refused(world: World, obj: dict[str, Any]) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await world.admit(obj)
    return caught.value


async def test_review_says_who_does_what_to_which_object(world: World) -> None:
    """The request has all the real server sends; the service's name is the host, the timeout a parameter."""
    await world.hook("a", lambda _: {})
    await world.admit(pod("p"))
    call = world.calls[0]
    request = call["request"]

    assert (call["kind"], call["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    assert (call["host"], call["query"]) == ("hook.system.svc:8443", {"timeout": "5s"})
    assert request["kind"] == request["requestKind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (request["name"], request["namespace"], request["operation"]) == ("p", "shop", "CREATE")
    assert request["userInfo"] == {"username": "jane", "groups": ["dev"], "uid": "7"}
    assert request["object"]["spec"]["serviceAccountName"] == "default"
    assert (request["oldObject"], request["dryRun"]) == (None, False)


async def test_mutating_run_by_name_then_validating_see_the_result(world: World) -> None:
    """Each mutating webhook sees what the one before made; validating ones see the end."""
    await world.hook("b", lambda r: label("b") if "a" in r["object"]["metadata"]["labels"] else {})
    await world.hook("a", lambda _: label("a") | {"warnings": ["mind the gap"]})
    await world.hook("v", lambda r: {"allowed": "b" in r["object"]["metadata"]["labels"]}, plural="validating")
    made = await world.admit(pod("p"))

    assert world.called == ["/a", "/b", "/v"]
    assert made["metadata"]["labels"] == {"app": "p", "a": "1", "b": "1"}
    assert world.request.warnings == ["mind the gap"]


async def test_webhook_is_asked_again_when_others_changed_the_object(world: World) -> None:
    """`reinvocationPolicy: IfNeeded` gives one more look, `Never` none."""
    await world.hook("a", lambda _: label("a"), reinvocationPolicy="IfNeeded")
    await world.hook("b", lambda _: label("b"))
    await world.admit(pod("p"))

    assert world.called == ["/a", "/b", "/a"]


async def test_added_containers_get_the_accounts_token(world: World) -> None:
    """The token is mounted in what a webhook added, by the same volume."""
    extra = container("side")
    await world.hook("a", lambda _: patch({"op": "add", "path": "/spec/containers/-", "value": extra}))
    spec = (await world.admit(pod("p")))["spec"]
    mounts = {one["name"]: one["volumeMounts"][0]["name"] for one in spec["containers"]}

    assert set(mounts) == {"app", "side"}
    assert set(mounts.values()) == {spec["volumes"][0]["name"]}
    assert len(spec["volumes"]) == 1


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ({"message": "no cats", "code": 422, "reason": "Invalid"}, 422, "denied the request: no cats"),
        ({"message": "no cats"}, 400, "denied the request: no cats"),
        ({"code": 200}, 400, "denied the request without explanation"),
    ],
)
async def test_refusal_is_passed_on(world: World, status: dict[str, Any], code: int, message: str) -> None:
    """The webhook's words and code reach the client, with its name before them."""
    await world.hook("v", lambda _: {"allowed": False, "status": status}, plural="validating")
    error = await refused(world, pod("p"))

    assert (error.code, error.message) == (code, f'admission webhook "v.example.com" {message}')


@pytest.mark.parametrize(
    ("more", "called"),
    [
        ({}, True),
        ({"rules": [RULE | {"operations": ["UPDATE", "DELETE"]}]}, False),
        ({"rules": [RULE | {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods/*"]}]}, True),
        ({"rules": [RULE | {"resources": ["pods/status"]}]}, False),
        ({"rules": [RULE | {"resources": ["*"], "scope": "Cluster"}]}, False),
        ({"namespaceSelector": {"matchLabels": {"mesh": "on"}}}, True),
        ({"namespaceSelector": {"matchExpressions": [{"key": "mesh", "operator": "DoesNotExist"}]}}, False),
        ({"objectSelector": {"matchLabels": {"app": "other"}}}, False),
        ({"matchConditions": [{"name": "c", "expression": "object.metadata.name == 'p'"}]}, True),
        ({"matchConditions": [{"name": "c", "expression": "request.userInfo.username == 'system'"}]}, False),
        (
            {"matchConditions": [{"name": "c", "expression": "object.no.where == 1"}], "failurePolicy": "Ignore"},
            False,
        ),
    ],
)
async def test_webhook_is_called_only_where_it_matches(world: World, more: dict[str, Any], called: bool) -> None:
    """Rules, selectors and conditions all have to hold."""
    await world.hook("a", lambda _: {}, **more)
    await world.admit(pod("p"))

    assert bool(world.calls) is called


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (web.Response(text="{broken"), "the answer is no JSON"),
        (web.Response(text="[]"), "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"),
        (web.Response(status=500, text="boom"), 'an error on the server ("boom") has prevented the request'),
        ({"uid": "x"}, "expected response.uid="),
        ({"patch": "W10="}, "webhook returned response.patch but not response.patchType"),
    ],
    ids=["json", "kind", "status", "uid", "patchType"],
)
async def test_broken_answer_meets_the_failure_policy(world: World, answer: Any, message: str) -> None:
    """Fail refuses with the server's sentence, Ignore goes on."""
    await world.hook("a", lambda _: answer.clone() if hasattr(answer, "clone") else answer)
    broken = await refused(world, pod("p"))
    assert broken.code == 500
    assert 'Internal error occurred: failed calling webhook "a.example.com": ' in broken.message
    assert message in broken.message


async def test_unreachable_webhook_meets_the_failure_policy(world: World) -> None:
    """No endpoint, a foreign certificate and a missing Service are failures, and Ignore goes on."""
    config = {"service": {"name": "gone", "namespace": "system"}, "caBundle": world.bundle}
    await world.hook("a", lambda _: {}, clientConfig=config, failurePolicy="Ignore")
    await world.admit(pod("p"))
    await world.hook("b", lambda _: {}, clientConfig=config)
    assert 'service "gone" not found' in (await refused(world, pod("p"))).message


async def test_foreign_certificate_is_not_trusted(world: World, tmp_path: Path) -> None:
    """The bundle of the configuration decides, and the name must be the service's."""
    (tmp_path / "other").mkdir()
    _, world.bundle = certificate(tmp_path / "other", "hook.system.svc")
    await world.hook("a", lambda _: {})

    assert "tls: failed to verify certificate: x509: " in (await refused(world, pod("p"))).message


async def test_patch_that_does_not_apply_refuses(world: World) -> None:
    """A patch of nothing is the webhook's fault, whatever its failure policy."""
    broken = patch({"op": "remove", "path": "/no/where"})
    await world.hook("a", lambda _: broken, failurePolicy="Ignore")

    assert (await refused(world, pod("p"))).message.startswith("Internal error occurred: patch of webhook")


async def test_dry_run_is_told_and_needs_a_webhook_without_effects(world: World) -> None:
    """Dry run reaches the webhook; one with side effects is not called but refuses."""
    await world.hook("a", lambda _: {}, sideEffects="NoneOnDryRun")
    await world.admit(pod("p"), dry_run=True)
    assert world.calls[0]["request"]["dryRun"] is True
    await world.hook("b", lambda _: {}, sideEffects="Some")
    with pytest.raises(StatusError, match="does not support dry run"):
        await world.admit(pod("p"), dry_run=True)


async def test_deletion_is_asked_about_with_the_old_object(world: World) -> None:
    """Both kinds of webhooks hear of a deletion."""
    rules = [RULE | {"operations": ["DELETE"]}]
    await world.hook("a", lambda _: {}, rules=rules)
    await world.hook("v", lambda _: {"allowed": False}, plural="validating", rules=rules)
    pods = world.registry.resources.find("pods")
    request = AdmissionRequest(resource=pods, namespace="shop", name="p", operation="DELETE", user=JANE)
    with pytest.raises(StatusError, match="without explanation"):
        await world.admission.validate(request, None, pod("p"))

    assert [(c["path"], c["request"]["object"], bool(c["request"]["oldObject"])) for c in world.calls] == [
        ("/a", None, True),
        ("/v", None, True),
    ]


async def test_webhook_configurations_are_nobodys_business(world: World) -> None:
    """Webhooks are not asked about webhook configurations."""
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await world.hook("v", lambda _: {"allowed": False}, plural="validating", rules=[rule])
    row = world.registry.resources.find("validatingwebhookconfigurations.admissionregistration.k8s.io")
    request = AdmissionRequest(resource=row, namespace="", name="v", operation="CREATE", user=JANE)
    await world.admission.validate(request, {"metadata": {"name": "v"}})

    assert world.calls == []


async def test_roles_are_held_to_what_their_writer_may_grant(world: World) -> None:
    """The escalation check sees the whole object, whichever verb wrote it."""
    row = world.registry.resources.find(f"roles.{RBAC}")
    request = AdmissionRequest(resource=row, namespace="shop", name="r", operation="UPDATE", user=JANE)
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]
    role = {"metadata": {"name": "r", "namespace": "shop"}, "rules": rules}
    with pytest.raises(StatusError, match="not currently held"):
        await world.admission.validate(request, role, role | {"rules": []})
    await world.admission.validate(request, role, role)


async def test_pod_needs_its_account(world: World) -> None:
    """An account that is not there refuses the pod; automount off leaves it bare."""
    missing = await refused(world, pod("p", serviceAccountName="nobody"))
    assert 'error looking up service account shop/nobody: serviceaccount "nobody" not found' in missing.message
    bare = await world.admit(pod("p", automountServiceAccountToken=False))

    assert "volumes" not in bare["spec"]


async def test_default_account_is_waited_for(world: World) -> None:
    """A pod made right after its namespace waits for the controller that makes the account."""
    await world.registry.create("namespaces", {"metadata": {"name": "young"}})
    async with asyncio.TaskGroup() as group:
        made = group.create_task(world.admit(pod("p"), namespace="young"))
        await asyncio.sleep(0)
        group.create_task(
            world.registry.create("serviceaccounts", {"metadata": {"name": "default", "namespace": "young"}})
        )

    assert made.result()["spec"]["serviceAccountName"] == "default"
