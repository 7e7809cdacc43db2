"""The issuing key and certificate as they lie in a Secret, in cert-manager's shape, and the roots trusted beside them.

In: Secret data (`tls.crt` chain, `tls.key`, `ca.crt`), decoded or base64. Out: an `Issuer`; `new_root` makes one for a mesh that brought none. Refuses,
with BadIssuerError, a chain whose first certificate may not sign others, is over, or does not belong to the key.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from meshapi import names

ROOT_YEARS = 10
CLOCKS_DIFFER = dt.timedelta(seconds=names.BACKDATED_SECONDS)
CHAIN, KEY, ROOT, ROOTS = "tls.crt", "tls.key", "ca.crt", "roots"
MAX_LENT = 32 * 1024
"""Bytes of roots from a ConfigMap; they travel in an environment variable of every pod (decision 0002)."""
_BEGIN = "-----BEGIN CERTIFICATE-----"
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises over bytes that somebody else made: not all of it is a ValueError, and much of it comes only when a part is looked at."""


class BadIssuerError(ValueError):
    """A Secret nobody can issue certificates with; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A certificate that may sign others, its key, and the roots that make it trusted."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    """The issuing certificate and what stands between it and the root."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    roots: tuple[x509.Certificate, ...]

    def intermediates(self) -> str:
        """PEM of what a leaf must bring along: the chain without self-signed certificates."""
        return pem(certificate for certificate in self.chain if certificate.subject != certificate.issuer)

    def hash(self) -> hashes.SHA256 | hashes.SHA384:
        """The hash that fits the key."""
        large = isinstance(self.key, ec.EllipticCurvePrivateKey) and self.key.curve.key_size > 256
        return hashes.SHA384() if large else hashes.SHA256()


def pem(certificates: Iterable[x509.Certificate]) -> str:
    """Write certificates as PEM, one after the other."""
    return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates)


def union(*bundles: Iterable[x509.Certificate], now: dt.datetime) -> tuple[x509.Certificate, ...]:
    """Lay bundles together: each root once, in order, without those that are over."""
    merged: dict[bytes, x509.Certificate] = {}
    for bundle in bundles:
        for certificate in bundle:
            if certificate.not_valid_after_utc > now:
                merged.setdefault(certificate.fingerprint(hashes.SHA256()), certificate)
    return tuple(merged.values())


def parse_bundle(text: str) -> tuple[x509.Certificate, ...]:
    """Read a PEM bundle; raises BadIssuerError. Empty text is an empty bundle."""
    if not text.strip():
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except UNREADABLE as error:
        raise BadIssuerError(f"the trust bundle is no PEM of certificates: {error}") from error


def bundle_in(data: Mapping[str, str]) -> tuple[x509.Certificate, ...]:
    """Read the further roots a Secret may carry under `roots`; raises BadIssuerError."""
    return _certificates(data, ROOTS)


def lent_in(data: Mapping[str, str]) -> tuple[x509.Certificate, ...]:
    """Read the roots a ConfigMap of somebody else's holds, under whatever keys; raises BadIssuerError."""
    found: list[x509.Certificate] = []
    for key in sorted(data):
        if _BEGIN in data[key]:
            found += _roots_under(key, data[key])
    if not found:
        raise BadIssuerError("it holds no certificate; put roots there, PEM, under any key of its data")
    size = len(pem(found))
    if size > MAX_LENT:
        raise BadIssuerError(f"it holds {size} bytes of certificates, more than the {MAX_LENT} a pod's spec can carry")
    return tuple(found)


def _roots_under(key: str, text: str) -> tuple[x509.Certificate, ...]:
    try:
        found = tuple(x509.load_pem_x509_certificates(text.encode()))
        for certificate in found:
            _may_sign(certificate)
    except BadIssuerError:
        raise BadIssuerError(f"a certificate under its key {key} may not sign others, so it is no root") from None
    except UNREADABLE as error:
        raise BadIssuerError(f"what it holds under its key {key} cannot be read as certificates: {error}") from error
    return found


def from_secret(data: Mapping[str, str], *, now: dt.datetime) -> Issuer:
    """Read the data of a Secret (base64, as the API has it); raises BadIssuerError."""
    try:
        return _read(data, now)
    except BadIssuerError:
        raise
    except UNREADABLE as error:
        raise BadIssuerError(f"something in it cannot be read: {error}") from error


def _read(data: Mapping[str, str], now: dt.datetime) -> Issuer:
    chain = _certificates(data, CHAIN)
    if not chain:
        raise BadIssuerError(f"it has no {CHAIN}")
    first = chain[0]
    roots = _certificates(data, ROOT) or tuple(c for c in chain if c.subject == c.issuer)
    if not roots:
        raise BadIssuerError(
            f"it has no {ROOT}, and no certificate in {CHAIN} is a root: nobody could trust what it issues"
        )
    _may_sign(first)
    if first.not_valid_after_utc <= now:
        raise BadIssuerError(f"its certificate expired at {first.not_valid_after_utc.isoformat()}")
    if first.not_valid_before_utc > now + CLOCKS_DIFFER:
        raise BadIssuerError(
            f"its certificate is not valid before {first.not_valid_before_utc.isoformat()}, and so is nothing it signs"
        )
    try:
        key: PrivateKeyTypes = serialization.load_pem_private_key(_decoded(data, KEY), password=None)
    except (ValueError, TypeError) as error:
        raise BadIssuerError(f"its {KEY} is no unencrypted PEM key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise BadIssuerError(f"its {KEY} must be an ECDSA or RSA key")
    if key.public_key() != first.public_key():
        raise BadIssuerError(f"its {KEY} does not belong to the first certificate of {CHAIN}")
    return Issuer(certificate=first, chain=chain, key=key, roots=roots)


def new_root(trust_domain: str, *, now: dt.datetime) -> dict[str, str]:
    """Make a self-signed root for a trust domain; returns Secret data, base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Tulle"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Tulle root of {trust_domain}"[:64]),
        ]
    )
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=365 * ROOT_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_signing_certificates(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # SPIFFE X.509-SVID section 4.2: a signing certificate may carry the trust domain as its URI.
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = pem([root]).encode()
    return {name: base64.b64encode(value).decode() for name, value in ((CHAIN, public), (KEY, private), (ROOT, public))}


def _signing_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _may_sign(certificate: x509.Certificate) -> None:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        basic = None
    if basic is None or not basic.ca:
        raise BadIssuerError(
            f"the first certificate of its {CHAIN} may not sign others (basic constraints: CA is not true)"
        )
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise BadIssuerError(f"the first certificate of its {CHAIN} may not sign others (key usage: no keyCertSign)")


def _decoded(data: Mapping[str, str], key: str) -> bytes:
    try:
        return base64.b64decode(data.get(key, ""), validate=True)
    except binascii.Error as error:
        raise BadIssuerError(f"its {key} is not base64") from error


def _certificates(data: Mapping[str, str], key: str) -> tuple[x509.Certificate, ...]:
    raw = _decoded(data, key)
    if not raw.strip():
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(raw))
    except UNREADABLE as error:
        raise BadIssuerError(f"its {key} is no PEM of certificates") from error
