"""Service-account tokens: JWTs signed with the cluster's key, bound to the pod they were made for.

In: TokenRequests, tokens. Out: tokens, `Claims`, TokenReviews. A token is refused when it is malformed, not ours, expired, for another audience,
or when its account or pod is gone or is another one of the same name. Signed with ES256 (RFC 7518 3.4) by `cryptography` alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from devcluster.api.errors import Object, StatusError, bad_request, conflict, invalid
from devcluster.api.registry import Registry
from devcluster.api.users import User

ISSUER = "https://kubernetes.default.svc.cluster.local"
SHORTEST = 600
"""Seconds a token lives at least."""
LONGEST = 365 * 24 * 3600
_ALGORITHM = ec.ECDSA(hashes.SHA256())


class TokenError(Exception):
    """A token that is not good; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a good token says."""

    namespace: str
    account: str
    uid: str
    audiences: tuple[str, ...]
    expires: int
    id: str
    pod: Mapping[str, str] = field(default_factory=dict)
    node: Mapping[str, str] = field(default_factory=dict)

    def user(self) -> User:
        """The user the token stands for."""
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={self.id}"]}
        for kind, what in (("pod", self.pod), ("node", self.node)):
            for part in ("name", "uid"):
                if what.get(part):
                    extra[f"authentication.kubernetes.io/{kind}-{part}"] = [what[part]]
        return account_user(self.namespace, self.account, self.uid, extra)


def account_user(namespace: str, account: str, uid: str = "", extra: Mapping[str, list[str]] | None = None) -> User:
    """The user a service account is."""
    return User(
        name=f"system:serviceaccount:{namespace}:{account}",
        groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
        uid=uid,
        extra=extra or {},
    )


class TokenIssuer:
    """Makes and checks tokens with one key."""

    def __init__(self, registry: Registry, key: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._clock = clock
        loaded = serialization.load_pem_private_key(key, None) if key else ec.generate_private_key(ec.SECP256R1())
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.curve.name != "secp256r1":
            raise TypeError("the token key must be a P-256 private key in PEM")
        self._key = loaded

    def request(self, namespace: str, account: str, body: Object) -> Object:
        """Answer a TokenRequest of a service account."""
        found = self._registry.get("serviceaccounts", namespace, account)
        spec = body.get("spec") or {}
        audiences, seconds = spec.get("audiences") or [ISSUER], spec.get("expirationSeconds") or 3600
        if not isinstance(seconds, int) or not SHORTEST <= seconds <= 2**32:
            less = isinstance(seconds, int) and seconds < SHORTEST
            why = "may not specify a duration " + ("less than 10 minutes" if less else "larger than 2^32 seconds")
            cause = {"reason": "FieldValueInvalid", "field": "spec.expirationSeconds"}
            raise invalid(
                "authentication.k8s.io",
                "TokenRequest",
                "",
                [cause | {"message": f"Invalid value: {seconds}: {why}"}],
            )
        bound = spec.get("boundObjectRef")
        about = self._bound(namespace, account, bound) if bound else {}
        seconds = min(seconds, LONGEST)
        expires = int(self._clock()) + seconds
        token = self._sign(namespace, found["metadata"], audiences, expires, about)
        until = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": namespace},
            "spec": {"audiences": list(audiences), "expirationSeconds": seconds, "boundObjectRef": bound},
            "status": {"token": token, "expirationTimestamp": until},
        }

    def _bound(self, namespace: str, account: str, reference: Mapping[str, Any]) -> dict[str, Any]:
        kind, name = reference.get("kind"), str(reference.get("name", ""))
        if kind not in {"Pod", "Secret"}:
            raise bad_request(
                f"cannot bind token for serviceaccount to object of type {kind}; it must be Pod or Secret"
            )
        found = self._registry.get("pods" if kind == "Pod" else "secrets", namespace, name)
        uid = found["metadata"]["uid"]
        if reference.get("uid", uid) != uid:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise conflict("", f"{kind.lower()}s", name, why)
        about: dict[str, Any] = {kind.lower(): {"name": name, "uid": uid}}
        if kind == "Pod":
            if found["spec"].get("serviceAccountName", "default") != account:
                text = f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
                raise bad_request(text)
            if node := found["spec"].get("nodeName"):
                known = [n for n in self._registry.list("nodes") if n["metadata"]["name"] == node]
                about["node"] = {"name": node} | ({"uid": known[0]["metadata"]["uid"]} if known else {})
        return about

    def _sign(
        self, namespace: str, account: Object, audiences: Sequence[str], expires: int, about: Mapping[str, Any]
    ) -> str:
        now = int(self._clock())
        claims = {
            "aud": list(audiences),
            "exp": expires,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": account["name"], "uid": account["uid"]},
                **about,
            },
            "sub": f"system:serviceaccount:{namespace}:{account['name']}",
        }
        signed = f"{_encode({'alg': 'ES256', 'kid': self._kid(), 'typ': 'JWT'})}.{_encode(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), _ALGORITHM))
        return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def check(self, token: str, audiences: Sequence[str] = ()) -> Claims:
        """Read a token; raises TokenError. Without audiences it must be for the API server."""
        claims = self._verified(token)
        wanted = list(audiences) or [ISSUER]
        if not set(claims.audiences) & set(wanted):
            had, asked = json.dumps(list(claims.audiences)), json.dumps(wanted)
            raise TokenError(f"token audiences {had} is invalid for the target audiences {asked}")
        if claims.expires <= self._clock():
            raise TokenError("service account token has expired")
        self._alive("serviceaccounts", claims.namespace, {"name": claims.account, "uid": claims.uid})
        if claims.pod:
            self._alive("pods", claims.namespace, claims.pod)
        return claims

    def _verified(self, token: str) -> Claims:
        try:
            signed, _, signature = token.rpartition(".")
            header, _, payload = signed.partition(".")
            raw = _decode(signature)
            algorithm = json.loads(_decode(header)).get("alg")
            if len(raw) != 64 or algorithm != "ES256":
                raise TokenError("square/go-jose: error in cryptographic primitive")
            both = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            self._key.public_key().verify(both, signed.encode(), _ALGORITHM)
            said = json.loads(_decode(payload))
            about = said["kubernetes.io"]
            return Claims(
                namespace=about["namespace"],
                account=about["serviceaccount"]["name"],
                uid=about["serviceaccount"]["uid"],
                audiences=tuple(said["aud"]),
                expires=said["exp"],
                id=said["jti"],
                pod=about.get("pod") or {},
                node=about.get("node") or {},
            )
        except InvalidSignature as error:
            raise TokenError("the token is not signed by this cluster") from error
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise TokenError("the token is malformed") from error

    def _alive(self, plural: str, namespace: str, what: Mapping[str, str]) -> None:
        try:
            found = self._registry.get(plural, namespace, what["name"])
        except StatusError as error:
            raise TokenError(f"{plural.removesuffix('s')} {namespace}/{what['name']} has been deleted") from error
        if found["metadata"]["uid"] != what["uid"]:
            one = plural.removesuffix("s")
            raise TokenError(
                f"{one} {namespace}/{what['name']} has been deleted and made anew: UID ({what['uid']}) differs"
            )

    def review(self, body: Object) -> Object:
        """Answer a TokenReview."""
        spec = body.get("spec") or {}
        audiences = spec.get("audiences") or []
        answer = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": spec}
        try:
            claims = self.check(str(spec.get("token", "")), audiences)
        except TokenError as error:
            return answer | {"status": {"user": {}, "error": f"[invalid bearer token, {error}]"}}
        both = [one for one in claims.audiences if one in (audiences or [ISSUER])]
        return answer | {"status": {"authenticated": True, "user": claims.user().info(), "audiences": both}}

    def jwks(self) -> Object:
        """The public key as `/openid/v1/jwks` serves it (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        point = {"x": _base64(numbers.x.to_bytes(32, "big")), "y": _base64(numbers.y.to_bytes(32, "big"))}
        return {"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self._kid(), **point}]}

    def _kid(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self._key.public_key().public_bytes(serialization.Encoding.DER, form)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(public)
        return _base64(digest.finalize())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode(value: Object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
