"""Make a key and a certificate request; run as a program of its own, for seconds, so the sidecar need not hold the library.

In: one argument, the SPIFFE URI. Out, on standard output: the key as PEM (it stays in memory: only the parent reads it), then
the PKCS#10 request as PEM. The key is ECDSA P-256; the only name is the URI (SPIFFE X.509-SVID, section 2).
"""

from __future__ import annotations

import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make(uri: str) -> tuple[bytes, bytes]:
    """Return a new private key and a request for a certificate of this URI, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    for part in make(sys.argv[1]):
        sys.stdout.buffer.write(part)
