"""Try an issuer before the mesh depends on it: a trial leaf must be believed by whoever trusts its roots alone.

In: an `Issuer` as a Secret holds it. Out: nothing. Refuses, with BadIssuerError, one whose leaves OpenSSL, the library of the sidecars, does not verify up to
`ca.crt`, as client or as server: a chain with a gap, an identifier or a constraint that does not fit.
"""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca import authority
from controlplane.ca.issuer import ROOT, BadIssuerError, Issuer, pem, union
from controlplane.kube.connect import load_chain

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: what is over is left out by our own clock instead, so that the time is one argument."""
_FLIGHTS = 4
"""More than a TLS 1.3 handshake has in one direction."""


def prove(issuer: Issuer, trust_domain: str, dns_names: Sequence[str], *, now: dt.datetime) -> None:
    """Issue a leaf for names as the mesh uses them and have both ends of a handshake verify it; raises BadIssuerError."""
    roots = pem(union(issuer.roots, now=now))
    if not roots:
        raise BadIssuerError(f"no certificate of its {ROOT} is valid any more")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    subjects: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}/ns/tulle/sa/trial")]
    subjects += [x509.DNSName(name) for name in dns_names]
    try:
        chain = authority.certify(issuer, key.public_key(), subjects, now=now, seconds=60).chain
        client, server = (
            _context(purpose, roots, chain.encode(), private)
            for purpose in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
        )
        _shake_hands(client, server)
    except authority.RefusedError as error:
        raise BadIssuerError(str(error)) from error
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or str(error)
        raise BadIssuerError(f"a certificate issued with it does not verify up to its {ROOT}: {why}") from error


def _context(purpose: int, roots: str, chain: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= _NO_CHECK_TIME
    context.load_verify_locations(cadata=roots)
    load_chain(context, chain, key)
    return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for _ in range(_FLIGHTS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
