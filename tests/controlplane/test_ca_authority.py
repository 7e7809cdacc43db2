"""Certificates: what is issued is strict, and what may not be issued is refused with a sentence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ClientVerifier, PolicyBuilder, Store, VerificationError

from controlplane.ca.authority import BACKDATED, RefusedError, sign
from controlplane.ca.issuer import Issuer, from_secret, new_root
from meshapi.identity import Identity

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WEB = Identity(trust_domain="cluster.local", namespace="shop", account="web")
DAY = 24 * 3600


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return from_secret(new_root("cluster.local", now=NOW), now=NOW)


def request(*names: x509.GeneralName, key: object = None) -> bytes:
    chosen = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(chosen, hashes.SHA256())  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.DER)


def uri(text: object) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(str(text))


def leaf(chain: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain.encode())[0]


def test_leaf_has_one_spiffe_uri_and_strict_usages(issuer: Issuer) -> None:
    """SPIFFE X.509-SVID: one URI SAN, no signing of others, client and server authentication."""
    made = leaf(sign(issuer, request(uri(WEB)), WEB, now=NOW, seconds=DAY).chain)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value

    assert list(names.value) == [uri("spiffe://cluster.local/ns/shop/sa/web")]
    assert names.critical
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert usage.digital_signature
    assert not (usage.key_cert_sign)
    assert not (usage.crl_sign)
    assert not (usage.key_encipherment)
    assert set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }


def test_leaf_lives_a_day_and_is_backdated_a_little(issuer: Issuer) -> None:
    """Clocks of nodes differ."""
    issued = sign(issuer, request(uri(WEB)), WEB, now=NOW, seconds=DAY)
    made = leaf(issued.chain)

    assert made.not_valid_before_utc == NOW - BACKDATED
    assert made.not_valid_after_utc == issued.expires == NOW + dt.timedelta(days=1)


def test_leaf_verifies_against_the_root_and_not_against_another(issuer: Issuer) -> None:
    """Judged by cryptography's own verifier."""
    made = leaf(sign(issuer, request(uri(WEB)), WEB, now=NOW, seconds=DAY).chain)

    def verifier(roots: tuple[x509.Certificate, ...]) -> ClientVerifier:
        return PolicyBuilder().store(Store(list(roots))).time(NOW).build_client_verifier()

    found = verifier(issuer.roots).verify(made, [])
    assert found.subjects == [uri(WEB)]
    stranger = from_secret(new_root("cluster.local", now=NOW), now=NOW)
    with pytest.raises(VerificationError):
        verifier(stranger.roots).verify(made, [])


def test_leaf_never_outlives_its_issuer(issuer: Issuer) -> None:
    """A chain that ends in the middle of the night is worse than a short one."""
    late = issuer.certificate.not_valid_after_utc - dt.timedelta(hours=1)
    issued = sign(issuer, request(uri(WEB)), WEB, now=late, seconds=DAY)

    assert issued.expires == issuer.certificate.not_valid_after_utc
    with pytest.raises(RefusedError, match="issuing certificate expired"):
        sign(issuer, request(uri(WEB)), WEB, now=late + dt.timedelta(hours=2), seconds=DAY)


def _broken_signature() -> bytes:
    raw = bytearray(request(uri(WEB)))
    raw[-5] ^= 0xFF
    return bytes(raw)


def _altered(old: str, new: str) -> bytes:
    """A request with something in it that no library knows, and so a signature that is none."""
    raw = request(uri(WEB))
    assert bytes.fromhex(old) in raw
    return raw.replace(bytes.fromhex(old), bytes.fromhex(new), 1)


def _of_a_kind_of_name_nobody_reads() -> bytes:
    names = x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3002a300"))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("csr", "words"),
    [
        pytest.param(lambda: _altered("020100", "020105"), "no DER-encoded", id="odd version"),
        pytest.param(
            lambda: _altered("06082a8648ce3d030107", "06082a8648ce3d030102"), "no DER-encoded", id="unknown curve"
        ),
        pytest.param(_of_a_kind_of_name_nobody_reads, "no DER-encoded", id="unknown kind of name"),
        pytest.param(lambda: b"garbage", "no DER-encoded PKCS#10", id="garbage"),
        pytest.param(lambda: b"\x30" * 20_000, "longer than", id="too long"),
        pytest.param(request, "names nobody", id="no name"),
        pytest.param(lambda: request(uri("spiffe://cluster.local/ns/shop/sa/db")), "the caller is", id="somebody else"),
        pytest.param(lambda: request(uri(WEB), x509.DNSName("web.shop")), "the caller is", id="a name more"),
        pytest.param(lambda: request(uri(WEB), uri(WEB)), "the caller is", id="twice"),
        pytest.param(lambda: request(x509.DNSName("web.shop")), "the caller is", id="another kind of name"),
        pytest.param(_broken_signature, "not signed by its own key|no DER", id="broken signature"),
        pytest.param(lambda: request(uri(WEB), key=ec.generate_private_key(ec.SECP224R1())), "curve", id="odd curve"),
        pytest.param(lambda: request(uri(WEB), key=rsa.generate_private_key(65537, 1024)), "too short", id="short RSA"),
        pytest.param(lambda: request(uri(WEB), key=rsa.generate_private_key(65537, 4224)), "too long", id="long RSA"),
        pytest.param(lambda: request(uri(WEB), key=dsa.generate_private_key(1024)), "not taken", id="DSA"),
    ],
)
def test_request_nobody_may_have_is_refused_in_a_sentence(issuer: Issuer, csr: Callable[[], bytes], words: str) -> None:
    """The signature, the only name, and the key are checked."""
    with pytest.raises(RefusedError, match=words):
        sign(issuer, csr(), WEB, now=NOW, seconds=DAY)
