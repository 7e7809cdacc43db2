"""An issuer is believed after a leaf of it was: what Go, cert-manager and this mesh make is taken, what nobody could verify is not."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from controlplane.ca.issuer import BadIssuerError, Issuer, from_secret, new_root, pem
from controlplane.ca.trial import prove
from controlplane.ca.trust import Trust
from controlplane.settings import Settings

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = ("tulle.tulle-system.svc",)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Identifier = Callable[[Key], x509.ExtensionType | None]


def sha1(key: Key) -> x509.ExtensionType:
    """RFC 5280, 4.2.1.2, method 1: what OpenSSL and this mesh's own root have."""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def sha256(key: Key) -> x509.ExtensionType:
    """RFC 7093, method 1: what Go has since 1.25, so a cert-manager of today."""
    raw = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return x509.SubjectKeyIdentifier(hashlib.sha256(raw).digest()[:20])


def none(key: Key) -> None:
    """An issuer without the extension."""


def signed(key: Key, by: Key, *, subject: str, issuer: str, extras: list[x509.ExtensionType]) -> x509.Certificate:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(subject))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    for extra in extras:
        builder = builder.add_extension(extra, critical=isinstance(extra, x509.NameConstraints))
    return builder.sign(by, hashes.SHA256())


def root(identifier: Identifier = sha1, key: Key | None = None, *more: x509.ExtensionType) -> Issuer:
    own = key or ec.generate_private_key(ec.SECP256R1())
    extras = [one for one in (identifier(own), *more) if one is not None]
    made = signed(own, own, subject="root", issuer="root", extras=extras)
    return Issuer(certificate=made, chain=(made,), key=own, roots=(made,))


def middle(*, identifier: Identifier, roots: tuple[x509.Certificate, ...] | None = None) -> Issuer:
    top, key = root(sha256), ec.generate_private_key(ec.SECP256R1())
    own = identifier(key)
    made = signed(key, top.key, subject="middle", issuer="root", extras=[own] if own else [])
    return Issuer(certificate=made, chain=(made, top.certificate), key=key, roots=top.roots if roots is None else roots)


@pytest.mark.parametrize("identifier", [sha1, sha256, none])
@pytest.mark.parametrize("make", ["root", "RSA root", "intermediate"])
def test_leaf_of_any_usual_issuer_verifies(identifier: Identifier, make: str) -> None:
    """The leaf names its issuer's key by the identifier the issuer has, however that was made."""
    issuer = {
        "root": lambda: root(identifier),
        "RSA root": lambda: root(identifier, rsa.generate_private_key(65537, 2048)),
        "intermediate": lambda: middle(identifier=identifier),
    }[make]()

    prove(issuer, "cluster.local", NAMES, now=NOW)


def test_own_root_passes_its_trial() -> None:
    """What the leader makes is what it takes."""
    prove(from_secret(new_root("cluster.local", now=NOW), now=NOW), "cluster.local", NAMES, now=NOW)


@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        (lambda: middle(identifier=sha1, roots=root().roots), "does not verify up to its ca.crt"),
        (lambda: root(sha1, None, x509.NameConstraints([x509.DNSName("example.com")], None)), "permitted subtree"),
    ],
    ids=["another's root", "names it may not sign"],
)
def test_issuer_whose_leaves_nobody_would_verify_is_refused(issuer: Callable[[], Issuer], words: str) -> None:
    """Taken in silence it would be a mesh in which no handshake succeeds."""
    with pytest.raises(BadIssuerError, match=words):
        prove(issuer(), "cluster.local", NAMES, now=NOW)


def test_root_that_is_over_proves_nothing() -> None:
    """The issuer may outlive the root above it."""
    with pytest.raises(BadIssuerError, match=r"no certificate of its ca\.crt is valid"):
        prove(root(), "cluster.local", NAMES, now=NOW + dt.timedelta(days=31))


def secret_of(issuer: Issuer) -> dict[str, str]:
    private = issuer.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    parts = {"tls.crt": pem(issuer.chain).encode(), "tls.key": private, "ca.crt": pem(issuer.roots).encode()}
    return {name: base64.b64encode(raw).decode() for name, raw in parts.items()}


async def test_last_good_issuer_stays_when_its_successor_fails_the_trial(caplog: pytest.LogCaptureFixture) -> None:
    """The sentence is logged, and the mesh goes on issuing what everybody verifies."""
    trust, good = Trust(Settings(), lambda: NOW), root(sha256)
    for issuer in (good, middle(identifier=sha1, roots=root().roots)):
        trust.apply("Secret", {"metadata": {"name": "tulle-ca"}, "data": secret_of(issuer)})

    assert trust.issuer is not None
    assert trust.issuer.certificate == good.certificate
    assert "Secret tulle-system/tulle-ca cannot be used: a certificate issued with it does not verify" in caplog.text
