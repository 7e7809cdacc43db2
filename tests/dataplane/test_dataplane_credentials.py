"""The sidecar's identity: making a key, reading a certificate's end, when to renew."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from dataplane.certificate import BadCertificateError, moment, validity
from dataplane.credentials import Credentials, NoKeyError, make_key, remember_roots, remembered_roots
from dataplane.xds.client import BACKOFF
from meshapi import names

URI = "spiffe://cluster.local/ns/shop/sa/web"
START = dt.datetime(2026, 11, 24, 12, 0, 0, tzinfo=dt.UTC)


def chain(days: float = 1, start: dt.datetime = START) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "a")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


@pytest.mark.parametrize("start", [START, START.replace(year=2061)], ids=["UTCTime", "GeneralizedTime"])
def test_validity_is_what_the_library_says(start: dt.datetime) -> None:
    """Both forms of time are read."""
    found = validity(chain(start=start))

    assert (found.begins, found.ends) == (start.timestamp(), start.timestamp() + 86400)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_broken_certificate_is_refused_with_a_sentence(noise: bytes, cut: int) -> None:
    """Whatever the bytes, the answer is a validity or a BadCertificateError."""
    body = base64.b64encode(noise or chain()[cut:])
    with contextlib.suppress(BadCertificateError):
        found = validity(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")

        assert found.ends > 0


async def test_key_maker_gives_a_key_and_its_request() -> None:
    """The request carries the URI alone, signed by the key that came with it."""
    made = await make_key(URI)
    request = x509.load_der_x509_csr(made.csr)
    key = serialization.load_pem_private_key(made.key, None)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert [name.value for name in names] == [URI]
    assert b"PRIVATE" not in repr(made).encode()


async def test_key_maker_that_fails_is_said_so() -> None:
    """A URI the library refuses ends in NoKeyError with its words."""
    with pytest.raises(NoKeyError, match="failed"):
        await make_key("spiffe://\N{SNOWMAN}")


async def test_key_maker_that_cannot_be_started_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod at its bound of processes has no key now: that is no defect, and is tried again."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(NoKeyError, match="cannot be started: No such file"):
        await make_key(URI)


def test_renewal_is_due_at_half_of_life_at_the_latest() -> None:
    """The dice only bring it forward; life counts from receipt, and what was backdated is none."""
    held = Credentials(roots_pem=b"r")
    held.install(b"key", chain(), 1000.0)
    life = 86400 - names.BACKDATED_SECONDS

    assert held.renew_in(1000.0, 0.0) == life / 2
    assert held.renew_in(1000.0, 0.999) == pytest.approx(life * 0.4, rel=0.01)
    assert held.renew_in(1000.0 + life, 0.0) == 0
    assert "key" not in repr(held).replace("key_pem", "")


def test_shortest_life_has_time_for_two_tries_that_fail() -> None:
    """Each may hang for as long as it may and be followed by the longest pause; the third is in time."""
    held = Credentials(roots_pem=b"r")
    held.install(b"key", chain((names.LEAST_CERTIFICATE_SECONDS + names.BACKDATED_SECONDS) / 86400), 0.0)
    left = names.LEAST_CERTIFICATE_SECONDS - held.renew_in(0.0, 0.0)
    pause = min(BACKOFF[1], held.patience / 4) * 1.5

    assert 2 * (held.patience + pause) < left - 1
    assert held.patience >= 5


def test_sidecar_is_back_before_a_pod_that_rolls_at_once_is_gone() -> None:
    """Where the control plane comes back and a workload rolls in the same second, callers hear of the new pod while the old one waits for them."""
    assert BACKOFF[1] * 1.5 < names.PRESTOP_SECONDS


def test_certificate_is_over_when_its_peers_say_so() -> None:
    """By the wall clock: the monotonic one stands still while a node sleeps."""
    held = Credentials(roots_pem=b"r")
    assert not held.over(0.0)
    held.install(b"key", chain(), 1000.0)
    ends = held.validity.ends  # type: ignore[union-attr]

    assert not held.over(ends - 1)
    assert held.over(ends)


def test_changes_are_told_and_counted() -> None:
    """Generation moves and listeners hear, but not for roots known already."""
    told: list[int] = []
    held = Credentials(roots_pem=b"old")
    held.changed.append(lambda: told.append(held.generation))
    held.install(b"key", chain(), 0.0)

    assert held.trust(b"new")
    assert not held.trust(b"new")
    assert not held.trust(b"")
    assert told == [1, 2]


def test_roots_outlive_the_container(tmp_path: Path) -> None:
    """The newest bundle wins over the one of the pod's birth; a broken file does not."""
    assert remembered_roots(tmp_path, b"given") == b"given"
    remember_roots(tmp_path, b"-----BEGIN CERTIFICATE-----x")
    assert remembered_roots(tmp_path, b"given") == b"-----BEGIN CERTIFICATE-----x"
    (tmp_path / "roots.pem").write_bytes(b"")

    assert remembered_roots(tmp_path, b"given") == b"given"
    remember_roots(tmp_path / "missing", b"x")


@pytest.mark.parametrize("words", ["Jan  5 09:34:43 2018 GMT", "Feb 29 23:59:59 2028 GMT", "Dec 31 00:00:00 9999 GMT"])
def test_moment_is_read_as_the_library_writes_it(words: str) -> None:
    """As `ssl` reads it, without what that brings along."""
    assert moment(words) == ssl.cert_time_to_seconds(words)


@pytest.mark.parametrize("words", ["", "Jan 5 09:34:43 2018", "Jan 5 09:34:43 2018 CET", "Foo 5 09:34:43 2018 GMT"])
def test_what_is_no_moment_of_a_certificate_is_refused(words: str) -> None:
    """Its end would be one nobody meant."""
    with pytest.raises(BadCertificateError, match="no time of a certificate"):
        moment(words)
