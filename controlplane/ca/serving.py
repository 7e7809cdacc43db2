"""The control plane's own certificate: for ADS and CA over gRPC, and for the webhooks, renewed at half its life without a restart.

In: the issuer and the DNS names of the Service. Out: gRPC credentials that ask for the certificate at each handshake, and a call to who else
serves with it, now and with each new one. The key lives in memory only. It refuses nothing; without an issuer, or with one that is over, it keeps what
it has and waits for another.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca import authority
from controlplane.ca.trust import Trust

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its key, PEM."""

    chain: bytes
    key: bytes
    expires: dt.datetime


class Serving:
    """The serving certificate and everybody who uses it."""

    def __init__(self, trust: Trust, dns_names: tuple[str, ...], seconds: int, now: Callable[[], dt.datetime]) -> None:
        self._trust = trust
        self._names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
        self._seconds = seconds
        self._now = now
        self._pair: KeyPair | None = None
        self._changed = asyncio.Event()
        self._followers: list[Callable[[bytes, bytes], None]] = []
        trust.listen(self._changed.set)

    def follow(self, follower: Callable[[bytes, bytes], None]) -> None:
        """Call with the chain and key (PEM) in use, now and whenever they are others."""
        pair = self._required()
        self._followers.append(follower)
        follower(pair.chain, pair.key)

    @property
    def expires(self) -> dt.datetime | None:
        """When the certificate in use is over."""
        return self._pair.expires if self._pair else None

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC: asks at each handshake whether there is a newer certificate."""
        pair = self._required()
        served = [pair]

        def newer() -> Any:
            # None says that nothing changed; gRPC calls this from a thread of its own.
            current = self._pair
            if current is None or current is served[0]:
                return None
            served[0] = current
            return _configuration(current)

        return grpc.dynamic_ssl_server_credentials(_configuration(pair), newer, require_client_authentication=False)

    async def run(self) -> None:
        """Renew at half life, and at once when the issuer changes, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._seconds / 2):
                    await self._changed.wait()
            except TimeoutError:
                log.info("renewing the control plane's certificate")
            self.renew()

    def renew(self) -> None:
        """Make a new key and certificate now."""
        self._changed.clear()
        issuer = self._trust.issuer
        if issuer is None:
            return
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            issued = authority.certify(issuer, key.public_key(), self._names, now=self._now(), seconds=self._seconds)
        except authority.RefusedError as error:
            log.error("no new certificate for the control plane itself: %s", error)  # noqa: TRY400 - a sentence
            return
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._pair = KeyPair(chain=issued.chain.encode(), key=private, expires=issued.expires)
        for follower in self._followers:
            follower(self._pair.chain, self._pair.key)
        log.info("serving as %s until %s", self._names[0].value, issued.expires.isoformat())

    def _required(self) -> KeyPair:
        if self._pair is None:
            self.renew()
        if self._pair is None:
            raise RuntimeError("the serving certificate was asked for before there was an issuer")
        return self._pair


def _configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], None)
