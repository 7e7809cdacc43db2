"""Issue short-lived workload certificates: pure, given an issuer, the time and the identity that was proven.

In: a PKCS#10 request and the `Identity` of the caller. Out: a chain with one SPIFFE URI as its only name (SPIFFE X.509-SVID, sections 2
and 4), usable for TLS both ways and for nothing else. Refuses, with RefusedError, a request that is not signed by its own key, whose key is
weak or of a kind nobody asked for, that names anything but the caller's own URI, or that would outlive its issuer.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from controlplane.ca.issuer import UNREADABLE, Issuer
from meshapi import names
from meshapi.identity import Identity

BACKDATED = dt.timedelta(seconds=names.BACKDATED_SECONDS)
"""Clocks of nodes differ."""
MAX_CSR_BYTES = 16 * 1024
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class RefusedError(Exception):
    """A request for a certificate nobody may have; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and what came with it."""

    chain: str
    """PEM, leaf first."""
    expires: dt.datetime
    serial: int


def sign(issuer: Issuer, csr_der: bytes, identity: Identity, *, now: dt.datetime, seconds: int) -> Issued:
    """Answer a workload's CSR; raises RefusedError."""
    key = _checked(csr_der, str(identity))
    return certify(issuer, key, [x509.UniformResourceIdentifier(str(identity))], now=now, seconds=seconds)


def certify(
    issuer: Issuer, key: PublicKey, subjects: list[x509.GeneralName], *, now: dt.datetime, seconds: int
) -> Issued:
    """Make a leaf certificate for names that were checked already; raises RefusedError when the issuer itself is over."""
    expires = min(now + dt.timedelta(seconds=seconds), issuer.certificate.not_valid_after_utc)
    if expires <= now:
        raise RefusedError(f"the issuing certificate expired at {issuer.certificate.not_valid_after_utc.isoformat()}")
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(expires)
        # RFC 5280, 4.2.1.6: critical because the subject is empty.
        .add_extension(x509.SubjectAlternativeName(subjects), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(_key_identifier(issuer), critical=False)
        .sign(issuer.key, issuer.hash())
    )
    pem = leaf.public_bytes(serialization.Encoding.PEM).decode()
    return Issued(chain=pem + issuer.intermediates(), expires=expires, serial=leaf.serial_number)


def _key_identifier(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    """Name the issuer's key as its own certificate does (RFC 5280, 4.2.1.1), for there are several ways to compute it and they must agree."""
    try:
        own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _checked(csr_der: bytes, uri: str) -> PublicKey:
    if len(csr_der) > MAX_CSR_BYTES:
        raise RefusedError(f"the request is longer than {MAX_CSR_BYTES} bytes")
    try:
        csr = x509.load_der_x509_csr(csr_der)
        key = _strong(csr.public_key())  # before its signature is verified, which takes as long as the key is long
        valid = csr.is_signature_valid
        extensions = csr.extensions
    except (*UNREADABLE, InvalidSignature) as error:
        raise RefusedError(f"the request is no DER-encoded PKCS#10 request: {error}") from error
    if not valid:
        raise RefusedError("the request is not signed by its own key")
    try:
        wanted = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        raise RefusedError(
            f"the request names nobody; it must carry the URI {uri} as its only alternative name"
        ) from None
    if wanted != [x509.UniformResourceIdentifier(uri)]:
        named = ", ".join(str(getattr(name, "value", name)) for name in wanted)
        raise RefusedError(f"the request is for {named}, the caller is {uri}")
    return key


def _strong(key: object) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        raise RefusedError(f"curve {key.curve.name} is not taken, use P-256 or P-384")
    if isinstance(key, rsa.RSAPublicKey):
        if 2048 <= key.key_size <= 4096:
            return key
        wrong = "short" if key.key_size < 2048 else "long"
        raise RefusedError(f"an RSA key of {key.key_size} bits is too {wrong}, use P-256 or 2048 to 4096 bits")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise RefusedError(f"keys of kind {type(key).__name__} are not taken, use ECDSA P-256")
