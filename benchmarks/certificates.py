"""Throw-away identities for one run: a root, and a certificate a workload, as the mesh's CA would issue them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DOMAIN = "bench.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate, its key and the root, PEM."""

    uri: str
    certificate: str
    key: str
    root: str


def make(*accounts: str) -> list[Identity]:
    """Return an identity for each account, all of one root."""
    now = dt.datetime.now(dt.UTC)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench root")])
    root = _builder(root_name, root_name, root_key, now).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    root_certificate = root.sign(root_key, hashes.SHA256())
    made = []
    for account in accounts:
        key = ec.generate_private_key(ec.SECP256R1())
        uri = f"spiffe://{DOMAIN}/ns/bench/sa/{account}"
        leaf = _builder(x509.Name([]), root_name, key, now).add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
        )
        made.append(
            Identity(
                uri=uri,
                certificate=_pem(leaf.sign(root_key, hashes.SHA256())),
                key=key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ).decode(),
                root=_pem(root_certificate),
            )
        )
    return made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
