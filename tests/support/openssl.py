"""What OpenSSL can and Python's `ssl` has no word for: TLS peers of other libraries do such things."""

from __future__ import annotations

import _ssl
import ctypes

import pytest

from dataplane.net.tls_library import Context


def _library() -> ctypes.CDLL:
    """OpenSSL as Python is linked to it; a test is skipped where it cannot be called by name."""
    path = getattr(_ssl, "__file__", None)
    if path is None:
        pytest.skip("this Python has OpenSSL built in")
    library = ctypes.CDLL(path)
    if not hasattr(library, "SSL_key_update"):
        pytest.skip("this Python hides its OpenSSL")
    return library


def _pointer(owner: object, offset: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(ctypes.c_void_p.from_address(id(owner) + offset).value)


def limit_fragments(context: Context, code: int) -> None:
    """Ask the server for records of 512 (1) to 4,096 bytes (4) at most (RFC 6066, section 4)."""
    done = _library().SSL_CTX_set_tlsext_max_fragment_length(_pointer(context, 16), ctypes.c_uint8(code))
    assert done == 1


def ask_for_new_keys(connection: object) -> None:
    """Send a KeyUpdate that wants an answer (RFC 8446, section 4.6.3)."""
    library, inner = _library(), _pointer(connection, 24)
    assert library.SSL_key_update(inner, 1) == 1
    assert library.SSL_do_handshake(inner) == 1
