"""The issuer as it lies in a Secret: cert-manager's shape is taken, what cannot issue is refused in a sentence."""

from __future__ import annotations

import base64
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.authority import certify
from controlplane.ca.issuer import BadIssuerError, from_secret, new_root, parse_bundle, pem, union

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def encoded(**parts: bytes | str) -> dict[str, str]:
    raw = {k.replace("_", "."): v.encode() if isinstance(v, str) else v for k, v in parts.items()}
    return {k: base64.b64encode(v).decode() for k, v in raw.items()}


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate(  # noqa: PLR0913 - all that a test may want otherwise
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    by: str,
    name: str,
    ca: bool = True,
    extra: x509.ExtensionType | None = None,
) -> x509.Certificate:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(by))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if extra is not None:
        builder = builder.add_extension(extra, critical=False)
    return builder.sign(signer, hashes.SHA256())


def test_own_root_is_an_issuer_of_its_own_shape() -> None:
    """What the leader makes is what every replica can read."""
    issuer = from_secret(new_root("cluster.local", now=NOW), now=NOW)

    assert issuer.roots == issuer.chain == (issuer.certificate,)
    assert issuer.intermediates() == ""


def test_intermediate_in_cert_managers_shape_travels_with_each_leaf() -> None:
    """Peers trust the root only, so the chain must lead there."""
    root_key, key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate(root_key, root_key, by="root", name="root")
    middle = certificate(key, root_key, by="root", name="middle")
    issuer = from_secret(encoded(tls_crt=pem([middle, root]), tls_key=key_pem(key), ca_crt=pem([root])), now=NOW)
    chain = certify(issuer, leaf_key.public_key(), [x509.DNSName("a")], now=NOW, seconds=60).chain

    assert issuer.roots == (root,)
    assert x509.load_pem_x509_certificates(chain.encode())[1:] == [middle]


def _ours() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, certificate(key, key, by="root", name="root")


@pytest.mark.parametrize(
    "case", ["no chain", "no key", "another key", "no CA", "no root", "over", "not yet", "no PEM", "no base64"]
)
def test_secret_nobody_can_issue_with_is_refused_in_a_sentence(case: str) -> None:
    """The sentence names the part that is wrong."""
    key, root = _ours()
    other, stranger = _ours()
    leaf = certificate(key, key, by="root", name="root", ca=False)
    middle = certificate(key, other, by="other", name="middle")
    good = {"tls_crt": pem([root]), "tls_key": key_pem(key), "ca_crt": pem([root])}
    data, words = {
        "no chain": (encoded(tls_key=key_pem(key)), "no tls.crt"),
        "no key": (encoded(**good | {"tls_key": "x"}), "tls.key is no unencrypted PEM key"),
        "another key": (encoded(**good | {"tls_key": key_pem(other)}), "does not belong"),
        "no CA": (encoded(**good | {"tls_crt": pem([leaf])}), "may not sign others"),
        "no root": (encoded(tls_crt=pem([middle]), tls_key=key_pem(key)), "nobody could trust"),
        "over": (encoded(**good), "expired"),
        "not yet": (encoded(**good), "not valid before 2025-12-31"),
        "no PEM": (encoded(**good | {"ca_crt": "hello"}), "ca.crt is no PEM"),
        "no base64": ({"tls.crt": "!"}, "not base64"),
    }[case]
    now = NOW + dt.timedelta(days={"over": 60, "not yet": -2}.get(case, 0))

    with pytest.raises(BadIssuerError, match=words):
        from_secret(data, now=now)
    assert stranger is not root


def test_bundles_lie_together_without_doubles_and_without_what_is_over() -> None:
    """Overlap ends by itself."""
    _, one = _ours()
    _, two = _ours()

    assert union([one], [two, one], now=NOW) == (one, two)
    assert union([one], [two], now=NOW + dt.timedelta(days=60)) == ()
    assert parse_bundle(pem([one, two])) == (one, two)
    assert parse_bundle(" \n") == ()


P256, ODD = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030102")


def spoiled(made: x509.Certificate, what: str) -> str:
    """A certificate as PEM with something in it that no library reads."""
    raw = made.public_bytes(serialization.Encoding.DER)
    old, new = {"version": (bytes.fromhex("a003020102"), bytes.fromhex("a003020107")), "curve": (P256, ODD)}[what]
    assert old in raw
    return ssl.DER_cert_to_PEM_cert(raw.replace(old, new))


@pytest.mark.parametrize("what", ["version", "curve", "extension", "curve of the key"])
def test_what_no_library_reads_is_a_bad_secret_like_any_other(what: str) -> None:
    """A version, curve or extension nobody knows is refused as what it is: the control plane does not end over it."""
    key, root = _ours()
    text, private = pem([root]), key_pem(key)
    if what == "extension":
        text = pem(
            [certificate(key, key, by="root", name="root", extra=x509.UnrecognizedExtension(x509.OID_KEY_USAGE, b"?"))]
        )
    elif what == "curve of the key":
        der = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        body = base64.b64encode(der.replace(P256, ODD)).decode()
        private = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    else:
        text = spoiled(root, what)

    with pytest.raises(BadIssuerError):
        from_secret(encoded(tls_crt=text, tls_key=private, ca_crt=text), now=NOW)


def test_bundle_with_a_certificate_of_no_version_is_a_bad_bundle() -> None:
    """Whoever may write the ConfigMap can spoil it, and no more than that."""
    with pytest.raises(BadIssuerError, match="no PEM of certificates"):
        parse_bundle(spoiled(_ours()[1], "version"))
