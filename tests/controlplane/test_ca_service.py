"""The Issue method over TLS as sidecars call it: by token, for oneself, on a certificate that is renewed under way."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509

from controlplane.bounds import Bound, Who
from controlplane.ca import authority as signing
from controlplane.ca import issuer as issuers
from controlplane.ca.access import identified
from controlplane.ca.rootchange import Record
from controlplane.ca.service import Certificates, Issuing, ca_handlers
from controlplane.ca.serving import Serving
from controlplane.ca.tokens import Caller, Tokens
from controlplane.ca.trust import Trust
from controlplane.settings import Settings
from controlplane.xds.server import build_server
from meshapi import protos, xds
from tests.controlplane.test_ca_authority import request, uri
from tests.controlplane.test_ca_tokens import FakeReviews, good, token

SETTINGS = Settings()
WEB = "spiffe://cluster.local/ns/shop/sa/web"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def secret(data: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "tulle-ca"}, "data": data}


@dataclass(slots=True)
class Authority:
    trust: Trust
    serving: Serving
    reviews: FakeReviews
    book: Certificates
    port: int

    def channel(self, roots: str = "") -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials((roots or self.trust.roots_pem).encode())
        name = (("grpc.ssl_target_name_override", "tulle.tulle-system.svc"),)
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=name)

    async def issue(self, csr: bytes, *, pod: str = "web-1", bearer: str | None = None) -> Any:
        raw = protos.message("tulle.ca.v1.CertificateRequest")(csr=csr, pod=pod).SerializeToString()
        return await self.send(raw, bearer=bearer)

    async def send(self, raw: bytes, *, bearer: str | None = None) -> Any:
        metadata = (("authorization", token() if bearer is None else bearer),)
        async with self.channel() as channel:
            answer = await channel.unary_unary(xds.CA_ISSUE)(raw, metadata=metadata, timeout=5)
        return protos.message("tulle.ca.v1.CertificateChain").FromString(answer)


@asynccontextmanager
async def authority() -> AsyncIterator[Authority]:
    trust = Trust(SETTINGS, now)
    trust.apply("Secret", secret(issuers.new_root("cluster.local", now=now())))
    serving = Serving(trust, SETTINGS.dns_names, 3600, now)
    serving.renew()
    reviews, book = FakeReviews(good()), Certificates()
    tokens = Tokens(reviews, "cluster.local", lambda: now().timestamp() - 1e9)

    async def identify(authorization: str, peer: str) -> Caller:
        return await identified(tokens, authorization, Who("shop", "web-1"))

    issuing = Issuing(trust, identify, lambda namespace, pod: Who(namespace, pod, "node-1"), book, 3600)
    server = build_server([ca_handlers(issuing)], limit=10)
    port = server.add_secure_port("127.0.0.1:0", serving.credentials())
    await server.start()
    try:
        yield Authority(trust, serving, reviews, book, port)
    finally:
        await server.stop(0)
        issuing.close()


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), str(caught.value.details())


async def test_sidecar_gets_its_chain_and_the_roots() -> None:
    """The certificate is the caller's, and every root trusted now comes along."""
    async with authority() as ca:
        answer = await ca.issue(request(uri(WEB)))
        made = x509.load_pem_x509_certificate(answer.chain.encode())

        assert list(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [uri(WEB)]
        assert answer.roots == ca.trust.roots_pem
        assert ("shop", "web-1") in ca.book.expires


async def test_no_certificate_lives_longer_than_the_record_of_root_changes_says() -> None:
    """A replica with a longer life set begins before the leader has written that down: a root would be dropped under its certificates."""
    async with authority() as ca:
        ca.trust.record = Record(life=600.0)
        await ca.issue(request(uri(WEB)))

        assert now() + dt.timedelta(seconds=590) < ca.book.expires["shop", "web-1"] < now() + dt.timedelta(seconds=601)


@pytest.mark.parametrize("case", ["nobody", "expired", "somebody else", "another pod", "garbage", "no API server"])
async def test_what_may_not_be_issued_is_refused_once_logged_and_disturbs_nobody(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A status and a sentence for the caller, one line in the log, and the next one is served."""
    mine, other = request(uri(WEB)), request(uri(WEB.replace("web", "db")))
    async with authority() as ca:
        before = ca.reviews.status
        if case == "expired":
            ca.reviews.status = {"authenticated": False, "error": "service account token has expired"}
        if case == "no API server":
            ca.reviews.status = TimeoutError("away")
        calls = {
            "nobody": lambda: ca.issue(mine, bearer=""),
            "expired": lambda: ca.issue(mine, bearer=token(1.0)),
            "somebody else": lambda: ca.issue(other),
            "another pod": lambda: ca.issue(mine, pod="db-1"),
            "garbage": lambda: ca.send(b"\xff\xff"),
            "no API server": lambda: ca.issue(mine),
        }
        code, words = await refused(calls[case]())
        ca.reviews.status = before
        assert (await ca.issue(mine, bearer=token(7000.0))).chain
        assert ca.book.refused == 1

    expected = {
        "nobody": (grpc.StatusCode.UNAUTHENTICATED, "no token"),
        "expired": (grpc.StatusCode.UNAUTHENTICATED, "has expired"),
        "somebody else": (grpc.StatusCode.PERMISSION_DENIED, "the caller is spiffe://cluster.local/ns/shop/sa/web"),
        "another pod": (grpc.StatusCode.PERMISSION_DENIED, "bound to pod 'web-1'"),
        "garbage": (grpc.StatusCode.INVALID_ARGUMENT, "no CertificateRequest"),
        "no API server": (grpc.StatusCode.UNAVAILABLE, "away"),
    }[case]
    assert code is expected[0]
    assert expected[1] in words
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


async def test_no_token_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither when it is good nor when it is refused."""
    caplog.set_level(logging.DEBUG)
    async with authority() as ca:
        await ca.issue(request(uri(WEB)))
        await refused(ca.issue(request(uri(WEB)), bearer="Basic c2VjcmV0"))

    assert token().removeprefix("Bearer ") not in caplog.text
    assert "c2VjcmV0" not in caplog.text


async def test_new_root_is_served_to_new_connections_without_a_restart() -> None:
    """The issuer is replaced: who trusts only the new root connects, and both roots are handed out."""
    async with authority() as ca:
        old = ca.trust.roots_pem
        ca.trust.apply("ConfigMap", {"metadata": {"name": "tulle-trust"}, "data": {"roots": old}})
        fresh = issuers.new_root("cluster.local", now=now())
        ca.trust.apply("Secret", secret(fresh))
        ca.serving.renew()
        roots = issuers.pem(issuers.from_secret(fresh, now=now()).roots)
        async with ca.channel(roots) as channel:
            await asyncio.wait_for(channel.channel_ready(), 5)
        answer = await ca.issue(request(uri(WEB)))

    assert len(x509.load_pem_x509_certificates(answer.roots.encode())) == 2


async def test_secret_that_cannot_be_used_leaves_the_last_good_issuer(caplog: pytest.LogCaptureFixture) -> None:
    """A user's mistake stops nobody; it is said once."""
    async with authority() as ca:
        ca.trust.apply("Secret", secret({"tls.crt": "!"}))
        assert ca.trust.refused == "its tls.crt is not base64"
        ca.trust.remove("Secret", "tulle-system", "tulle-ca")
        assert "it was removed" in ca.trust.refused

        assert (await ca.issue(request(uri(WEB)))).chain
    assert "Secret tulle-system/tulle-ca cannot be used: its tls.crt is not base64" in caplog.text


async def test_pod_that_asks_without_end_is_refused_and_its_neighbour_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod in a loop takes its own part of the authority."""
    monkeypatch.setattr("controlplane.ca.service.CERTIFICATES", Bound(pod=3, node=100))
    mine = request(uri(WEB))
    async with authority() as ca:
        for _ in range(3):
            await ca.issue(mine)
        code, words = await refused(ca.issue(mine))
        ca.reviews.status = good(pod="web-2")

        assert (await ca.issue(mine, pod="web-2", bearer=token(7000.0))).chain
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert words == "pod shop/web-1 may ask for 3 certificates at once and one each 10 s; try again"


async def test_reviews_of_made_up_tokens_are_bounded_by_whose_address_they_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each would be a call to the API server; a known token costs none and is served on."""
    monkeypatch.setattr("controlplane.ca.tokens.REVIEWS", Bound(pod=4, node=100))
    mine = request(uri(WEB))
    known = token(1e12)
    async with authority() as ca:
        assert (await ca.issue(mine, bearer=known)).chain
        ca.reviews.status = {"authenticated": False}
        codes = [(await refused(ca.issue(mine, bearer=f"Bearer {number}")))[0] for number in range(6)]

        assert (await ca.issue(mine, bearer=known)).chain
    assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 3
    assert len(ca.reviews.asked) == 4


async def test_signing_is_done_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """An RSA key of 4096 bits takes 3 ms each; a hundred pods that start together are not to hold up everybody's streams."""
    loops, threads, sign = threading.get_ident(), set(), signing.sign

    def noted(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.get_ident())
        return sign(*args, **kwargs)

    monkeypatch.setattr(signing, "sign", noted)
    async with authority() as ca:
        await ca.issue(request(uri(WEB)))

    assert len(threads) == 1
    assert loops not in threads


async def test_issuer_that_is_over_ends_no_serving(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has brought a new issuer in time: what is served is served on, and said so; a new one is taken when it comes."""
    clock = [now()]
    trust = Trust(SETTINGS, lambda: clock[0])
    trust.apply("Secret", secret(issuers.new_root("cluster.local", now=now())))
    serving = Serving(trust, SETTINGS.dns_names, 3600, lambda: clock[0])
    serving.renew()
    before = serving.expires
    clock[0] += dt.timedelta(days=365 * issuers.ROOT_YEARS + 10)
    serving.renew()

    assert serving.expires == before
    assert "the issuing certificate expired" in caplog.text
    trust.apply("Secret", secret(issuers.new_root("cluster.local", now=clock[0])))
    serving.renew()
    assert before is not None
    assert serving.expires is not None
    assert serving.expires > before
