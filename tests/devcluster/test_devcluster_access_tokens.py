"""Tokens and who they stand for: made, checked, reviewed, refused; certificates and impersonation beside them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from devcluster.access.authentication import Authenticator
from devcluster.access.rbac import Authorizer
from devcluster.access.tokens import ISSUER, TokenError, TokenIssuer
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.users import ANONYMOUS, User

ADMIN = User(name="admin", groups=("system:masters",))


class Clock:
    """A clock tests move."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def cluster() -> Registry:
    registry = Registry()
    await registry.create("namespaces", {"metadata": {"name": "shop"}})
    await registry.create("serviceaccounts", {"metadata": {"name": "web", "namespace": "shop"}})
    pod = {"metadata": {"name": "web-1", "namespace": "shop"}, "spec": {"serviceAccountName": "web", "containers": []}}
    await registry.create("pods", pod)
    return registry


def bound(registry: Registry, **spec: Any) -> dict[str, Any]:
    uid = registry.get("pods", "shop", "web-1")["metadata"]["uid"]
    return {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web-1", "uid": uid}, **spec}}


async def test_token_names_its_account_and_its_pod() -> None:
    """A review answers with user, groups, audience and the pod in extra."""
    registry = await cluster()
    issuer = TokenIssuer(registry)
    made = issuer.request("shop", "web", bound(registry, audiences=["mesh-ca"], expirationSeconds=600))
    review = issuer.review({"spec": {"token": made["status"]["token"], "audiences": ["mesh-ca", "other"]}})
    status = review["status"]

    assert status["authenticated"] is True
    assert status["audiences"] == ["mesh-ca"]
    assert status["user"]["username"] == "system:serviceaccount:shop:web"
    assert "system:serviceaccounts:shop" in status["user"]["groups"]
    assert status["user"]["uid"] == registry.get("serviceaccounts", "shop", "web")["metadata"]["uid"]
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["web-1"]
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-uid"] == [
        registry.get("pods", "shop", "web-1")["metadata"]["uid"]
    ]


async def test_token_is_a_json_web_token() -> None:
    """Claims are those of the real server; the public key is served."""
    issuer = TokenIssuer(await cluster(), clock=Clock())
    token = issuer.request("shop", "web", {"spec": {}})["status"]["token"]
    header, payload, _ = (
        json.loads(base64.urlsafe_b64decode(p + "==")) if i < 2 else p for i, p in enumerate(token.split("."))
    )

    assert header["alg"] == "ES256"
    assert header["kid"] == issuer.jwks()["keys"][0]["kid"]
    assert (payload["iss"], payload["sub"], payload["aud"]) == (ISSUER, "system:serviceaccount:shop:web", [ISSUER])
    assert payload["exp"] == payload["iat"] + 3600
    assert payload["kubernetes.io"]["serviceaccount"]["name"] == "web"


async def test_bad_token_is_refused_with_a_sentence() -> None:
    """Expired, foreign, for another audience, tampered or malformed: each says so, none is authenticated."""
    registry, clock = await cluster(), Clock()
    issuer = TokenIssuer(registry, clock=clock)
    token = issuer.request("shop", "web", bound(registry))["status"]["token"]
    foreign = TokenIssuer(registry).request("shop", "web", {"spec": {}})["status"]["token"]
    header, _, rest = token.partition(".")
    payload, _, signature = rest.partition(".")

    def error(token: str, *audiences: str) -> str:
        status = issuer.review({"spec": {"token": token, "audiences": list(audiences)}})["status"]
        assert "authenticated" not in status
        return str(status["error"])

    assert 'is invalid for the target audiences ["other"]' in error(token, "other")
    assert "not signed by this cluster" in error(foreign)
    assert "not signed by this cluster" in error(f"{header}.{payload[:-2]}AA.{signature}")
    assert "malformed" in error("no.token.here!")
    assert "malformed" in error("")
    clock.now += 3600
    assert "has expired" in error(token)


async def test_token_dies_with_its_pod_and_account() -> None:
    """A token bound to a pod that is gone, or made anew, is good no more."""
    registry = await cluster()
    issuer = TokenIssuer(registry)
    token = issuer.request("shop", "web", bound(registry))["status"]["token"]
    free = issuer.request("shop", "web", {"spec": {}})["status"]["token"]
    await registry.delete("pods", "shop", "web-1", options={"gracePeriodSeconds": 0})
    with pytest.raises(TokenError, match="pod shop/web-1 has been deleted"):
        issuer.check(token)
    issuer.check(free)
    await registry.delete("serviceaccounts", "shop", "web")
    with pytest.raises(TokenError, match="serviceaccount shop/web has been deleted"):
        issuer.check(free)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"expirationSeconds": 60}, "may not specify a duration less than 10 minutes"),
        ({"boundObjectRef": {"kind": "Pod", "name": "gone"}}, 'pods "gone" not found'),
        ({"boundObjectRef": {"kind": "Pod", "name": "web-1", "uid": "x"}}, "does not match the UID in record"),
        ({"boundObjectRef": {"kind": "Node", "name": "n"}}, "must be Pod or Secret"),
    ],
)
async def test_bad_request_for_a_token_is_refused(spec: dict[str, Any], said: str) -> None:
    """Too short a life and bindings that do not fit are refused."""
    issuer = TokenIssuer(await cluster())
    with pytest.raises(StatusError) as caught:
        issuer.request("shop", "web", {"spec": spec})

    assert said in caught.value.message


async def test_pod_of_another_account_cannot_be_bound() -> None:
    """A token speaks for the account its pod runs as."""
    registry = await cluster()
    await registry.create("serviceaccounts", {"metadata": {"name": "other", "namespace": "shop"}})
    with pytest.raises(StatusError, match="different serviceaccount name"):
        TokenIssuer(registry).request("shop", "other", bound(registry))


async def test_credentials_make_users() -> None:
    """Static tokens, account tokens, certificates and none; a wrong one is 401."""
    issuer = TokenIssuer(await cluster())
    door = Authenticator(issuer, {"secret": ADMIN})
    token = issuer.request("shop", "web", {"spec": {}})["status"]["token"]
    subject = {"subject": ((("organizationName", "dev"),), (("commonName", "jane"),))}

    assert door.authenticate([("Authorization", "Bearer secret")]).groups == ("system:masters", "system:authenticated")
    assert door.authenticate([("authorization", f"Bearer {token}")]).name == "system:serviceaccount:shop:web"
    assert door.authenticate([], subject) == User(name="jane", groups=("dev", "system:authenticated"))
    assert door.authenticate([]) == ANONYMOUS
    with pytest.raises(StatusError) as caught:
        door.authenticate([("Authorization", "Bearer wrong")])
    assert caught.value.code == 401


async def test_impersonation_needs_the_right() -> None:
    """The administrator acts as anybody, others only as whom a role names."""
    registry = await cluster()
    door, authorizer = Authenticator(TokenIssuer(registry), {}), Authorizer(registry)
    account = [("Impersonate-User", "system:serviceaccount:shop:web")]
    jane = [("Impersonate-User", "jane"), ("Impersonate-Group", "dev"), ("Impersonate-Extra-a%2Fb", "c")]

    assert "system:serviceaccounts:shop" in door.impersonate(ADMIN, account, authorizer).groups
    assert door.impersonate(ADMIN, jane, authorizer) == User(
        name="jane", groups=("dev", "system:authenticated"), extra={"a/b": ["c"]}
    )
    assert door.impersonate(ADMIN, [], authorizer) is ADMIN
    with pytest.raises(StatusError, match='User "bob" cannot impersonate resource "users"'):
        door.impersonate(User(name="bob"), jane, authorizer)
    with pytest.raises(StatusError, match="without impersonating a user"):
        door.impersonate(ADMIN, [("Impersonate-Group", "g")], authorizer)
