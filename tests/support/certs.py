"""Throw-away certificate authorities and identities, made in memory in a millisecond each."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dataplane.config import StringMatch, TlsContext, TlsTrust


class Authority:
    """A root that signs leaves."""

    def __init__(self, name: str = "root") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._build(self._name, self._key, [], ca=True, days=1)

    @property
    def roots(self) -> bytes:
        """PEM of the root."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        """PEM of its key."""
        return _private(self._key)

    def issue(self, *uris: str, dns: tuple[str, ...] = (), days: float = 1.0) -> tuple[bytes, bytes]:
        """A leaf with these names: PEM of certificate and key; negative days make one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(uri) for uri in uris] + [x509.DNSName(name) for name in dns]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        leaf = self._build(subject, key, names, ca=False, days=days)
        return leaf.public_bytes(serialization.Encoding.PEM), _private(key)

    def context(
        self,
        uri: str = "spiffe://test/ns/a/sa/server",
        *,
        alpn: tuple[str, ...] = ("tulle-tcp",),
        trusting: Authority | None = None,
        days: float = 1.0,
    ) -> TlsContext:
        """One side of mesh TLS with a leaf of its own."""
        certificate, key = self.issue(uri, days=days)
        trust = TlsTrust(roots=(trusting or self).roots, uris=(StringMatch(prefix="spiffe://test/"),))
        return TlsContext(certificate=certificate, key=key, trust=trust, alpn=alpn, require_client_certificate=True)

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[x509.UniformResourceIdentifier | x509.DNSName],
        *,
        ca: bool,
        days: float,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
